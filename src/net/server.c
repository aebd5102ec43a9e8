/*
** server.c - asyncio.Server.
**
** The callback of a listener's poll accepts; a Ready makes the streams and tasks. While a server listens or
** has clients the loop holds it.
*/
#include "net/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/context.h"
#include "core/error.h"
#include "core/options.h"
#include "core/report.h"
#include "core/trace.h"
#include "net/input.h"
#include "net/life.h"
#include "net/listener.h"
#include "net/output.h"
#include "net/peer.h"
#include "net/unclosed.h"
#include "open.h"

#define ACCEPTS 32                /* connections taken in one callback, so that others get a turn */
#define RETRY_NS (NS_PER_S / 10)  /* after running out of descriptors */
#define PATIENCE (5 * NS_PER_S)   /* then whoever waits for a server's connections is told which they are */
#define TOLD 10                   /* of so many what they wait for */

typedef struct Server {
  Loop *loop;           /* valid while there is a loop with this id */
  uint64_t loop_id;
  uint32_t slot;        /* where the loop holds it; 0: it doesn't */
  ListNode listeners;   /* Listeners, one for each address; none once it, or its loop, is closed */
  ListNode clients;     /* Streams */
  Waitq closers;        /* wait_closed, <close>, serve_forever */
  Ready spawn;          /* makes streams of what was accepted */
  Timer retry;          /* after descriptors ran out */
  Timer patience;       /* while its connections are waited for, if it is closed */
  char address[ASY_ADDRESS_TEXT]; /* in words: where it listens, or the first such place */
  lua_Integer served, failed, reset; /* connections so far; whose handler failed, or lost its peer */
  Accepted accepted[ACCEPTS];
  int naccepted, nserved; /* of these, first come first served; both 0 once all are */
  size_t limit;         /* of the streams' input */
  uint64_t linger_ns;   /* close_timeout */
  ListenOptions options; /* of its listeners */
  char *site;           /* debug mode: where it was started; or NULL */
  bool serving;         /* its listeners are polled, unless descriptors ran out */
  bool closed;          /* has no listeners any more */
  bool starved;         /* out of descriptors, and that has been reported */
  bool impatient;       /* `patience` has run out, and that is to be reported */
} Server;

/* The task of a handler: its owner is the Stream. */
typedef struct Handler {
  Task task;
  IpAddress peer; /* family AF_UNIX: then where it listens ... */
  char address[]; /* ... stands here */
} Handler;

#define HANDLER_UV 1 /* user values: the handler, and the context that its tasks begin with */
#define CONTEXT_UV 2

static const char serve_key = 0; /* registry: serve_protected, called for each connection */

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

static void wake_spawn(Server *sv) {
  if (!list_linked(&sv->spawn.link)) loop_ready(sv->loop, &sv->spawn);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  const Listener *l = asy_container(poll, Listener, poll);
  Server *sv = l->server;
  (void)status;
  (void)events;
  while (sv->naccepted < ACCEPTS) {
    if (listener_accept(l, &sv->accepted[sv->naccepted])) {
      sv->naccepted++;
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) starve(sv);
    if (errno != EINTR && errno != ECONNABORTED) break;
  }
  if (sv->naccepted || sv->retry.place) wake_spawn(sv);
}

static void on_retry(Timer *timer) {
  Server *sv = asy_container(timer, Server, retry);
  if (sv->serving) listen_start(sv);
}

/* Clients */

static bool idle(const Server *sv) { return sv->closed && list_empty(&sv->clients); }

static void check_idle(Server *sv) {
  if (!idle(sv)) return;
  timer_cancel(&sv->loop->timers, &sv->patience);
  waitq_wake_all(&sv->closers, 0);
  wake_spawn(sv); /* lets go of the server */
}

static void forget_client(Stream *s) {
  list_remove(&s->client.link);
  s->client.server = NULL;
  s->client.handler = NULL;
}

