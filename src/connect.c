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

typedef struct Pump {
  int from, to;
} Pump;

static void *pump_main(void *arg) {
  Pump p = *(Pump *)arg;
  char bytes[16384];
  free(arg);
  for (;;) {
    ssize_t n = read(p.from, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    for (ssize_t done = 0; done < n;) {
      ssize_t wrote = write(p.to, bytes + done, (size_t)(n - done));
      if (wrote < 0 && errno != EINTR) {
        n = 0;
        break;
      }
      if (wrote > 0) done += wrote;
    }
    if (!n) break;
  }
  close(p.from);
  close(p.to);
  return NULL;
}

/* Copies `from` to `to` in a detached thread that blocks all signals; it closes both. */
static int pump_start(int from, int to) {
  sigset_t all, old;
  pthread_attr_t attr;
  pthread_t thread;
  Pump *p = malloc(sizeof *p);
  if (!p) return UV_ENOMEM;
  *p = (Pump){from, to};
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &old);
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  int status = pthread_create(&thread, &attr, pump_main, p);
  pthread_attr_destroy(&attr);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (status) free(p);
  return -status;
}

/* A pipe whose other end a thread serves; our end, or a negative status. */
static int pumped(int fd, bool input) {
  int ends[2], status, copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return -errno;
  if (pipe(ends)) {
    status = -errno;
    close(copy);
    return status;
  }
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  status = input ? pump_start(copy, ends[1]) : pump_start(ends[0], copy);
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

/* open_standard(fd, opts) → reader for 0, writer for 1 and 2 */
static int stream_open_standard(lua_State *L) {
  lua_Integer fd = luaL_checkinteger(L, 1);
  luaL_argcheck(L, fd >= 0 && fd <= 2, 1, "0, 1 or 2 expected");
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t limit = check_limit(L, 2);
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  bool input = fd == 0;
  static const char *const NAMES[] = {"stdin", "stdout", "stderr"};
  uv_handle_type type = uv_guess_handle((uv_file)fd);
  Stream *s;
  lua_settop(L, 2);
  if (type == UV_TTY)
    s = stream_new_tty(L, loop, (int)fd, limit);
  else {
    int own = type == UV_NAMED_PIPE ? opened_anew((int)fd, input) : -1;
    if (own < 0) own = pumped((int)fd, input);
    if (own < 0) return asy_oserror(L, own, "open", NAMES[fd]);
    s = stream_new(L, loop, UV_NAMED_PIPE, limit);
    int status = uv_pipe_open(&s->uv.pipe, own);
    if (status) {
      close(own);
      return fail(L, s, status, "open", NAMES[fd]);
    }
  }
  if (!input) return 1;
  stream_start(s);
  stream_push_reader(L, 3);
  return 1;
}

static const luaL_Reg functions[] = {
    {"connect", stream_connect}, {"open_standard", stream_open_standard}, {NULL, NULL}};

/* stack: module */
void asy_open_connect(lua_State *L) { asy_setfuncs(L, functions); }
