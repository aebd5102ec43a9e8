/*
** standard.c - stdin, stdout and stderr as streams.
**
** A standard stream's description is shared with others (print, the parent shell), so its flags are
** never changed: a pipe or tty is opened anew; what can't be opened anew is copied through a pipe
** of our own by a thread, which may outlive everything here.
*/
#include "core/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/detached.h"
#include "core/error.h"
#include "core/options.h"
#include "net/input.h"
#include "net/life.h"
#include "open.h"

/* Copies between a pipe of ours and a descriptor that can't be polled. Thread and loop both hold it. */
typedef struct Pump {
  ListNode link;    /* in Loop.pumps, for output; the loop's thread only */
  atomic_int refs;
  atomic_bool idle; /* it has written all that it has read */
  atomic_bool done;
  int from, to;
  int our_end;      /* the stream's end of the pipe; -1 once that is closed */
} Pump;

static void pump_unref(Pump *p) {
  if (atomic_fetch_sub(&p->refs, 1) == 1) mem_free(p);
}

/* Whether there is output that it hasn't written yet. */
static bool pump_busy(const Pump *p) {
  int n = 0;
  if (atomic_load(&p->done)) return false;
  if (p->our_end < 0 || !atomic_load(&p->idle)) return true;
  return ioctl(p->our_end, FIONREAD, &n) == 0 && n > 0;
}

static bool write_all(int fd, const char *bytes, ssize_t n) {
  for (ssize_t done = 0; done < n;) {
    ssize_t wrote = write(fd, bytes + done, (size_t)(n - done));
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    if (wrote > 0)
      done += wrote;
    else if (wrote < 0 && errno == EAGAIN) /* somebody else made the description non-blocking */
      poll(&ready, 1, -1);
    else if (wrote < 0 && errno != EINTR)
      return false;
  }
  return true;
}

static void *pump_main(void *arg) {
  Pump *p = arg;
  char bytes[16384];
  struct pollfd ready = {.fd = p->from, .events = POLLIN};
  for (;;) {
    atomic_store(&p->idle, true);
    poll(&ready, 1, -1);
    atomic_store(&p->idle, false); /* before anything leaves the pipe */
    ssize_t n = read(p->from, bytes, sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0 || !write_all(p->to, bytes, n)) break;
  }
  close(p->from);
  close(p->to);
  atomic_store(&p->done, true);
  pump_unref(p);
  return NULL;
}

/* Copies in a detached thread that blocks all signals; it closes both ends. */
static int pump_start(Pump **pump, int from, int to, int our_end) {
  Pump *p = mem_calloc(1, sizeof *p);
  if (!p) return UV_ENOMEM;
  p->from = from;
  p->to = to;
  p->our_end = our_end;
  list_init(&p->link);
  atomic_store(&p->refs, 2);
  int status = detached_start(pump_main, p);
  if (status)
    mem_free(p);
  else
    *pump = p;
  return -status;
}

/* A pipe whose other end a thread serves; our end, or a negative status. */
static int pumped(Pump **pump, int fd, bool input) {
  int ends[2], status, copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return -errno;
  if (pipe(ends)) {
    status = -errno;
    close(copy);
    return status;
  }
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  status = input ? pump_start(pump, copy, ends[1], ends[0]) : pump_start(pump, ends[0], copy, ends[1]);
  if (!status) return input ? ends[0] : ends[1];
  close(copy);
  close(ends[0]);
  close(ends[1]);
  return status;
}

