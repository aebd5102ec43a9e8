/*
** volley.c - sends several datagrams in one system call.
**
** Most of what a datagram costs is its way through the kernel. Since 4.18 Linux takes several of one length for one
** place as one buffer (UDP_SEGMENT), and cuts that at the end of the way. Where it refuses, as a path is too narrow or
** there is no such thing, they go one by one.
*/
#include "net/volley.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include <netinet/udp.h>
#include <uv.h>

#if defined(__linux__) && !defined(ASY_PLAIN_DATAGRAMS)
#define HAVE_SENDMMSG 1
#else
#define HAVE_SENDMMSG 0
#endif

static int failed(void) { return errno == EWOULDBLOCK ? UV_EAGAIN : -errno; }

#if HAVE_SENDMMSG

#define BATCH 64          /* datagrams that are made ready at a time */
#define MOST_SEGMENTS 64  /* the kernel's figures */
#define MOST_BYTES 65000
#define WIDE 1452         /* no longer ones: few paths would take them uncut */

#if !defined(UDP_SEGMENT)
#define UDP_SEGMENT 103
#endif

typedef union Control {
  struct cmsghdr first;
  char room[CMSG_SPACE(sizeof(uint16_t))];
} Control;

typedef struct Volley {
  struct mmsghdr messages[BATCH];
  struct iovec parts[BATCH];
  Control controls[BATCH];
  int counts[BATCH]; /* datagrams of each message */
} Volley;

static bool same_place(const Shot *a, const Shot *b) {
  return a->salen == b->salen && !memcmp(&a->to, &b->to, a->salen);
}

/* How many from the first on may go as one. */
static int run_length(const Shot *shots, int n) {
  size_t each = shots->n, bytes = each;
  int k = 1;
  if (!each || each > WIDE) return 1;
  while (k < n && k < MOST_SEGMENTS && shots[k].n && shots[k].n <= each && bytes + shots[k].n <= MOST_BYTES &&
         same_place(shots, &shots[k])) {
    bytes += shots[k].n;
    if (shots[k++].n < each) break; /* a shorter one is the last */
  }
  return k;
}

static void set_segments(struct msghdr *m, Control *control, size_t each) {
  uint16_t size = (uint16_t)each;
  memset(control, 0, sizeof *control);
  m->msg_control = control;
  m->msg_controllen = sizeof *control;
  struct cmsghdr *c = CMSG_FIRSTHDR(m);
  c->cmsg_level = IPPROTO_UDP;
  c->cmsg_type = UDP_SEGMENT;
  c->cmsg_len = CMSG_LEN(sizeof size);
  memcpy(CMSG_DATA(c), &size, sizeof size);
}

/* → messages */
static int make_ready(Volley *v, const Shot *shots, int n, bool plain) {
  int made = 0;
  for (int i = 0, k; i < n; i += k, made++) {
    struct msghdr *m = &v->messages[made].msg_hdr;
    k = plain ? 1 : run_length(shots + i, n - i);
    for (int j = i; j < i + k; j++) v->parts[j] = (struct iovec){(void *)shots[j].bytes, shots[j].n};
    *m = (struct msghdr){.msg_name = shots[i].salen ? (void *)&shots[i].to : NULL, .msg_namelen = shots[i].salen,
                         .msg_iov = &v->parts[i], .msg_iovlen = (size_t)k};
    if (k > 1) set_segments(m, &v->controls[made], shots[i].n);
    v->counts[made] = k;
  }
  return made;
}

static bool is_refusal(int status) {
  return status == UV_EINVAL || status == UV_EIO || status == UV_EMSGSIZE || status == UV_ENOPROTOOPT ||
         status == UV_ENOTSUP;
}

/* BATCH at most. */
static int send_batch(int fd, const Shot *shots, int n, bool *plain, int *status) {
  Volley v;
  int made = make_ready(&v, shots, n, *plain), went, sent = 0;
  do went = sendmmsg(fd, v.messages, (unsigned)made, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (went < 0 && errno == EINTR);
  *status = went < 0 ? failed() : 0;
  if (went < 0 && v.counts[0] > 1 && is_refusal(*status)) {
    *plain = true;
    return send_batch(fd, shots, n, plain, status);
  }
  for (int i = 0; i < went; i++) sent += v.counts[i];
  return sent;
}

#else

#define BATCH 64

static int send_batch(int fd, const Shot *shots, int n, bool *plain, int *status) {
  int sent = 0;
  *plain = true;
  for (*status = 0; sent < n; sent++) {
    const Shot *s = &shots[sent];
    ssize_t got;
    do got = sendto(fd, s->bytes, s->n, MSG_DONTWAIT | MSG_NOSIGNAL, s->salen ? &s->to.any : NULL, s->salen);
    while (got < 0 && errno == EINTR);
    if (got >= 0) continue;
    *status = failed();
    break;
  }
  return sent;
}

#endif

int volley_send(int fd, const Shot *shots, int n, bool *plain, int *status) {
  int sent = 0;
  *status = 0;
  while (sent < n) {
    int batch = n - sent < BATCH ? n - sent : BATCH;
    int went = send_batch(fd, shots + sent, batch, plain, status);
    sent += went;
    if (went < batch) break;
  }
  return sent;
}