static void client_left(Stream *s) {
  Server *sv = s->client.server;
  if (!sv || s->client.handler || s->handle.open || !s->handle.closed) return;
  forget_client(s);
  check_idle(sv);
}

/* A handler has failed. That its own connection broke is no failure of the program: clients come and go.
** sv: NULL when it has been collected. stack: task */
static void handler_failed(lua_State *L, Task *t, Server *sv) {
  int task = lua_gettop(L);
  lua_getiuservalue(L, task, FUTURE_UV_VALUE);
  bool broke = asy_peer_broke(L, -1, t->number);
  if (sv) ++*(broke ? &sv->reset : &sv->failed);
  if (!broke || t->loop->debug) {
    const char *traceback = asy_trace_push(L, task, false);
    asy_report(L, t->loop, (Report){.message = broke ? "a handler ended because its connection broke"
                                                     : "a connection's handler failed",
                                    .key = "task", .traceback = traceback, .exception = task + 1, .object = task});
  }
  lua_settop(L, task);
}

/* The handler has returned or failed. stack: task */
static void handler_ended(lua_State *L, Task *t) {
  Stream *s = t->owner;
  Server *sv = s->client.server;
  s->client.handler = NULL;
  if (t->future.state == FUTURE_ERROR && !t->loop->fatal) handler_failed(L, t, sv);
  asy_stream_close(L, s, sv ? sv->linger_ns : STREAM_LINGER * NS_PER_S);
  client_left(s);
  asy_release(L, t->loop, s->client.slot); /* last: now the writer may be collected, and the stream be freed */
}

static void push_handler_name(lua_State *L, const Task *t) {
  const Handler *h = asy_container(t, Handler, task);
  char text[ASY_ADDRESS_TEXT];
  if (h->peer.any.sa_family == AF_UNIX)
    lua_pushfstring(L, "connection to %s", h->address);
  else {
    address_text(&h->peer.any, sizeof h->peer, text);
    lua_pushfstring(L, "connection from %s", text);
  }
}

static const TaskRole HANDLER = {.ended = handler_ended, .push_name = push_handler_name};

/* stack: ..., handler, reader, writer → ..., task */
static Task *new_handler(lua_State *L, const Server *sv, const IpAddress *peer) {
  size_t length = peer->any.sa_family == AF_UNIX ? strlen(sv->address) + 1 : 0;
  Task *t = asy_task_new_with(L, sv->loop, 2, sizeof(Handler) - sizeof(Task) + length);
  Handler *h = asy_container(t, Handler, task);
  h->peer = *peer;
  memcpy(h->address, sv->address, length);
  t->role = &HANDLER;
  t->future.looked = true; /* handler_ended reports */
  return t;
}

/* A connection on its way from the kernel to a handler. */
typedef struct Arrival {
  Accepted from;
  bool taken;     /* the descriptor is the stream's */
  uint32_t slot;  /* 0: none yet */
  Stream *stream; /* NULL: none yet */
} Arrival;

/* stack: server → server, task; a stream for what was accepted, and its handler */
static void serve(lua_State *L, Server *sv, Arrival *a) {
  int fd = a->from.fd;
  bool unix_socket = a->from.peer.any.sa_family == AF_UNIX;
  lua_pushboolean(L, 0);
  a->slot = asy_hold(L, sv->loop); /* for the writer */
  lua_getiuservalue(L, 1, HANDLER_UV);
  Stream *s = a->stream = asy_stream_new(L, sv->loop, unix_socket ? UV_NAMED_PIPE : UV_TCP, sv->limit);
  int status = unix_socket ? uv_pipe_open(&s->uv.pipe, fd) : uv_tcp_open(&s->uv.tcp, fd);
  if (status) asy_oserror(L, status, "accept", NULL);
  a->taken = true;
  listener_set_options(&sv->options, &a->from);
  peer_note(s, &a->from.peer.any);
  asy_held_table(L, sv->loop);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, a->slot);
  lua_pop(L, 1);
  s->client.slot = a->slot;
  asy_stream_push_reader(L, -1);
  lua_insert(L, -2); /* handler, reader, writer */
  Task *t = new_handler(L, sv, &a->from.peer);
  t->owner = s;
  s->client.handler = t;
  s->client.server = sv;
  s->life.on_gone = client_left;
  list_append(&sv->clients, &s->client.link);
  input_start(s);
}