/* The same pipe through a description of our own; -1 when that can't be had. */
static int opened_anew(int fd, bool input) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return open(path, (input ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void pump_forget(Pump *p) {
  list_remove(&p->link);
  pump_unref(p);
}

static void standard_gone(Stream *s) {
  Pump *p = s->pump;
  if (!p) return;
  p->our_end = -1;
  s->pump = NULL;
  if (!s->handle.loop->open || !list_linked(&p->link)) pump_forget(p); /* else loop_unpumped does */
}

/* How many copying threads have output of ours to write. */
static int loop_unpumped(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  int n = 0;
  for (ListNode *node = loop->pumps.next, *next; node != &loop->pumps; node = next) {
    Pump *p = asy_container(node, Pump, link);
    next = node->next;
    if (pump_busy(p))
      n++;
    else if (p->our_end < 0)
      pump_forget(p);
  }
  lua_pushinteger(L, n);
  return 1;
}

/* The loop closes: threads that still copy do so for nobody. */
static void forget_pumps(Loop *loop) {
  for (ListNode *node; (node = list_take(&loop->pumps));) pump_unref(asy_container(node, Pump, link));
}

static const char *const NAMES[] = {"stdin", "stdout", "stderr"};

static void fail(lua_State *L, Stream *s, int status, int fd) {
  asy_stream_abort(L, s);
  asy_oserror(L, status, "open", NAMES[fd]);
}

/* Pushes a writer on a pipe: the descriptor's own, opened anew, or one that a thread serves. */
static Stream *open_piped(lua_State *L, Loop *loop, int fd, bool anew, size_t limit) {
  Stream *s = asy_stream_new(L, loop, UV_NAMED_PIPE, limit); /* first: what follows must not be left behind */
  int own = anew ? opened_anew(fd, fd == 0) : -1;
  if (own < 0) own = pumped(&s->pump, fd, fd == 0);
  if (own < 0) fail(L, s, own, fd);
  s->life.on_gone = standard_gone;
  if (s->pump && fd != 0) list_append(&loop->pumps, &s->pump->link);
  int status = uv_pipe_open(&s->uv.pipe, own);
  if (status) {
    close(own);
    fail(L, s, status, fd);
  }
  return s;
}

/* Pushes a writer on a file, which never blocks. */
static Stream *open_file(lua_State *L, Loop *loop, int fd, size_t limit) {
  Stream *s = asy_stream_new(L, loop, UV_NAMED_PIPE, limit);
  s->out.file = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* shares the offset, as others that write there need */
  if (s->out.file < 0) fail(L, s, -errno, fd);
  return s;
}

/* Pushes a writer on a terminal, opened anew where that can be done. */
static Stream *open_tty(lua_State *L, Loop *loop, int fd, size_t limit) {
  Stream *s = asy_stream_new_tty(L, loop, limit);
  int own = opened_anew(fd, fd == 0);
  if (own >= 0) {
    int status = stream_open_tty(s, own);
    if (status) asy_oserror(L, status, "open", NAMES[fd]);
    return s;
  }
  lua_pop(L, 1);
  return open_piped(L, loop, fd, false, limit);
}

/* Whether the process was started without it: we have put /dev/null there since. */
static bool is_closed(const Loop *loop, int fd) {
  struct stat ours, null;
  return loop->rt->plugged & 1u << fd && fstat(fd, &ours) == 0 && stat("/dev/null", &null) == 0 &&
         S_ISCHR(ours.st_mode) && ours.st_rdev == null.st_rdev;
}

/* open_standard(fd, opts) → reader for 0, writer for 1 and 2 */
static int stream_open_standard(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  asy_argcheck(L, fd >= 0 && fd <= 2, 1, "0, 1 or 2 expected");
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t limit = asy_opt_bytes(L, 2, "limit", STREAM_LIMIT);
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  uv_handle_type type = uv_guess_handle(fd);
  Stream *s;
  lua_settop(L, 2);
  if (is_closed(loop, fd)) return asy_oserror(L, UV_EBADF, "open", NAMES[fd]);
  if (type == UV_FILE && fd != 0)
    s = open_file(L, loop, fd, limit);
  else if (type == UV_TTY)
    s = open_tty(L, loop, fd, limit);
  else
    s = open_piped(L, loop, fd, type == UV_NAMED_PIPE, limit);
  s->out.one_way = true;
  stream_forget_site(s); /* the process closes it */
  if (fd != 0) return 1;
  s->in.on_demand = type == UV_TTY;
  if (!s->in.on_demand) input_start(s);
  asy_stream_push_reader(L, 3);
  return 1;
}

/* isatty(fd) → boolean */
static int standard_isatty(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

static const luaL_Reg functions[] = {
    {"open_standard", stream_open_standard}, {"isatty", standard_isatty}, {NULL, NULL}};
static const luaL_Reg loop_methods[] = {{"_unpumped", loop_unpumped}, {NULL, NULL}};

/* stack: module */
void asy_open_standard(lua_State *L) {
  static const LoopHooks hooks = {.forget = forget_pumps};
  runtime_on_loop(asy_runtime(L), &hooks);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", loop_methods, NULL);
}
