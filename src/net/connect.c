/*
** connect.c - one attempt to connect to one address: the mechanism of open_connection and
** open_unix_connection.
*/
#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/error.h"
#include "core/options.h"
#include "net/input.h"
#include "net/life.h"
#include "net/limit.h"
#include "net/peer.h"
#include "net/socket.h"
#include "open.h"

typedef struct Connect {
  uv_connect_t req;
  Stream *stream;
} Connect;

static void on_connect(uv_connect_t *req, int status) {
  Connect *c = asy_container(req, Connect, req);
  if (status != UV_ECANCELED) input_wake(c->stream, status);
  mem_free(c);
}

/* stack: address, opts, writer */
static int connected(lua_State *L, Task *t) {
  Stream *s = t->on;
  struct sockaddr_storage sa;
  char text[ASY_ADDRESS_TEXT];
  s->in.reader = NULL;
  socklen_t len = asy_address_check(L, 1, &sa);
  if (t->code) {
    asy_stream_abort(L, s);
    address_text((struct sockaddr *)&sa, len, text);
    return asy_oserror(L, t->code, "connect", text);
  }
  input_start(s);
  asy_stream_push_reader(L, 3);
  lua_insert(L, 3);
  return 2;
}

static Abort connect_abort(lua_State *L, Task *t) {
  Stream *s = t->on;
  if (!s) return ASY_DETACHED;
  s->in.reader = NULL;
  asy_stream_abort(L, s);
  return ASY_DETACHED;
}

static void connect_giveback(lua_State *L, Task *t) { connect_abort(L, t); }

static const WaitKind CONNECT = {.name = "connect", .finish = connected, .abort = connect_abort,
                                 .giveback = connect_giveback, .describe = peer_describe};

static int fail(lua_State *L, Stream *s, int status, const char *what, const char *address) {
  asy_stream_abort(L, s);
  return asy_oserror(L, status, what, address);
}

static void set_options(lua_State *L, Stream *s) {
  int fd;
  TcpOptions options = asy_tcp_options(L, 2);
  if (uv_fileno(&s->uv.handle, &fd) == 0) tcp_options_set(&options, fd);
}

static void bind_local(lua_State *L, Stream *s) {
  struct sockaddr_storage sa;
  char text[ASY_ADDRESS_TEXT];
  if (lua_getfield(L, 2, "local_addr") != LUA_TNIL) {
    if (!lua_istable(L, -1)) asy_argerror(L, 2, "'local_addr' is an address {host=, port=}");
    socklen_t len = asy_address_check(L, lua_gettop(L), &sa);
    int status = uv_tcp_bind(&s->uv.tcp, (struct sockaddr *)&sa, 0);
    if (status) {
      address_text((struct sockaddr *)&sa, len, text);
      fail(L, s, status, "bind", text);
    }
  }
  lua_pop(L, 1);
}

/* connect(address, opts) → reader, writer */
static int stream_connect(lua_State *L) {
  struct sockaddr_storage sa;
  char text[ASY_ADDRESS_TEXT];
  socklen_t len = asy_address_check(L, 1, &sa);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  StreamOptions options = asy_stream_options(L, 2);
  Task *t = asy_current(L);
  Stream *s = asy_stream_new(L, t->loop, UV_TCP, options.limit);
  address_text((struct sockaddr *)&sa, len, text);
  if (!limits_set(s, &options)) return fail(L, s, UV_ENOMEM, "connect", text);
  bind_local(L, s);
  Connect *c = mem_alloc(sizeof *c);
  if (!c) return fail(L, s, UV_ENOMEM, "connect", text);
  c->stream = s;
  int status = uv_tcp_connect(&c->req, &s->uv.tcp, (struct sockaddr *)&sa, on_connect);
  if (status) {
    mem_free(c);
    return fail(L, s, status, "connect", text);
  }
  set_options(L, s);
  peer_note(s, (struct sockaddr *)&sa);
  s->in.reader = t;
  return asy_park(L, t, &CONNECT, s);
}

/* A unix socket that is connected, or a negative status. The kernel says so at once: EAGAIN when the
** server's backlog is full. */
static int connect_unix(const struct sockaddr *sa, socklen_t len) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return -errno;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  if (connect(fd, sa, len) == 0) return fd;
  int status = -errno;
  close(fd);
  return status;
}

/* connect_unix(address, opts) → reader, writer; never waits */
static int stream_connect_unix(lua_State *L) {
  struct sockaddr_storage sa;
  char text[ASY_ADDRESS_TEXT];
  socklen_t len = asy_address_check(L, 1, &sa);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  StreamOptions options = asy_stream_options(L, 2);
  Stream *s = asy_stream_new(L, asy_running(L, ASY_RUNTIME(L)), UV_NAMED_PIPE, options.limit);
  address_text((struct sockaddr *)&sa, len, text);
  if (!limits_set(s, &options)) return fail(L, s, UV_ENOMEM, "connect", text);
  int fd = connect_unix((struct sockaddr *)&sa, len);
  int status = fd < 0 ? fd : uv_pipe_open(&s->uv.pipe, fd);
  if (status) {
    if (fd >= 0) close(fd);
    return fail(L, s, status, "connect", text);
  }
  input_start(s);
  asy_stream_push_reader(L, 3);
  lua_insert(L, 3);
  return 2;
}

/* What is known of a socket that is connected. */
static void take_over(Stream *s, int fd, const TcpOptions *options) {
  struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
  socklen_t len = sizeof sa;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (s->uv.handle.type == UV_TCP) tcp_options_set(options, fd);
  if (getpeername(fd, (struct sockaddr *)&sa, &len) == 0) peer_note(s, (struct sockaddr *)&sa);
}

/* adopt(fd, opts, is_unix) → reader, writer of a connected socket that was made elsewhere; it is the caller's when this
** raises */
static int stream_adopt(lua_State *L) {
  char name[40];
  int fd = (int)luaL_checkinteger(L, 1);
  bool is_unix = lua_toboolean(L, 3);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  StreamOptions options = asy_stream_options(L, 2);
  TcpOptions tcp = asy_tcp_options(L, 2);
  Stream *s = asy_stream_new(L, asy_running(L, ASY_RUNTIME(L)), is_unix ? UV_NAMED_PIPE : UV_TCP, options.limit);
  snprintf(name, sizeof name, "descriptor %d", fd);
  if (!limits_set(s, &options)) return fail(L, s, UV_ENOMEM, "open", name);
  asy_stream_push_reader(L, 3);
  int status = is_unix ? uv_pipe_open(&s->uv.pipe, fd) : uv_tcp_open(&s->uv.tcp, fd);
  if (status) return fail(L, s, status, "open", name);
  take_over(s, fd, &tcp);
  input_start(s);
  lua_insert(L, 3);
  return 2;
}

static const luaL_Reg functions[] = {{"connect", stream_connect},
                                     {"connect_unix", stream_connect_unix},
                                     {"adopt", stream_adopt},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_connect(lua_State *L) { asy_setfuncs(L, functions); }
