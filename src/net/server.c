/*
** server.c - asyncio.Server: made, looked at, collected.
**
** While a server listens or has clients the loop holds it.
*/
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "core/context.h"
#include "core/error.h"
#include "core/options.h"
#include "core/report.h"
#include "net/accept.h"
#include "net/life.h"
#include "net/shake.h"
#include "net/shutdown.h"
#include "net/unclosed.h"
#include "open.h"

#define HANDSHAKE 15 /* seconds that it may take, unless told */

static void let_go(lua_State *L, Server *sv) {
  uint32_t slot = sv->slot;
  sv->slot = 0;
  list_remove(&sv->spawn.link); /* its last client may have left, and woken it, just now */
  if (slot) asy_release(L, sv->loop, slot);
}

static void spawn_run(lua_State *L, Loop *loop, Ready *self) {
  Server *sv = asy_container(self, Server, spawn);
  int top = lua_gettop(L);
  asy_held_push(L, loop, sv->slot);
  asy_shutdown_report(L, sv);
  asy_accept_serve(L, sv);
  if (server_idle(sv)) {
    server_wake_closers(sv);
    let_go(L, sv);
  }
  lua_settop(L, top);
}

/* Listening */

static const char *tell(const Handle *h, char *text, size_t size) {
  const Listener *l = asy_container(h, Listener, handle);
  struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
  socklen_t n = sizeof sa;
  char address[ASY_ADDRESS_TEXT] = "";
  if (getsockname(l->fd, (struct sockaddr *)&sa, &n) == 0) address_text((struct sockaddr *)&sa, n, address);
  snprintf(text, size, "a server%s%s", *address ? " at " : "", address);
  return l->server ? l->server->site : NULL;
}

/* sa: becomes its real address. */
static void own_listener(Server *sv, Listener *l, struct sockaddr_storage *sa) {
  socklen_t len = sizeof *sa;
  l->server = sv;
  l->handle.tell = tell;
  list_append(&sv->listeners, &l->link);
  if (getsockname(l->fd, (struct sockaddr *)sa, &len) == 0 && !*sv->address)
    address_text((struct sockaddr *)sa, len, sv->address);
}

/* stack: handler, addresses, opts, server */
static void hold_server(lua_State *L, Server *sv) {
  lua_pushvalue(L, 4);
  sv->slot = asy_hold(L, sv->loop);
}

/* The same stack. Its listener is a socket that was made elsewhere: nothing may raise once it
** is ours. */
static void adopt_listener(lua_State *L, Server *sv, int fd) {
  struct sockaddr_storage sa;
  int status;
  char name[40];
  hold_server(L, sv);
  Listener *l = listener_adopt(sv->loop, fd, &status);
  if (!l) {
    let_go(L, sv);
    snprintf(name, sizeof name, "descriptor %d", fd);
    asy_oserror(L, status, "listen", name);
  }
  sv->options.foreign = true;
  own_listener(sv, l, &sa);
}

/* Adds a listener for the address in the table at idx. port: in place of a port 0; → the real one.
** -1: the machine has no such address (no IPv6), which is an error only when all are so. */
static int add_listener(lua_State *L, Server *sv, int idx, int port, bool only) {
  struct sockaddr_storage sa;
  socklen_t len = asy_address_check(L, idx, &sa);
  bool ip = sa.ss_family != AF_UNIX;
  char text[ASY_ADDRESS_TEXT];
  int status;
  in_port_t *sin_port = sa.ss_family == AF_INET ? &((struct sockaddr_in *)&sa)->sin_port
                                                : &((struct sockaddr_in6 *)&sa)->sin6_port;
  if (ip && *sin_port == 0) *sin_port = (in_port_t)port;
  address_text((struct sockaddr *)&sa, len, text);
  Listener *l = listener_new(sv->loop, &sv->options, (struct sockaddr *)&sa, len, &status);
  if (!l) {
    if (!only && (status == UV_EADDRNOTAVAIL || status == UV_EAFNOSUPPORT)) return -1;
    accept_close(sv);
    return asy_oserror(L, status, "listen", text);
  }
  own_listener(sv, l, &sa);
  return ip ? *sin_port : 0;
}

/* stack: handler, addresses, opts, server */
static void take_filters(lua_State *L, Server *sv) {
  int most = asy_opt_int(L, 3, "max_handshakes", 0);
  sv->max_shaking = most ? most : INT_MAX;
  lua_Number seconds = asy_opt_seconds(L, 3, "ssl_handshake_timeout", HANDSHAKE);
  sv->shake_ns = seconds < 1e9 ? (uint64_t)(seconds * NS_PER_S) + 1 : TIMER_NEVER / 2;
  if (lua_getfield(L, 3, "ssl") != LUA_TNIL) asy_filter_source(L, -1);
  lua_setiuservalue(L, 4, SERVER_UV_FILTERS);
}

