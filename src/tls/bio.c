/*
** bio.c - OpenSSL's view of the bytes that a step of an engine may take and put: a BIO of our own.
*/
#include "tls/bio.h"

#include <string.h>

static void remember(BioState *state, const char *bytes, size_t n) {
  size_t room = (size_t)BIO_FIRST - state->nfirst;
  if (n > room) n = room;
  memcpy(state->first + state->nfirst, bytes, n);
  state->nfirst = (unsigned char)(state->nfirst + n);
}

/* That nothing is there never counts as the end: the engine itself looks whether there can be more. */
static int on_read(BIO *bio, char *to, int room) {
  BioState *state = BIO_get_data(bio);
  EngineIo *io = state->io;
  BIO_clear_retry_flags(bio);
  if (!io || !io->n || room <= 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  size_t n = io->n < (size_t)room ? io->n : (size_t)room;
  if (state->nfirst < BIO_FIRST) remember(state, io->bytes, n);
  memcpy(to, io->bytes, n);
  io->bytes += n;
  io->n -= n;
  return (int)n;
}

static int on_write(BIO *bio, const char *bytes, int n) {
  BioState *state = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (n <= 0) return 0;
  if (state->io && state->io->put(state->io->to, bytes, (size_t)n)) return n;
  state->no_memory = true;
  return -1;
}

static long on_ctrl(BIO *bio, int what, long n, void *p) {
  (void)bio;
  (void)n;
  (void)p;
  return what == BIO_CTRL_FLUSH;
}

static int on_create(BIO *bio) {
  BIO_set_init(bio, 1);
  return 1;
}

BIO_METHOD *bio_method_new(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "asyncio");
  if (!method) return NULL;
  BIO_meth_set_create(method, on_create);
  BIO_meth_set_read(method, on_read);
  BIO_meth_set_write(method, on_write);
  BIO_meth_set_ctrl(method, on_ctrl);
  return method;
}

BIO *bio_new(const BIO_METHOD *method, BioState *state) {
  BIO *bio = BIO_new(method);
  if (bio) BIO_set_data(bio, state);
  return bio;
}
