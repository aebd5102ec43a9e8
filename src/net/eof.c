/*
** eof.c - the end of streams' input, as the kernel tells of it.
**
** A loop has one Ends while somebody waits: the kernel's set of descriptors, whose own descriptor libuv polls. A stream
** is in it as long as its line isn't empty, and leaves it before its descriptor is closed.
*/
#include "net/eof.h"

#include <poll.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/pollset.h"
#include "net/filtered.h"

#define BATCH 64 /* events taken in one go */

typedef struct Ends {
  Handle handle;
  uv_poll_t poll;
  int set;
  int n;       /* streams in the set */
  int size;    /* places of `of` */
  Stream **of; /* by descriptor; or NULL */
} Ends;

static void destroy(Handle *h) {
  Ends *e = asy_container(h, Ends, handle);
  close(e->set);
  mem_free(e->of);
  mem_free(e);
}

static void let_go(Ends *e) {
  e->handle.loop->ends = NULL;
  handle_close(&e->handle);
}

/* The loop closes. */
static void shut(Shutter *shutter) { let_go(asy_container(asy_container(shutter, Handle, shutter), Ends, handle)); }

static void on_poll(uv_poll_t *poll, int status, int ready) {
  Ends *e = asy_container(poll, Ends, poll);
  PollsetEvent events[BATCH];
  int n = pollset_take(e->set, events, BATCH);
  (void)status;
  (void)ready;
  for (int i = 0; i < n; i++) {
    Stream *s = events[i].fd < e->size ? e->of[events[i].fd] : NULL;
    if (s && (events[i].events & POLLSET_END)) eof_wake(s);
  }
}

/* The loop's, made at the first need. */
static int obtain(Loop *loop, Ends **ends) {
  if ((*ends = loop->ends)) return 0;
  Ends *e = mem_calloc(1, sizeof *e);
  if (!e) return UV_ENOMEM;
  int status = e->set = pollset_open();
  if (status >= 0) {
    status = uv_poll_init(&loop->uv, &e->poll, e->set);
    if (status) close(e->set);
  }
  if (status) {
    mem_free(e);
    return status;
  }
  handle_init(&e->handle, loop, (uv_handle_t *)&e->poll, destroy, shut);
  handle_opened(&e->handle);
  handle_unbox(&e->handle); /* nobody's but the loop's */
  uv_poll_start(&e->poll, UV_READABLE, on_poll);
  uv_unref((uv_handle_t *)&e->poll);
  *ends = loop->ends = e;
  return 0;
}

static bool make_room(Ends *e, int fd) {
  if (fd < e->size) return true;
  int size = fd < 32 ? 64 : 2 * fd;
  Stream **of = mem_realloc(e->of, (size_t)size * sizeof(Stream *));
  if (!of) return false;
  for (int i = e->size; i < size; i++) of[i] = NULL;
  e->of = of;
  e->size = size;
  return true;
}

int eof_watch(Stream *s) {
  Ends *e;
  int fd, status;
  if (s->in.end_fd >= 0 || !s->handle.open || uv_fileno(&s->uv.handle, &fd)) return 0;
  if ((status = obtain(s->handle.loop, &e))) return status;
  status = make_room(e, fd) ? pollset_arm(e->set, fd, 0, POLLSET_END, false) : UV_ENOMEM;
  if (status) {
    if (!e->n) let_go(e);
    return status;
  }
  e->of[fd] = s;
  e->n++;
  s->in.end_fd = fd;
  return 0;
}

void eof_unwatch(Stream *s) {
  int fd = s->in.end_fd;
  if (fd < 0) return;
  Loop *loop = s->handle.loop;
  Ends *e = loop->ends;
  s->in.end_fd = -1;
  if (!e) return; /* the loop closes */
  e->of[fd] = NULL;
  if (!loop->copied) pollset_remove(e->set, fd); /* the set is the parent's, too */
  if (--e->n == 0) let_go(e);
}

void eof_wake(Stream *s) {
  waiter_wake_all(&s->in.enders, 0);
  eof_unwatch(s);
}

/* Whether the kernel has something for the reader, or tells of the end. */
static bool kernel_has_some(const Stream *s) {
  struct pollfd p = {.events = POLLIN};
  if (s->carrier || uv_fileno(&s->uv.handle, &p.fd)) return false;
  return poll(&p, 1, 0) > 0;
}

bool eof_is_quiet(const Stream *s) {
  if (!s->handle.open || stream_closing(s) || eof_known(s) || s->in.error || s->out.error) return false;
  if (buffer_length(&s->in.buffer) || (s->filtered && buffer_length(&s->filtered->raw))) return false;
  return !kernel_has_some(s);
}
