/*
** server.c - asyncio.Server.
**
** The callback of a listener's poll accepts; a Ready makes the streams and tasks. While a server listens or
** has clients the loop holds it.
*/
#include "net/handler.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/context.h"
#include "core/error.h"
#include "core/options.h"
#include "core/report.h"
#include "net/life.h"
#include "net/unclosed.h"
#include "open.h"

#define RETRY_NS (NS_PER_S / 10) /* after running out of descriptors */
#define PATIENCE (5 * NS_PER_S)  /* then whoever waits for a server's connections is told which they are */
#define TOLD 10                  /* of so many what they wait for */

static Server *check_server(lua_State *L) {
  return asy_check(L, ASY_RUNTIME(L), 1, ASY_SERVER, "asyncio.Server");
}

/* NULL when its loop is closed. */
static Loop *server_loop(lua_State *L, const Server *sv) {
  return loop_find(ASY_RUNTIME(L), sv->loop_id);
}

/* Accepting */

static void on_poll(uv_poll_t *poll, int status, int events);

static Listener *listener_of(ListNode *node) { return asy_container(node, Listener, link); }

/* The listener with that number, from 0; NULL when there are fewer. */
static const Listener *nth_listener(const Server *sv, int n) {
  list_each(node, &sv->listeners)
    if (n-- == 0) return listener_of(node);
  return NULL;
}

static void listen_start(Server *sv) {
  list_each(node, &sv->listeners) uv_poll_start(&listener_of(node)->poll, UV_READABLE, on_poll);
}

static void listen_stop(Server *sv) {
  list_each(node, &sv->listeners) uv_poll_stop(&listener_of(node)->poll);
}

static void starve(Server *sv) {
  if (sv->retry.place || timer_set(&sv->loop->timers, &sv->retry, loop_now(sv->loop) + RETRY_NS))
    listen_stop(sv); /* without a timer it tries again at once */
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  const Listener *l = asy_container(poll, Listener, poll);
  Server *sv = l->server;
  (void)status;
  (void)events;
  while (sv->naccepted < SERVER_ACCEPTS) {
    if (listener_accept(l, &sv->accepted[sv->naccepted])) {
      sv->naccepted++;
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) starve(sv);
    if (errno != EINTR && errno != ECONNABORTED) break;
  }
  if (sv->naccepted || sv->retry.place) server_wake(sv);
}

static void on_retry(Timer *timer) {
  Server *sv = asy_container(timer, Server, retry);
  if (sv->serving) listen_start(sv);
}

static void let_go(lua_State *L, Server *sv) {
  uint32_t slot = sv->slot;
  sv->slot = 0;
  if (slot) asy_release(L, sv->loop, slot);
}

/* For whom it is waited */

static void on_patience(Timer *timer) {
  Server *sv = asy_container(timer, Server, patience);
  sv->impatient = true;
  server_wake(sv);
}

/* The client with that number, from 0; NULL when there are fewer. */
static Stream *nth_client(const Server *sv, int n) {
  list_each(node, &sv->clients)
    if (n-- == 0) return asy_container(node, Stream, client.link);
  return NULL;
}

/* args: Server (light) → for whom it waits. What is pushed allocates: a finaliser may end connections. */
static int push_obstacles(lua_State *L) {
  const Server *sv = lua_touserdata(L, 1);
  int n = server_connections(sv);
  Stream *s;
  lua_pushfstring(L, "a server that is closed (%s) has waited %d s for %d connection%s to end; close_clients and "
                     "abort_clients end them", sv->address, (int)(PATIENCE / NS_PER_S), n, n == 1 ? "" : "s");
  for (int i = 0; i < TOLD && (s = nth_client(sv, i)); i++) {
    asy_handler_push_line(L, s);
    lua_pushfstring(L, "%s%s", lua_tostring(L, 2), lua_tostring(L, -1));
    lua_replace(L, 2);
    lua_settop(L, 2);
  }
  if (n > TOLD) lua_pushfstring(L, "%s\n  and %d more", lua_tostring(L, 2), n - TOLD);
  return 1;
}

