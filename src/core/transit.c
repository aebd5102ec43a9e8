/*
** transit.c - output on its way: what one of the loop's handles has sent and another, which reads, may not have yet.
**
** A kernel takes so much of a stream, and hands on so much; the rest goes when there is room, which takes real time:
** a TCP receiver may tell of it 200 ms later. Bytes that were sent and not acknowledged don't count: they have come.
*/
#include "core/transit.h"

#if defined(__linux__)
#include <linux/sockios.h>
#include <sys/ioctl.h>
#endif

#include "core/handle.h"

#define PATIENCE (NS_PER_S / 2)
#define LEAST_PATIENCE 4000000 /* ns; less is none */

static bool is_stream(const Handle *h) {
  return h->uv && h->open && (h->uv->type == UV_TCP || h->uv->type == UV_NAMED_PIPE || h->uv->type == UV_TTY);
}

/* What the kernel has of a TCP socket and hasn't sent. */
static size_t unsent(const Handle *h) {
#if defined(SIOCOUTQNSD)
  int fd, n = 0;
  if (h->uv->type == UV_TCP && uv_fileno(h->uv, &fd) == 0 && ioctl(fd, SIOCOUTQNSD, &n) == 0 && n > 0) return (size_t)n;
#endif
  (void)h;
  return 0;
}

static size_t on_way(const Handle *h) {
  return is_stream(h) ? uv_stream_get_write_queue_size((const uv_stream_t *)h->uv) + unsent(h) : 0;
}

/* Whether it reads, or is watched by somebody who may. */
static bool takes(const Handle *h) {
  if (!h->uv || !h->open || !uv_is_active(h->uv)) return false;
  return h->uv->type == UV_POLL ? uv_has_ref(h->uv) : is_stream(h) && uv_is_readable((const uv_stream_t *)h->uv);
}

/* Of a handle that has something on its way: what is left to wait for it. */
static uint64_t look_at(Handle *h, size_t n) {
  if (!h->transit || n < h->transit) h->patience = PATIENCE;
  h->transit = n;
  return h->patience < LEAST_PATIENCE ? 0 : h->patience;
}

uint64_t transit_patience(Loop *loop) {
  uint64_t most = 0;
  int takers = 0, stuck = 0, both = 0;
  if (loop->looked == loop->moved) return 0;
  list_each(node, &loop->handles) {
    Handle *h = asy_container(node, Handle, link);
    size_t n = on_way(h);
    uint64_t left = n ? look_at(h, n) : 0;
    bool taker = takes(h);
    if (!n) h->transit = 0;
    if (left > most) most = left;
    takers += taker;
    stuck += left != 0;
    both += left && taker;
  }
  if (most && takers > (stuck == 1 ? both : 0)) return most / 2; /* nobody is his own peer */
  loop->looked = loop->moved;
  return 0;
}

bool transit_waited(Loop *loop, uint64_t ns, bool in_full) {
  bool moved = false;
  list_each(node, &loop->handles) {
    Handle *h = asy_container(node, Handle, link);
    if (!h->transit) continue;
    if (on_way(h) < h->transit)
      moved = true;
    else
      h->patience -= ns < h->patience ? ns : h->patience;
  }
  if (in_full && !moved) loop->looked = loop->moved;
  return moved || !in_full;
}
