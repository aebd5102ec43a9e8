/*
** connect.c - the mechanism of open_connection, and of stdin, stdout and stderr.
**
** A standard stream's description is shared with others (print, the parent shell), so its flags are
** never changed: a pipe or tty is opened anew; what can't be opened anew is copied through a pipe
** of our own by a thread, which may outlive everything here.
*/
#include "connect.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "address.h"
#include "error.h"

typedef struct Connect {
  uv_connect_t req;
  Stream *stream; /* NULL: nobody waits any more */
} Connect;

static void on_connect(uv_connect_t *req, int status) {
  Connect *c = asy_container(req, Connect, req);
  if (c->stream && status != UV_ECANCELED) stream_wake_reader(c->stream, status);
  free(c);
}

/* stack: address, opts, writer */
static int connected(lua_State *L, Task *t) {
  Stream *s = t->on;
  struct sockaddr_storage sa;
  char text[ASY_ADDRESS_TEXT];
  s->reader = NULL;
  socklen_t len = asy_address_check(L, 1, &sa);
  if (t->code) {
    stream_abort(L, s);
    asy_address_text((struct sockaddr *)&sa, len, text);
    return asy_oserror(L, t->code, "connect", text);
  }
  stream_set_peer(s, (struct sockaddr *)&sa);
  stream_start(s);
  stream_push_reader(L, 3);
  lua_insert(L, 3);
  return 2;
}

static Abort connect_abort(lua_State *L, Task *t) {
  Stream *s = t->on;
  if (!s) return ASY_DETACHED;
  s->reader = NULL;
  stream_abort(L, s);
  return ASY_DETACHED;
}

static void connect_giveback(lua_State *L, Task *t) { connect_abort(L, t); }

static const WaitKind CONNECT = {"connect", connected, connect_abort, NULL, connect_giveback};

static int fail(lua_State *L, Stream *s, int status, const char *what, const char *address) {
  stream_abort(L, s);
  return asy_oserror(L, status, what, address);
}

static void set_options(lua_State *L, Stream *s) {
  if (lua_getfield(L, 2, "nodelay") == LUA_TNIL || lua_toboolean(L, -1)) uv_tcp_nodelay(&s->uv.tcp, 1);
  lua_getfield(L, 2, "keepalive");
  if (lua_toboolean(L, -1)) uv_tcp_keepalive(&s->uv.tcp, 1, 60);
  lua_pop(L, 2);
}

static void bind_local(lua_State *L, Stream *s) {
  struct sockaddr_storage sa;
  char text[ASY_ADDRESS_TEXT];
  if (lua_getfield(L, 2, "local_addr") != LUA_TNIL) {
    if (!lua_istable(L, -1)) luaL_argerror(L, 2, "'local_addr' is an address {host=, port=}");
    socklen_t len = asy_address_check(L, lua_gettop(L), &sa);
    int status = uv_tcp_bind(&s->uv.tcp, (struct sockaddr *)&sa, 0);
    if (status) {
      asy_address_text((struct sockaddr *)&sa, len, text);
      fail(L, s, status, "bind", text);
    }
  }
  lua_pop(L, 1);
}

static size_t check_limit(lua_State *L, int opts) {
  int isint;
  lua_Integer n = STREAM_LIMIT;
  if (lua_getfield(L, opts, "limit") != LUA_TNIL) {
    n = lua_tointegerx(L, -1, &isint);
    if (!isint || n <= 0) luaL_argerror(L, opts, "'limit' is a number of bytes, 1 at least");
  }
  lua_pop(L, 1);
  return (size_t)n;
}

/* connect(address, opts) → reader, writer */
static int stream_connect(lua_State *L) {
  struct sockaddr_storage sa;
  char text[ASY_ADDRESS_TEXT];
  socklen_t len = asy_address_check(L, 1, &sa);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  size_t limit = check_limit(L, 2);
  Task *t = asy_current(L);
  Stream *s = stream_new(L, t->loop, UV_TCP, limit);
  asy_address_text((struct sockaddr *)&sa, len, text);
  bind_local(L, s);
  Connect *c = malloc(sizeof *c);
  if (!c) return fail(L, s, UV_ENOMEM, "connect", text);
  c->stream = s;
  int status = uv_tcp_connect(&c->req, &s->uv.tcp, (struct sockaddr *)&sa, on_connect);
  if (status) {
    free(c);
    return fail(L, s, status, "connect", text);
  }
  set_options(L, s);
  s->reader = t;
  return asy_park(L, t, &CONNECT, s);
}

/* Standard streams */

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
  if (atomic_fetch_sub(&p->refs, 1) == 1) free(p);
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
  sigset_t all, old;
  pthread_attr_t attr;
  pthread_t thread;
  Pump *p = calloc(1, sizeof *p);
  if (!p) return UV_ENOMEM;
  p->from = from;
  p->to = to;
  p->our_end = our_end;
  list_init(&p->link);
  atomic_store(&p->refs, 2);
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &old);
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  int status = pthread_create(&thread, &attr, pump_main, p);
  pthread_attr_destroy(&attr);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (status)
    free(p);
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
  if (!s->handle.loop->open) pump_forget(p);
}

/* How many copying threads have output of ours to write. */
static int loop_unpumped(lua_State *L) {
  Loop *loop = asy_check(L, ASY_RUNTIME(L), 1, ASY_LOOP, "asyncio.Loop");
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

static const char *const NAMES[] = {"stdin", "stdout", "stderr"};

/* Pushes a writer on a pipe: the descriptor's own, opened anew, or one that a thread serves. */
static Stream *open_piped(lua_State *L, Loop *loop, int fd, int own, size_t limit) {
  Pump *pump = NULL;
  if (own < 0) own = pumped(&pump, fd, fd == 0);
  if (own < 0) asy_oserror(L, own, "open", NAMES[fd]);
  Stream *s = stream_new(L, loop, UV_NAMED_PIPE, limit);
  int status = uv_pipe_open(&s->uv.pipe, own);
  if (status) {
    close(own);
    fail(L, s, status, "open", NAMES[fd]);
  }
  s->on_gone = standard_gone;
  s->pump = pump;
  if (pump && fd != 0) list_append(&loop->pumps, &pump->link);
  return s;
}

/* open_standard(fd, opts) → reader for 0, writer for 1 and 2 */
static int stream_open_standard(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  luaL_argcheck(L, fd >= 0 && fd <= 2, 1, "0, 1 or 2 expected");
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t limit = check_limit(L, 2);
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  uv_handle_type type = uv_guess_handle(fd);
  Stream *s;
  lua_settop(L, 2);
  if (type == UV_FILE && fd != 0) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* shares the offset, as others that write there need */
    if (copy < 0) return asy_oserror(L, -errno, "open", NAMES[fd]);
    s = stream_new(L, loop, UV_NAMED_PIPE, limit);
    s->file = copy;
    return 1;
  }
  int own = type == UV_TTY || type == UV_NAMED_PIPE ? opened_anew(fd, fd == 0) : -1;
  if (type == UV_TTY && own >= 0)
    s = stream_new_tty(L, loop, own, limit);
  else
    s = open_piped(L, loop, fd, own, limit);
  if (fd != 0) return 1;
  stream_start(s);
  stream_push_reader(L, 3);
  return 1;
}

static const luaL_Reg functions[] = {
    {"connect", stream_connect}, {"open_standard", stream_open_standard}, {NULL, NULL}};
static const luaL_Reg loop_methods[] = {{"_unpumped", loop_unpumped}, {NULL, NULL}};

/* stack: module */
void asy_open_connect(lua_State *L) {
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", loop_methods, NULL);
}