static void report_obstacles(lua_State *L, Loop *loop, Server *sv) {
  int top = lua_gettop(L);
  sv->impatient = false;
  if (server_idle(sv) || waitq_empty(&sv->closers)) return;
  asy_task_push(L, waitq_first(&sv->closers));
  lua_pushcfunction(L, push_obstacles);
  lua_pushlightuserdata(L, sv);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK)
    asy_report(L, loop, (Report){.message = lua_tostring(L, -1), .key = "task", .object = top + 1});
  lua_settop(L, top);
}

static void spawn_run(lua_State *L, Loop *loop, Ready *self) {
  Server *sv = asy_container(self, Server, spawn);
  int top = lua_gettop(L);
  asy_held_push(L, loop, sv->slot);
  lua_getiuservalue(L, -1, SERVER_UV_CONTEXT);
  asy_context_swap(L, loop->rt);
  if (sv->retry.place && !sv->starved) {
    sv->starved = true;
    asy_oserror_push(L, UV_EMFILE, "accept", NULL);
    asy_report(L, loop, (Report){.message = "out of file descriptors: accepting pauses",
                                 .exception = -1});
    lua_settop(L, top + 2);
  } else if (!sv->retry.place)
    sv->starved = false;
  if (sv->impatient) report_obstacles(L, loop, sv);
  while (sv->nserved < sv->naccepted) {
    lua_pushvalue(L, top + 1);
    asy_handler_start(L, sv, &sv->accepted[sv->nserved++]);
    lua_settop(L, top + 2);
  }
  sv->naccepted = sv->nserved = 0;
  asy_context_swap(L, loop->rt); /* the former one stands at top + 2 */
  if (server_idle(sv)) let_go(L, sv);
  lua_settop(L, top);
}

/* Listening */

static void close_listeners(Server *sv) {
  sv->serving = false;
  sv->closed = true;
  if (sv->loop) timer_cancel(&sv->loop->timers, &sv->retry);
  while (!list_empty(&sv->listeners)) listener_close(listener_of(sv->listeners.next));
}

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
    close_listeners(sv);
    return asy_oserror(L, status, "listen", text);
  }
  own_listener(sv, l, &sa);
  return ip ? *sin_port : 0;
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
  sv->retry.fire = on_retry;
  sv->patience.fire = on_patience;
  list_init(&sv->clients);
  list_init(&sv->listeners);
  list_init(&sv->spawn.link);
  waitq_init(&sv->closers);
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
  if (sv->serving) listen_start(sv);
  return 1;
}

/* The servers of a loop that closes, in debug mode, each once: by its first listener. */
static void report_open(Handle *h, void *arg) {
  const Listener *l = asy_container(h, Listener, handle);
  const Server *sv = l->server;
  if (sv->site && sv->listeners.next == &l->link)
    asy_unclosed_report(arg, h->loop, "a server was not closed", "started at", sv->site);
}

static void report_servers(lua_State *L, Loop *loop) {
  if (loop->debug) handles_each(loop, listener_shut, report_open, L);
}

/* Methods */

/// Begins to accept connections; `start_server` has done so unless told not to.
// @function Server:start_serving
static int server_start_serving(lua_State *L) {
  Server *sv = check_server(L);
  if (sv->closed || !server_loop(L, sv)) return asy_error(L, ASY_CLOSED, "the server is closed");
  sv->serving = true;
  listen_start(sv);
  return 0;
}

/* Accepted and not served yet: closed with the server. */
static void refuse_accepted(Server *sv) {
  while (sv->nserved < sv->naccepted) close(sv->accepted[sv->nserved++].fd);
}

static void close_server(Server *sv) {
  if (sv->closed) return;
  close_listeners(sv);
  refuse_accepted(sv);
  if (server_idle(sv))
    server_check_idle(sv);
  else
    waitq_wake_all(&sv->closers, 0); /* serve_forever */
}

/// Stops accepting. Connections that are open go on.
// @function Server:close
static int server_close(lua_State *L) {
  Server *sv = check_server(L);
  if (server_loop(L, sv)) close_server(sv);
  return 0;
}

