/*
** fdstream.c - a descriptor as a stream.
*/
#include "os/fdstream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <sys/stat.h>

#include "base/alloc.h"
#include "net/life.h"

/* What it is */

/* The same pipe or terminal through a description of our own; -1 when that can't be had. */
static int opened_anew(int fd, bool input) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return open(path, (input ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static bool can_be_opened_anew(int fd, bool input) {
  int own = opened_anew(fd, input);
  return own >= 0 && close(own) == 0;
}

/* Devices that libuv counts as files take output without delay, but may have no input for long. */
static bool is_regular(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static FdKind kind_of(int fd, bool input) {
  uv_handle_type type = uv_guess_handle(fd);
  if (type == UV_FILE && (!input || is_regular(fd))) return FD_FILE;
  if (type == UV_TTY && can_be_opened_anew(fd, input)) return FD_TTY;
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

static bool is_unwritten(const Backing *b) {
  const FdStream *f = from_backing(b);
  return f->pump && !f->input && pump_busy(f->pump);
}

static int thread_error(const Backing *b) {
  const FdStream *f = from_backing(b);
  return f->pump ? pump_error(f->pump) : 0;
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

static void on_gone(Backing *b) {
  FdStream *f = asy_container(b, FdStream, backing);
  release_followers(f);
  if (f->pump) pump_unref(f->pump);
  f->pump = NULL;
}

/* Making */

Stream *asy_fdstream_new(lua_State *L, Loop *loop, int fd, bool input, size_t limit, const char *name) {
  FdKind kind = kind_of(fd, input);
  Stream *s = kind == FD_TTY ? asy_stream_new_tty(L, loop, limit) : asy_stream_new(L, loop, UV_NAMED_PIPE, limit);
  FdStream *f = mem_calloc(1, sizeof *f);
  if (!f) asy_nomemory(L);
  f->backing = (Backing){.name = name, .is_unwritten = is_unwritten, .error = thread_error, .gone = on_gone};
  f->stream = s;
  f->kind = kind;
  f->input = input;
  list_init(&f->followers);
  list_init(&f->behind);
  s->backing = &f->backing;
  s->out.one_way = true;
  return s;
}

static int open_file(Stream *s, int fd, bool input) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* shares the offset, as others that read or write there need */
  if (copy < 0) return -errno;
  *(input ? &s->in.file : &s->out.file) = copy;
  return 0;
}

static int open_tty(Stream *s, int fd, bool input) {
  int own = opened_anew(fd, input);
  return own < 0 ? -errno : stream_open_tty(s, own);
}

static int open_pipe(FdStream *f, int fd, Pump *pump) {
  int own = f->kind == FD_PIPE && !pump ? opened_anew(fd, f->input) : -1;
  if (own >= 0 && f->input && misses_the_end(own, fd)) {
    close(own);
    own = -1;
  }
  if (own < 0) {
    int status = pump ? 0 : pump_start(&f->pump, fd, f->input);
    if (status) return status;
    if (pump) f->pump = pump_ref(pump);
    if ((own = pump_end(f->pump)) < 0) return own;
  }
  int status = uv_pipe_open(&f->stream->uv.pipe, own);
  if (status) close(own);
  return status;
}

int fdstream_open(Stream *s, int fd, Pump *pump) {
  FdStream *f = fdstream_of(s);
  switch (f->kind) {
    case FD_FILE: return open_file(s, fd, f->input);
    case FD_TTY: return open_tty(s, fd, f->input);
    default: return open_pipe(f, fd, pump);
  }
}

void fdstream_follow(Stream *s, Stream *leader) {
  list_append(&fdstream_of(leader)->followers, &fdstream_of(s)->behind);
  s->out.held = true;
}