/* stack: handler, addresses, opts, server */
static void take_options(lua_State *L, Server *sv) {
  sv->stream = asy_stream_options(L, 3);
  sv->options.backlog = asy_opt_int(L, 3, "backlog", 128);
  sv->options.tcp = asy_tcp_options(L, 3);
  sv->options.reuse_address = asy_opt_bool(L, 3, "reuse_address", true);
  sv->options.reuse_port = asy_opt_bool(L, 3, "reuse_port", false);
  sv->options.cleanup_socket = asy_opt_bool(L, 3, "cleanup_socket", true);
  sv->serving = asy_opt_bool(L, 3, "start_serving", true);
  lua_Number linger = asy_opt_seconds(L, 3, "close_timeout", STREAM_LINGER);
  sv->stop_grace = asy_opt_seconds(L, 3, "stop_grace", 0);
  int most = asy_opt_int(L, 3, "max_connections", 0);
  sv->max_clients = most ? most : INT_MAX;
  sv->talks = asy_opt_bool(L, 3, "talks", false);
  take_filters(L, sv);
  sv->linger_ns = linger < 1e9 ? (uint64_t)(linger * NS_PER_S) + 1 : TIMER_NEVER / 2;
}

/* listen(handler, {address, ...}, opts) → server: the mechanism of start_server. opts.fd: a socket that listens
** already, in place of addresses */
static int server_listen(lua_State *L) {
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  luaL_checkany(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  Server *sv = lua_newuserdatauv(L, sizeof *sv, SERVER_UV_CONTEXT); /* stack: handler, addresses, opts, server */
  memset(sv, 0, sizeof *sv);
  sv->loop = loop;
  sv->loop_id = loop->id;
  sv->spawn.run = spawn_run;
  accept_init(sv);
  shutdown_init(sv);
  list_init(&sv->clients);
  list_init(&sv->shaken);
  list_init(&sv->spawn.link);
  sv->site = asy_debug_site(L, loop);
  asy_pushmeta(L, loop->rt, ASY_SERVER);
  lua_setmetatable(L, -2);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 4, SERVER_UV_HANDLER);
  asy_context_push(L, loop->rt);
  lua_setiuservalue(L, 4, SERVER_UV_CONTEXT);
  take_options(L, sv);
  int fd = asy_opt_int(L, 3, "fd", -1);
  if (fd >= 0) adopt_listener(L, sv, fd);
  int port = 0, n = (int)lua_rawlen(L, 2);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, 2, i);
    int got = add_listener(L, sv, 5, port, i == n && list_empty(&sv->listeners));
    if (got > 0) port = got;
    lua_settop(L, 4);
  }
  lua_settop(L, 4);
  if (!sv->slot) hold_server(L, sv);
  accept_start(sv);
  return 1;
}

/* The servers of a loop that closes, in debug mode, each once: by its first listener. */
static void report_open(Handle *h, void *arg) {
  const Listener *l = asy_container(h, Listener, handle);
  const Server *sv = l->server;
  if (sv->site && !sv->closed && sv->listeners.next == &l->link)
    asy_unclosed_report(arg, h->loop, "a server was not closed", "started at", sv->site);
}

static void report_servers(lua_State *L, Loop *loop) {
  if (loop->debug) handles_each(loop, listener_shut, report_open, L);
}

/* Methods */

/// Whether it accepts connections.
// @function Server:is_serving
// @treturn boolean
static int server_is_serving(lua_State *L) {
  Server *sv = asy_server_check(L);
  lua_pushboolean(L, sv->serving && !sv->closed && asy_server_loop(L, sv));
  return 1;
}