static void each_client(lua_State *L, Server *sv, void (*fn)(lua_State *, Stream *)) {
  for (ListNode *n = sv->clients.next, *next; n != &sv->clients; n = next) {
    next = n->next;
    fn(L, asy_container(n, Stream, client.link));
  }
}

static void close_client(lua_State *L, Stream *s) { asy_stream_close(L, s, s->client.server->linger_ns); }

/// Closes every connection, after what is written has been sent.
// @function Server:close_clients
static int server_close_clients(lua_State *L) {
  Server *sv = check_server(L);
  if (server_loop(L, sv)) each_client(L, sv, close_client);
  return 0;
}

/// Closes every connection at once.
// @function Server:abort_clients
static int server_abort_clients(lua_State *L) {
  Server *sv = check_server(L);
  if (server_loop(L, sv)) each_client(L, sv, asy_stream_abort);
  return 0;
}

static int wait_closed(lua_State *L);

static int closed_finish(lua_State *L, Task *t) {
  (void)t;
  return wait_closed(L);
}

static Abort closed_abort(lua_State *L, Task *t) {
  Server *sv = t->on;
  asy_waitq_abort(L, t);
  if (waitq_empty(&sv->closers)) timer_cancel(&t->loop->timers, &sv->patience);
  return ASY_DETACHED;
}

static void describe_clients(const Task *t, char *text) {
  const Server *sv = t->on;
  int n = server_connections(sv);
  snprintf(text, ASY_WAIT_TEXT, sv->closed ? "%d connection%s" : "%d connection%s, not closed yet", n, n == 1 ? "" : "s");
}

static const WaitKind CLOSED = {.name = "wait_closed", .finish = closed_finish, .abort = closed_abort,
                                .describe = describe_clients};

static Task *waiting_task(lua_State *L, const Server *sv) {
  Task *t = asy_current(L);
  if (t->loop->id != sv->loop_id) asy_error(L, ASY_ERROR, "the server belongs to another event loop");
  return t;
}

/* stack: server */
static int wait_closed(lua_State *L) {
  Server *sv = check_server(L);
  lua_settop(L, 1);
  if (server_idle(sv) || !server_loop(L, sv)) return asy_spend(L);
  Task *t = waiting_task(L, sv);
  if (handler_is_of(t, sv))
    asy_error(L, ASY_ERROR, "a handler cannot wait until its own server has no connections: it would wait for itself. "
                            "Close the server here, and wait in another task");
  if (sv->closed && !sv->patience.place) /* without a timer nobody is told */
    timer_set(&sv->loop->timers, &sv->patience, loop_now(sv->loop) + PATIENCE);
  return asy_waitq_park(L, t, &sv->closers, &CLOSED, sv);
}

/// Waits until the server is closed and every handler has ended.
// When that takes longer than 5 seconds it is reported for which connections it waits. A handler cannot wait for its
// own server.
// @function Server:wait_closed
static int server_wait_closed(lua_State *L) { return wait_closed(L); }

static int forever_finish(lua_State *L, Task *t);

static Abort forever_abort(lua_State *L, Task *t) {
  asy_waitq_abort(L, t);
  close_server(t->on);
  return ASY_DETACHED;
}

static void describe_address(const Task *t, char *text) {
  const Server *sv = t->on;
  memcpy(text, sv->address, sizeof sv->address);
}

static const WaitKind FOREVER = {.name = "serve", .finish = forever_finish, .abort = forever_abort,
                                 .describe = describe_address};

static int serve_forever(lua_State *L, Server *sv) {
  if (sv->closed) return 0;
  return asy_waitq_park(L, waiting_task(L, sv), &sv->closers, &FOREVER, sv);
}

static int forever_finish(lua_State *L, Task *t) { return serve_forever(L, t->on); }

/// Serves until the server is closed. Cancelling it closes the server.
// @function Server:serve_forever
static int server_serve_forever(lua_State *L) {
  Server *sv = check_server(L);
  server_start_serving(L);
  lua_settop(L, 1);
  return serve_forever(L, sv);
}

