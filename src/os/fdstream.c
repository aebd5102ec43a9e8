/*
** fdstream.c - a descriptor as a stream.
*/
#include "os/fdstream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "net/life.h"

/* What it is */

/* The same pipe or terminal through a description of our own; -1 when that can't be had. */
static int opened_anew(int fd, FdMode mode) {
  char path[64];
  int access = mode == FD_BOTH ? O_RDWR : mode == FD_READS ? O_RDONLY : O_WRONLY;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* The side of a pseudoterminal that makes it: opening that makes another. */
static bool is_master(int fd) {
#if defined(TIOCGPTN)
  unsigned number;
  return ioctl(fd, TIOCGPTN, &number) == 0;
#else
  (void)fd;
  return false; /* nothing can be opened anew there */
#endif
}

static bool can_be_opened_anew(int fd, FdMode mode) {
  int own = is_master(fd) ? -1 : opened_anew(fd, mode);
  return own >= 0 && close(own) == 0;
}

/* Devices that libuv counts as files take output without delay, but may have no input for long. */
static bool is_regular(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static FdKind kind_of(int fd, FdMode mode) {
  uv_handle_type type = uv_guess_handle(fd);
  if (type == UV_FILE && (mode == FD_WRITES || is_regular(fd))) return FD_FILE;
  if (type == UV_TTY && can_be_opened_anew(fd, mode)) return FD_TTY;
  return type == UV_NAMED_PIPE ? FD_PIPE : FD_OTHER;
}

/* A FIFO never tells a description that was opened after the last writer had gone that this is its end; unlike the one
** that was there before. A writer that comes later makes both tell. */
static bool misses_the_end(int own, int fd) {
  struct pollfd p[] = {{.fd = own, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
  return poll(p, 2, 0) > 0 && (p[1].revents & POLLHUP) && !(p[0].revents & POLLHUP);
}

/* What its thread knows */

static const FdStream *from_backing(const Backing *b) { return asy_container(b, FdStream, backing); }

static const Pump *pump_of(const FdStream *f, FdMode direction) {
  if (direction == FD_READS) return f->mode & FD_READS ? f->pump : NULL;
  return f->mode & FD_READS ? f->back : f->pump;
}

static bool is_unwritten(const Backing *b) {
  const Pump *p = pump_of(from_backing(b), FD_WRITES);
  return p && pump_busy(p);
}

static size_t written(const Backing *b) {
  const Pump *p = pump_of(from_backing(b), FD_WRITES);
  return p ? pump_written(p) : 0;
}

static int thread_error(const Backing *b, bool input) {
  const Pump *p = pump_of(from_backing(b), input ? FD_READS : FD_WRITES);
  return p ? pump_error(p) : 0;
}

static void ending(Backing *b) {
  FdStream *f = asy_container(b, FdStream, backing);
  if (f->back) pump_end_wanted(f->back);
}

/* Its owner's */

static bool can_give(const Backing *b) {
  return !b->standard && b->fd >= 0 && !from_backing(b)->pump;
}

static int give(Backing *b) {
  int fd = b->fd;
  b->fd = -1;
  return fd;
}

/* Those that wait for it go on, or wait for whom this waits for. */
static void release_followers(FdStream *f) {
  if (list_linked(&f->behind)) list_splice(&f->behind, &f->followers);
  for (ListNode *node; (node = list_take(&f->followers));) {
    Stream *s = asy_container(node, FdStream, behind)->stream;
    s->out.held = false;
    if (s->handle.open) stream_tidy_later(s);
  }
  list_remove(&f->behind);
}

/* What the thread has still, after an abort say, it writes as far as the descriptor takes it at once. */
static void on_gone(Backing *b) {
  FdStream *f = asy_container(b, FdStream, backing);
  release_followers(f);
  Pump *out = f->mode & FD_READS ? f->back : f->pump;
  if (out && !b->standard) pump_hurry(out);
  if (f->pump) pump_unref(f->pump);
  if (f->back) pump_unref(f->back);
  f->pump = f->back = NULL;
  if (!b->standard && b->fd >= 0) close(b->fd);
  b->fd = -1;
}

/* Making */

static bool is_socket(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

Stream *asy_fdstream_new(lua_State *L, Loop *loop, int fd, FdMode mode, size_t limit, const char *name) {
  FdKind kind = kind_of(fd, mode);
  Stream *s = kind == FD_TTY ? asy_stream_new_tty(L, loop, limit) : asy_stream_new(L, loop, UV_NAMED_PIPE, limit);
  FdStream *f = mem_calloc(1, sizeof *f);
  if (!f) asy_nomemory(L);
  f->backing = (Backing){.name = name ? name : f->text, .fd = name ? fd : -1, .standard = name != NULL,
                         .is_unwritten = is_unwritten, .written = written, .error = thread_error,
                         .ending = ending, .can_give = can_give, .give = give, .gone = on_gone};
  snprintf(f->text, sizeof f->text, "descriptor %d", fd);
  f->stream = s;
  f->kind = kind;
  f->mode = mode;
  list_init(&f->followers);
  list_init(&f->behind);
  s->backing = &f->backing;
  bool has_halves = mode == FD_BOTH && kind != FD_FILE && kind != FD_TTY && is_socket(fd);
  s->out.one_way = !has_halves;
  s->out.endless = mode & FD_READS && !has_halves;
  s->out.none = mode == FD_READS;
  return s;
}

/* Copies share the offset, as others that read or write there need. */
static int open_file(Stream *s, int fd, FdMode mode) {
  if (mode & FD_READS && (s->in.file = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0) return -errno;
  if (mode & FD_WRITES && (s->out.file = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0) return -errno;
  s->in.on_demand = mode == FD_BOTH; /* what is read ahead moves where is written */
  return 0;
}

static int open_tty(Stream *s, int fd, FdMode mode) {
  int own = opened_anew(fd, mode);
  return own < 0 ? -errno : stream_open_tty(s, own);
}

/* Starts what copies for it, unless that runs already. */
static int start_pumps(FdStream *f, int fd, Pump *pump) {
  if (f->mode == FD_BOTH) return pump_start_both(&f->pump, &f->back, fd);
  if (!pump) return pump_start(&f->pump, fd, f->mode == FD_READS, f->backing.standard);
  f->pump = pump_ref(pump);
  return 0;
}

static int open_pipe(FdStream *f, int fd, Pump *pump) {
  int own = f->kind == FD_PIPE && !pump ? opened_anew(fd, f->mode) : -1;
  if (own >= 0 && f->mode == FD_READS && misses_the_end(own, fd)) {
    close(own);
    own = -1;
  }
  if (own < 0) {
    int status = start_pumps(f, fd, pump);
    if (status) return status;
    if ((own = pump_end(f->pump)) < 0) return own;
  }
  int status = uv_pipe_open(&f->stream->uv.pipe, own);
  if (status) close(own);
  return status;
}

int fdstream_open(Stream *s, int fd, Pump *pump) {
  FdStream *f = fdstream_of(s);
  switch (f->kind) {
    case FD_FILE: return open_file(s, fd, f->mode);
    case FD_TTY: return open_tty(s, fd, f->mode);
    default: return open_pipe(f, fd, pump);
  }
}

void fdstream_follow(Stream *s, Stream *leader) {
  list_append(&fdstream_of(leader)->followers, &fdstream_of(s)->behind);
  s->out.held = true;
}
