/*
** wire.c - OpenSSL's view of a descriptor.
*/
#include "sec/wire.h"

#include <errno.h>
#include <sys/socket.h>

#if !defined(MSG_NOSIGNAL)
#define MSG_NOSIGNAL 0
#endif

static bool is_later(int number) { return number == EAGAIN || number == EWOULDBLOCK; }

static int on_read(BIO *bio, char *to, int room) {
  Link *link = BIO_get_data(bio);
  ssize_t n;
  BIO_clear_retry_flags(bio);
  if (room <= 0) return 0;
  do n = recv(link->fd, to, (size_t)room, 0);
  while (n < 0 && errno == EINTR);
  if (n < 0 && is_later(errno)) BIO_set_retry_read(bio);
  if (n == 0) link->cut = true;
  return (int)n;
}

static int on_write(BIO *bio, const char *bytes, int n) {
  const Link *link = BIO_get_data(bio);
  ssize_t sent;
  BIO_clear_retry_flags(bio);
  if (n <= 0) return 0;
  do sent = send(link->fd, bytes, (size_t)n, MSG_NOSIGNAL);
  while (sent < 0 && (errno == EINTR || errno == EPROTOTYPE));
  if (sent < 0 && is_later(errno)) BIO_set_retry_write(bio);
  return (int)sent;
}

static long on_ctrl(BIO *bio, int what, long n, void *p) {
  const Link *link = BIO_get_data(bio);
  (void)n;
  (void)p;
  if (what == BIO_CTRL_EOF) return link->cut;
  return what == BIO_CTRL_FLUSH;
}

static int on_create(BIO *bio) {
  BIO_set_init(bio, 1);
  return 1;
}

BIO_METHOD *wire_method_new(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "asyncio socket");
  if (!method) return NULL;
  BIO_meth_set_create(method, on_create);
  BIO_meth_set_read(method, on_read);
  BIO_meth_set_write(method, on_write);
  BIO_meth_set_ctrl(method, on_ctrl);
  return method;
}

BIO *wire_new(const BIO_METHOD *method, Link *link) {
  BIO *bio = BIO_new(method);
  if (bio) BIO_set_data(bio, link);
  return bio;
}