/// The addresses it listens on; where port 0 was asked for, the real one.
// @function Server:sockets
// @treturn {table,...}
static int server_sockets(lua_State *L) {
  Server *sv = asy_server_check(L);
  int n = 0;
  lua_newtable(L);
  const Listener *l;
  for (int i = 0; !sv->closed && (l = server_listener(sv, i)); i++) { /* a finaliser may close it meanwhile */
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    if (getsockname(l->fd, (struct sockaddr *)&sa, &len)) continue;
    asy_address_push(L, (struct sockaddr *)&sa, len);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/// What has become of its connections: how many there are (those that are being closed included), how many have come,
// and of how many the handler `failed`, or ended because its own connection broke or ran into its `read_timeout` or
// `write_timeout`, or was closed by `close_clients` (`reset`), or was in the middle of a message when the server was
// shut down (`cut`); such ends are no failures, and reported in debug mode only. `aborted`: how many the server has
// ended by force (`abort_clients`, a block left by an error, a shutdown whose grace was over). `paused`: whether
// accepting pauses now, since there are `max_connections`, or no file descriptors.
// A server with TLS tells, too, how many shake hands now (`handshakes`), and whose handshake came to nothing
// (`handshakes_failed`): no handler has seen those.
// @function Server:stats
// @treturn table `connections`, `accepted`, `failed`, `reset`, `cut`, `aborted`, `paused`; `handshakes`,
// `handshakes_failed`
// @usage
// local server <close> = asyncio.start_server(function(reader) reader:read() end, "127.0.0.1", 0)
// local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
// writer:close()
// asyncio.sleep(0.1)
// local stats = server:stats()
// print(stats.accepted, stats.connections, stats.failed, stats.reset) --> 1  0  0  0
static int server_stats(lua_State *L) {
  const Server *sv = asy_server_check(L);
  const struct {
    const char *name;
    lua_Integer n;
  } counts[] = {{"connections", server_connections(sv)}, {"accepted", sv->served}, {"failed", sv->failed},
                {"reset", sv->reset}, {"cut", sv->cut}, {"aborted", sv->aborted},
                {"handshakes", sv->nshaking}, {"handshakes_failed", sv->unshaken}};
  bool tls = lua_getiuservalue(L, 1, SERVER_UV_FILTERS) != LUA_TNIL;
  lua_createtable(L, 0, 9);
  for (size_t i = 0; i < sizeof counts / sizeof *counts - (tls ? 0 : 2); i++) {
    lua_pushinteger(L, counts[i].n);
    lua_setfield(L, -2, counts[i].name);
  }
  lua_pushboolean(L, !sv->closed && (sv->full || sv->retry.place));
  lua_setfield(L, -2, "paused");
  return 1;
}

/* _set_filter(context): for connections that come from now on */
static int server_set_filter(lua_State *L) {
  if (asy_server_check(L)->closed) return asy_error(L, ASY_CLOSED, "the server is closed");
  asy_filter_source(L, 2);
  lua_settop(L, 2);
  if (lua_getiuservalue(L, 1, SERVER_UV_FILTERS) == LUA_TNIL)
    return asy_error(L, ASY_ERROR, "the server is one without TLS: what its clients expect cannot be changed");
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, SERVER_UV_FILTERS);
  return 0;
}

static int server__gc(lua_State *L) {
  Server *sv = asy_server_check(L);
  sv->loop = asy_server_loop(L, sv);
  list_remove(&sv->spawn.link);
  shutdown_forget(sv);
  accept_close(sv);
  accept_refuse(sv);
  while (!list_empty(&sv->clients)) client_forget(asy_container(sv->clients.next, Stream, client.link));
  mem_free(sv->site);
  sv->site = NULL;
  return 0;
}

static int server__tostring(lua_State *L) {
  Server *sv = asy_server_check(L);
  lua_settop(L, 1);
  server_sockets(L);
  int n = (int)lua_rawlen(L, 2);
  lua_pushfstring(L, "asyncio.Server: %s", sv->closed ? "closed" : sv->serving ? "serving" : "not serving");
  for (int i = 1; i <= n; i++) {
    lua_pushstring(L, i == 1 ? " on " : ", ");
    lua_rawgeti(L, 2, i);
    luaL_tolstring(L, -1, NULL);
    lua_remove(L, -2);
    lua_concat(L, 3);
  }
  n = server_connections(sv);
  lua_pushfstring(L, "%s, %d connection%s (%p)", lua_tostring(L, -1), n, n == 1 ? "" : "s", (void *)sv);
  return 1;
}

/// What listens and starts a task for each connection; `asyncio.start_server` and
// `asyncio.start_unix_server` make it. A block that has it as `<close>` variable waits for its
// handlers at its end, or cancels them when an error leaves. A handler's task is named after its client,
// `connection from 127.0.0.1:4711`, or where it came to, `connection to /run/socket`.
// @type Server
// @usage
// local server <close> = asyncio.start_server(function(reader, writer)
//   for line in reader:lines() do writer:send("you said ", line, "\n") end
// end, "127.0.0.1", 0)
// print(server:is_serving(), server:sockets()[1].host) --> true  127.0.0.1
// local task = asyncio.create_task(server.serve_forever, server)
// asyncio.sleep(3600)
// task:cancel() -- as Ctrl-C would
// asyncio.wait { task }

static const luaL_Reg methods[] = {{"is_serving", server_is_serving},
                                   {"sockets", server_sockets},
                                   {"stats", server_stats},
                                   {"_set_filter", server_set_filter},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", server__gc},
                                       {"__tostring", server__tostring},
                                       {NULL, NULL}};

static const luaL_Reg functions[] = {{"listen", server_listen}, {NULL, NULL}};

/* stack: module */
void asy_open_server(lua_State *L) {
  static const LoopHooks hooks = {.report = report_servers};
  runtime_on_loop(asy_runtime(L), &hooks);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_SERVER, "asyncio.Server", methods, metamethods);
  asy_pushmeta(L, asy_runtime(L), ASY_SERVER); /* the Lua layer adds to the class */
  lua_setfield(L, -2, "server_class");
}