/* args: server, arrival (light) */
static int serve_protected(lua_State *L) {
  serve(L, lua_touserdata(L, 1), lua_touserdata(L, 2));
  return 0;
}

/* It came to nothing: its peer is told so. stack: ..., error → ... */
static void turn_away(lua_State *L, Loop *loop, Server *sv, Arrival *a) {
  sv->failed++;
  if (!a->taken) close(a->from.fd);
  if (a->stream) asy_stream_abort(L, a->stream);
  if (a->slot) asy_release(L, loop, a->slot);
  asy_report(L, loop, (Report){.message = "a connection could not be served", .exception = -1});
  lua_pop(L, 1);
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
  wake_spawn(sv);
}

static int count_clients(const Server *sv) {
  int n = 0;
  list_each(node, &sv->clients) n++;
  return n;
}

/* The client with that number, from 0; NULL when there are fewer. */
static Stream *nth_client(const Server *sv, int n) {
  list_each(node, &sv->clients)
    if (n-- == 0) return asy_container(node, Stream, client.link);
  return NULL;
}

/* Pushes a line about a connection. */
static void push_client(lua_State *L, Stream *s) {
  char peer[ASY_ADDRESS_TEXT];
  Task *t = s->client.handler;
  if (t) {
    asy_task_push(L, t);
    asy_task_name(L, t, -1);
    asy_task_push_state(L, t, -2);
    lua_pushfstring(L, "\n  '%s' %s", lua_tostring(L, -2), lua_tostring(L, -1));
  } else {
    peer_text(s, peer);
    lua_pushfstring(L, "\n  %s: its handler has ended, %I bytes are not sent yet", *peer ? peer : "a connection",
                    (LUAI_UACINT)output_pending(s));
  }
}

/* args: Server (light) → for whom it waits. What is pushed allocates: a finaliser may end connections. */
static int push_obstacles(lua_State *L) {
  const Server *sv = lua_touserdata(L, 1);
  int n = count_clients(sv);
  Stream *s;
  lua_pushfstring(L, "a server that is closed (%s) has waited %d s for %d connection%s to end; close_clients and "
                     "abort_clients end them", sv->address, (int)(PATIENCE / NS_PER_S), n, n == 1 ? "" : "s");
  for (int i = 0; i < TOLD && (s = nth_client(sv, i)); i++) {
    push_client(L, s);
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
  if (idle(sv) || waitq_empty(&sv->closers)) return;
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
  lua_getiuservalue(L, -1, CONTEXT_UV);
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
    sv->served++;
    Arrival a = {.from = sv->accepted[sv->nserved++]};
    lua_rawgetp(L, LUA_REGISTRYINDEX, &serve_key);
    lua_pushvalue(L, top + 1);
    lua_pushlightuserdata(L, &a);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) turn_away(L, loop, sv, &a);
  }
  sv->naccepted = sv->nserved = 0;
  asy_context_swap(L, loop->rt);
  if (idle(sv)) let_go(L, sv);
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
  l->server = sv;
  l->handle.tell = tell;
  list_append(&sv->listeners, &l->link);
  len = sizeof sa;
  if (getsockname(l->fd, (struct sockaddr *)&sa, &len) == 0 && !*sv->address)
    address_text((struct sockaddr *)&sa, len, sv->address);
  return ip ? *sin_port : 0;
}