/// Whether it accepts connections.
// @function Server:is_serving
// @treturn boolean
static int server_is_serving(lua_State *L) {
  Server *sv = check_server(L);
  lua_pushboolean(L, sv->serving && server_loop(L, sv));
  return 1;
}

/// The addresses it listens on; where port 0 was asked for, the real one.
// @function Server:sockets
// @treturn {table,...}
static int server_sockets(lua_State *L) {
  Server *sv = check_server(L);
  int n = 0;
  lua_newtable(L);
  const Listener *l;
  for (int i = 0; (l = nth_listener(sv, i)); i++) { /* what is pushed allocates: a finaliser may close the server */
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    if (getsockname(l->fd, (struct sockaddr *)&sa, &len)) continue;
    asy_address_push(L, (struct sockaddr *)&sa, len);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/// What has become of its connections: how many there are, how many have come, and of how many the handler failed,
// or ended because its own connection broke. Such an end is no failure, and reported in debug mode only.
// @function Server:stats
// @treturn table `connections`, `accepted`, `failed`, `reset`
// @usage
// local server <close> = asyncio.start_server(function(reader) reader:read() end, "127.0.0.1", 0)
// local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
// writer:close()
// asyncio.sleep(0.1)
// local stats = server:stats()
// print(stats.accepted, stats.connections, stats.failed, stats.reset) --> 1  0  0  0
static int server_stats(lua_State *L) {
  const Server *sv = check_server(L);
  const struct {
    const char *name;
    lua_Integer n;
  } counts[] = {{"connections", server_connections(sv)}, {"accepted", sv->served}, {"failed", sv->failed},
                {"reset", sv->reset}};
  lua_createtable(L, 0, 4);
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    lua_pushinteger(L, counts[i].n);
    lua_setfield(L, -2, counts[i].name);
  }
  return 1;
}

/* local server <close>: left normally, waits for the handlers; left by an error, ends them. Where
** nothing can wait it only closes; so it does when one of its handlers is left by an error, which must not be lost. */
static int server__close(lua_State *L) {
  Server *sv = check_server(L);
  bool failed = !lua_isnoneornil(L, 2);
  if (!server_loop(L, sv)) return 0;
  Task *t = asy_current_or_null(L);
  close_server(sv);
  if (failed || !t) {
    each_client(L, sv, asy_handler_cancel);
    each_client(L, sv, asy_stream_abort);
  }
  if (!t || (failed && handler_is_of(t, sv))) return 0;
  return wait_closed(L);
}

static int server__gc(lua_State *L) {
  Server *sv = check_server(L);
  sv->loop = server_loop(L, sv);
  list_remove(&sv->spawn.link);
  if (sv->loop) timer_cancel(&sv->loop->timers, &sv->patience);
  close_listeners(sv);
  refuse_accepted(sv);
  while (!list_empty(&sv->clients)) client_forget(asy_container(sv->clients.next, Stream, client.link));
  mem_free(sv->site);
  sv->site = NULL;
  return 0;
}

static int server__tostring(lua_State *L) {
  Server *sv = check_server(L);
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

static const luaL_Reg methods[] = {{"start_serving", server_start_serving},
                                   {"serve_forever", server_serve_forever},
                                   {"close", server_close},
                                   {"close_clients", server_close_clients},
                                   {"abort_clients", server_abort_clients},
                                   {"wait_closed", server_wait_closed},
                                   {"is_serving", server_is_serving},
                                   {"sockets", server_sockets},
                                   {"stats", server_stats},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", server__gc},
                                       {"__close", server__close},
                                       {"__tostring", server__tostring},
                                       {NULL, NULL}};

static const luaL_Reg functions[] = {{"listen", server_listen}, {NULL, NULL}};

/* stack: module */
void asy_open_server(lua_State *L) {
  static const LoopHooks hooks = {.report = report_servers};
  runtime_on_loop(asy_runtime(L), &hooks);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_SERVER, "asyncio.Server", methods, metamethods);
}
