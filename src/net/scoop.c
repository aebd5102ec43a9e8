/*
** scoop.c - takes datagrams from the kernel.
**
** Each has a slot as long as the longest may be, of which a short one touches a page. Slots are a cache line longer than
** that, since beginnings that are 64 KiB apart would all want the same lines.
*/
#include "net/scoop.h"

#include <errno.h>
#include <sys/uio.h>

#include <uv.h>

#include "base/alloc.h"

#if defined(__linux__) && !defined(ASY_PLAIN_DATAGRAMS)
#define HAVE_RECVMMSG true
#else
#define HAVE_RECVMMSG false
#endif

#define LINE 64
#define MOST_BYTES ((size_t)SCOOP_MOST * (65536 + LINE)) /* more only where one datagram is larger */

#if HAVE_RECVMMSG
typedef struct mmsghdr Message;
#else
typedef struct Message {
  struct msghdr msg_hdr;
  unsigned msg_len;
} Message;
#endif

typedef struct Scoop {
  size_t size; /* of `bytes` */
  char *bytes;
  size_t max_size; /* the slots are laid out for this */
  int used;                /* so many messages have been written to */
  Message messages[SCOOP_MOST];
  struct iovec parts[SCOOP_MOST];
  DatagramAddress from[SCOOP_MOST];
} Scoop;

void scoop_free(Scoop *scoop) {
  if (scoop) mem_free(scoop->bytes);
  mem_free(scoop);
}

/* So many bytes, or NULL. */
static Scoop *obtain(Scoop **at, size_t size) {
  Scoop *s = *at;
  if (!s && !(s = *at = mem_calloc(1, sizeof *s))) return NULL;
  if (s->size >= size) return s;
  char *bytes = mem_alloc(size);
  if (!bytes) return NULL;
  mem_free(s->bytes);
  s->bytes = bytes;
  s->size = size;
  s->max_size = 0; /* to be laid out anew */
  return s;
}

static int failed(void) { return errno == EWOULDBLOCK ? UV_EAGAIN : -errno; }

#if defined(__linux__)

/* The same in less time than by the general call, which has the kernel fetch and check its headers. */
static int receive_one(int fd, Message *m) {
  struct msghdr *h = &m->msg_hdr;
  size_t room = h->msg_iov->iov_len; // NOLINT(clang-analyzer-core.NullDereference): it is laid out
  ssize_t n;
  do n = recvfrom(fd, h->msg_iov->iov_base, room, MSG_DONTWAIT | MSG_TRUNC, h->msg_name, &h->msg_namelen);
  while (n < 0 && errno == EINTR);
  if (n < 0) return failed();
  m->msg_len = (unsigned)n;
  h->msg_flags = (size_t)n > room ? MSG_TRUNC : 0;
  return 0;
}

#else

static int receive_one(int fd, Message *m) {
  ssize_t n;
  do n = recvmsg(fd, &m->msg_hdr, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n < 0) return failed();
  m->msg_len = (unsigned)n;
  return 0;
}

#endif

#if HAVE_RECVMMSG
static int receive_several(int fd, Message *m, int n, int *status) {
  int got;
  do got = recvmmsg(fd, m, (unsigned)n, MSG_DONTWAIT, NULL);
  while (got < 0 && errno == EINTR);
  *status = got < 0 ? failed() : 0;
  return got < 0 ? 0 : got;
}
#else
static int receive_several(int fd, Message *m, int n, int *status) {
  int got = 0;
  while (got < n && !(*status = receive_one(fd, &m[got]))) got++;
  return got;
}
#endif

/* One needs no more than the plain call, which is quicker. */
static int receive(int fd, Message *m, int n, int *status) {
  if (n > 1) return receive_several(fd, m, n, status);
  *status = receive_one(fd, m);
  return !*status;
}

/* What the kernel writes to, as it was. */
static void clear(Scoop *s, int n) {
  for (int i = 0; i < n; i++) {
    s->messages[i].msg_hdr.msg_namelen = sizeof s->from[i];
    s->messages[i].msg_hdr.msg_flags = 0;
  }
}

static void lay_out(Scoop *s, size_t stride, size_t max_size) {
  s->max_size = max_size;
  for (int i = 0; i < SCOOP_MOST; i++) {
    bool there = stride * ((size_t)i + 1) <= s->size;
    s->parts[i] = there ? (struct iovec){s->bytes + stride * (size_t)i, max_size} : (struct iovec){NULL, 0};
    s->messages[i].msg_hdr = (struct msghdr){.msg_name = &s->from[i], .msg_iov = &s->parts[i], .msg_iovlen = 1};
  }
  clear(s, SCOOP_MOST);
}

int scoop_take(Scoop **scoop, int fd, size_t max_size, int n, int *status) {
  size_t stride = (max_size + LINE - 1) / LINE * LINE + LINE;
  size_t most = MOST_BYTES / stride;
  if (n > SCOOP_MOST) n = SCOOP_MOST;
  if ((size_t)n > most) n = most ? (int)most : 1;
  Scoop *s = obtain(scoop, stride * (size_t)n);
  *status = UV_ENOMEM;
  if (!s) return 0;
  if (s->max_size != max_size)
    lay_out(s, stride, max_size);
  else
    clear(s, s->used);
  s->used = receive(fd, s->messages, n, status);
  return s->used;
}

Scooped scoop_get(const Scoop *s, int i) {
  const Message *m = &s->messages[i];
  return (Scooped){.from = &s->from[i], .salen = m->msg_hdr.msg_namelen, .bytes = s->parts[i].iov_base, .n = m->msg_len,
                   .cut = (m->msg_hdr.msg_flags & MSG_TRUNC) != 0};
}

int scoop_discard(int fd, int *status) {
  Message messages[SCOOP_MOST] = {0};
  struct iovec none = {NULL, 0};
  for (int i = 0; i < SCOOP_MOST; i++) messages[i].msg_hdr = (struct msghdr){.msg_iov = &none, .msg_iovlen = 1};
  return receive(fd, messages, SCOOP_MOST, status);
}