/* stack: handler, addresses, opts, server */
static void take_options(lua_State *L, Server *sv) {
  sv->limit = asy_opt_bytes(L, 3, "limit", STREAM_LIMIT);
  sv->options.backlog = asy_opt_int(L, 3, "backlog", 128);
  sv->options.nodelay = asy_opt_bool(L, 3, "nodelay", true);
  sv->options.keepalive = asy_opt_bool(L, 3, "keepalive", false);
  sv->options.reuse_address = asy_opt_bool(L, 3, "reuse_address", true);
  sv->options.reuse_port = asy_opt_bool(L, 3, "reuse_port", false);
  sv->options.cleanup_socket = asy_opt_bool(L, 3, "cleanup_socket", true);
  sv->serving = asy_opt_bool(L, 3, "start_serving", true);
  lua_Number linger = asy_opt_seconds(L, 3, "close_timeout", STREAM_LINGER);
  sv->linger_ns = linger < 1e9 ? (uint64_t)(linger * NS_PER_S) + 1 : TIMER_NEVER / 2;
}

/* listen(handler, {address, ...}, opts) → server: the mechanism of start_server */
static int server_listen(lua_State *L) {
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  luaL_checkany(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  Server *sv = lua_newuserdatauv(L, sizeof *sv, CONTEXT_UV); /* stack: handler, addresses, opts, server */
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
  lua_setiuservalue(L, 4, HANDLER_UV);
  asy_context_push(L, loop->rt);
  lua_setiuservalue(L, 4, CONTEXT_UV);
  take_options(L, sv);
  int port = 0, n = (int)lua_rawlen(L, 2);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, 2, i);
    int got = add_listener(L, sv, 5, port, i == n && list_empty(&sv->listeners));
    if (got > 0) port = got;
    lua_settop(L, 4);
  }
  lua_settop(L, 4);
  lua_pushvalue(L, 4);
  sv->slot = asy_hold(L, loop);
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
  if (idle(sv))
    check_idle(sv);
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

static void cancel_handler(lua_State *L, Stream *s) {
  Task *t = s->client.handler;
  if (t && t != t->loop->rt->current) asy_task_cancel(L, t, 0);
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
  int n = count_clients(sv);
  snprintf(text, ASY_WAIT_TEXT, sv->closed ? "%d connection%s" : "%d connection%s, not closed yet", n, n == 1 ? "" : "s");
}

static const WaitKind CLOSED = {.name = "wait_closed", .finish = closed_finish, .abort = closed_abort,
                                .describe = describe_clients};

static Task *waiting_task(lua_State *L, const Server *sv) {
  Task *t = asy_current(L);
  if (t->loop->id != sv->loop_id) asy_error(L, ASY_ERROR, "the server belongs to another event loop");
  return t;
}

/* Whether it is the handler of one of its connections. */
static bool serves(const Server *sv, const Task *t) {
  return t && t->role == &HANDLER && ((const Stream *)t->owner)->client.server == sv;
}

/* stack: server */
static int wait_closed(lua_State *L) {
  Server *sv = check_server(L);
  lua_settop(L, 1);
  if (idle(sv) || !server_loop(L, sv)) return asy_spend(L);
  Task *t = waiting_task(L, sv);
  if (serves(sv, t))
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
  } counts[] = {{"connections", count_clients(sv)}, {"accepted", sv->served}, {"failed", sv->failed},
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
    each_client(L, sv, cancel_handler);
    each_client(L, sv, asy_stream_abort);
  }
  if (!t || (failed && serves(sv, t))) return 0;
  return wait_closed(L);
}

static int server__gc(lua_State *L) {
  Server *sv = check_server(L);
  sv->loop = server_loop(L, sv);
  list_remove(&sv->spawn.link);
  if (sv->loop) timer_cancel(&sv->loop->timers, &sv->patience);
  close_listeners(sv);
  refuse_accepted(sv);
  while (!list_empty(&sv->clients)) forget_client(asy_container(sv->clients.next, Stream, client.link));
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
  n = count_clients(sv);
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
  asy_pushfunction(L, serve_protected);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &serve_key);
}
