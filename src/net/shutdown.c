/*
** shutdown.c - a server's end: closed, shut down, and waited for.
**
** A shutdown has a last call: those who have begun to connect are taken for a moment yet, and they, and those who have
** just done so and said nothing yet, are heard. The readers of all other connections come to their end at once. Who
** waits for the end stands in `closers`; each shutdown has its own grace there, and whose ends first aborts the rest.
*/
#include "net/shutdown.h"

#include <stdio.h>
#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/report.h"
#include "net/accept.h"
#include "net/input.h"
#include "net/life.h"
#include "net/talk.h"
#include "open.h"

#define PATIENCE (5 * NS_PER_S) /* then whoever waits for a server's connections is told which they are */
#define TOLD 10                 /* of so many what they wait for */
#define GRACE 30                /* seconds that a shutdown gives, unless told */
#define LAST_CALL 0.05          /* seconds, of its grace a quarter at most */
#define BROKEN_OFF 1            /* the wake code of a shutdown that a cancellation has made, when the next one comes */

/* For whom it is waited */

static void on_patience(Timer *timer) {
  Server *sv = asy_container(timer, Server, patience);
  sv->impatient = true;
  server_wake(sv);
}

static void be_patient(Server *sv) {
  if (sv->closed && !sv->patience.place) /* without a timer nobody is told */
    timer_set(&sv->loop->timers, &sv->patience, loop_now(sv->loop) + PATIENCE);
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

static const WaitKind SHUTDOWN, STOP;

/* Whether a shutdown is under way; graceful: one whose grace isn't over. */
static bool is_shutting_down(const Server *sv, bool graceful) {
  list_each(node, &sv->closers.line) {
    const Task *t = asy_container(node, Task, waiter.link);
    if ((t->kind == &SHUTDOWN || t->kind == &STOP) && (!graceful || t->timer.place)) return true;
  }
  return false;
}

void asy_shutdown_report(lua_State *L, Server *sv) {
  int top = lua_gettop(L);
  if (!sv->impatient) return;
  sv->impatient = false;
  if (server_idle(sv) || waitq_empty(&sv->closers)) return;
  if (is_shutting_down(sv, true)) {
    be_patient(sv);
    return;
  }
  asy_task_push(L, waitq_first(&sv->closers));
  lua_pushcfunction(L, push_obstacles);
  lua_pushlightuserdata(L, sv);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK)
    asy_report(L, sv->loop, (Report){.message = lua_tostring(L, -1), .key = "task", .object = top + 1});
  lua_settop(L, top);
}

/* Closing */

/* Whoever has no handler yet gets none; the server is woken to see to them. */
static void end_handshakes(Server *sv) {
  list_each(node, &sv->clients) {
    const Stream *s = asy_container(node, Stream, client.link);
    if (!client_is_shaking(s)) continue;
    filtered_end_shake(s->filtered);
    s->filtered->failed = true;
  }
}

static void close_server(Server *sv) {
  if (sv->closed) return;
  accept_close(sv);
  accept_refuse(sv);
  end_handshakes(sv);
  if (server_idle(sv))
    server_check_idle(sv);
  else
    server_wake_closers(sv); /* serve_forever */
}

/// Stops accepting. Connections that are open go on. No handler is called any more: who was accepted and has none
// yet, since a handshake (TLS) is under way, say, is closed.
// @function Server:close
static int server_close(lua_State *L) {
  Server *sv = asy_server_check(L);
  if (asy_server_loop(L, sv)) close_server(sv);
  return 0;
}

static void each_client(lua_State *L, Server *sv, void (*fn)(lua_State *, Stream *)) {
  for (ListNode *n = sv->clients.next, *next; n != &sv->clients; n = next) {
    next = n->next;
    fn(L, asy_container(n, Stream, client.link));
  }
}

static void close_client(lua_State *L, Stream *s) {
  const Task *t = s->client.handler;
  if (!stream_closing(s) && t && t != t->loop->rt->current) s->client.closed = true; /* unawares */
  asy_stream_close(L, s, s->client.server->linger_ns);
}

static void abort_client(lua_State *L, Stream *s) {
  if (!s->client.aborted) s->client.server->aborted++;
  s->client.aborted = true;
  asy_stream_abort(L, s);
}

/// Closes every connection, after what is written has been sent. A handler that fails by it, since it goes on writing or
// was in the middle of a message, is counted (`reset` of `Server:stats`), not reported; nor is one after `abort_clients`.
// @function Server:close_clients
static int server_close_clients(lua_State *L) {
  Server *sv = asy_server_check(L);
  if (asy_server_loop(L, sv)) each_client(L, sv, close_client);
  return 0;
}

/// Closes every connection at once.
// @function Server:abort_clients
static int server_abort_clients(lua_State *L) {
  Server *sv = asy_server_check(L);
  if (asy_server_loop(L, sv)) each_client(L, sv, abort_client);
  return 0;
}

/* What is left is ended by force, and the handlers are cancelled. */
static void abort_rest(lua_State *L, Server *sv) {
  timer_cancel(&sv->loop->timers, &sv->last_call);
  sv->over = true;
  accept_close(sv);
  sv->aborted += server_unserved(sv);
  accept_refuse(sv);
  server_check_idle(sv);
  each_client(L, sv, abort_client);
  each_client(L, sv, asy_handler_cancel);
}

/* Shutting down */

static void last_call_over(Server *sv) {
  accept_rest(sv);
  accept_close(sv);
  sv->over = true;
  list_each(node, &sv->clients) {
    Stream *s = asy_container(node, Stream, client.link);
    if (client_is_shaking(s))
      filtered_end_shake(s->filtered); /* it has asked for nothing yet */
    else
      talk_end(s);
  }
  server_wake(sv); /* serves them, or sees that there are none */
}

static void on_last_call(Timer *timer) { last_call_over(asy_container(timer, Server, last_call)); }

/* Accepts no more, but for those who are on their way; whether there may be any. Without a last call these would be
** reset: they think that they are connected, and may have asked something. */
static bool keep_out(Server *sv) {
  bool held = false;
  timer_cancel(&sv->loop->timers, &sv->retry);
  sv->closed = true;
  if (!sv->serving) return false;
  if (!sv->options.foreign) /* others may have it, too */
    list_each(node, &sv->listeners) held |= listener_keep_out(asy_container(node, Listener, link));
  accept_rest(sv);
  return held;
}

/* Where requests and answers take turns, who has just got an answer is about to ask again. */
static bool has_spoken(const Stream *s) { return s->in.begun && !(s->client.talks && talk_waits(s)); }

/* Ends the input of its clients, but of those who have just connected and are about to ask; whether there are any. */
static bool end_inputs(Server *sv) {
  bool silent = false;
  uint32_t now = client_clock(sv);
  list_each(node, &sv->clients) {
    Stream *s = asy_container(node, Stream, client.link);
    if (!client_is_shaking(s) && (has_spoken(s) || now - s->client.since >= (uint32_t)(LAST_CALL * 1000)))
      talk_end(s);
    else
      silent = true;
  }
  return silent;
}

static void begin(Server *sv, lua_Number grace) {
  if (sv->ending) return;
  sv->ending = true;
  bool silent = end_inputs(sv), held = !sv->closed && keep_out(sv);
  if (!held) accept_close(sv);
  lua_Number pause = grace / 4 < LAST_CALL ? grace / 4 : LAST_CALL;
  bool called = (silent || held || server_unserved(sv)) &&
                timer_set(&sv->loop->timers, &sv->last_call, loop_deadline(sv->loop, pause));
  if (called)
    server_wake(sv);
  else
    last_call_over(sv);
}

/* Waiting for the end */

static Task *waiting_task(lua_State *L, const Server *sv) {
  Task *t = asy_current(L);
  if (t->loop->id != sv->loop_id) asy_error(L, ASY_ERROR, "the server belongs to another event loop");
  return t;
}

static void refuse_handler(lua_State *L, const Task *t, const Server *sv, const char *what) {
  if (handler_is_of(t, sv))
    asy_error(L, ASY_ERROR, "a handler cannot %s: it would wait for itself. %s", what,
              "Close the server here, and wait in another task");
}

static void describe_clients(const Task *t, char *text) {
  const Server *sv = t->on;
  int n = server_connections(sv);
  const char *more = sv->closed ? "" : ", not closed yet";
  snprintf(text, ASY_WAIT_TEXT, "%d connection%s%s", n, n == 1 ? "" : "s", more);
}

/* Where the call finds what, in the stack of a shutdown. */
enum { DEADLINE = 2, /* when its grace ends, on the loop's clock; false: it is over */
       BEFORE,       /* how many connections had been aborted before */
       REQUEST };    /* the cancellation that made it, and is raised when it has ended */

/* A shutdown ends before the server does: who serves for ever waits for nothing any more. */
static void given_up(Server *sv) {
  if (!is_shutting_down(sv, false)) server_wake_closers(sv);
}

static int raise_request(lua_State *L, Task *t) {
  if (lua_gettop(L) >= REQUEST) {
    asy_task_push(L, t);
    lua_pushvalue(L, REQUEST);
    asy_task_requeue(L, t);
  }
  return asy_task_raise(L, t);
}

/* The server has ended. stack: as said above */
static int ended(lua_State *L, Task *t, const WaitKind *kind) {
  const Server *sv = lua_touserdata(L, 1);
  if (lua_gettop(L) >= REQUEST) return raise_request(L, t);
  if (kind == &STOP) return 0;
  lua_pushinteger(L, sv->aborted - lua_tointeger(L, BEFORE));
  return 1;
}

static int wait_for_end(lua_State *L, Task *t, const WaitKind *kind) {
  Server *sv = lua_touserdata(L, 1);
  uint64_t deadline = (uint64_t)lua_tointeger(L, DEADLINE);
  bool graceful = lua_isinteger(L, DEADLINE);
  if (graceful && !server_idle(sv) && loop_now(t->loop) >= deadline) {
    graceful = false;
    lua_pushboolean(L, 0);
    lua_replace(L, DEADLINE);
    abort_rest(L, sv);
  }
  if (server_idle(sv)) return ended(L, t, kind);
  if (graceful && !timer_set(&t->loop->timers, &t->timer, deadline)) {
    given_up(sv);
    return asy_nomemory(L);
  }
  if (!graceful) be_patient(sv);
  return asy_waitq_park(L, t, &sv->closers, kind, sv);
}

/* stack: server → as said above, without a request */
static void push_grace(lua_State *L, const Server *sv, lua_Number grace) {
  lua_settop(L, 1);
  lua_pushinteger(L, (lua_Integer)loop_deadline(sv->loop, grace));
  lua_pushinteger(L, sv->aborted);
}

static void leave_line(lua_State *L, Task *t) {
  timer_cancel(&t->loop->timers, &t->timer);
  asy_waitq_abort(L, t);
}

static int shutdown_finish(lua_State *L, Task *t) {
  timer_cancel(&t->loop->timers, &t->timer);
  return wait_for_end(L, t, &SHUTDOWN);
}

static Abort shutdown_abort(lua_State *L, Task *t) {
  Server *sv = t->on;
  leave_line(L, t);
  if (t->phase == TASK_PARKED) given_up(sv);
  return ASY_DETACHED;
}

static const WaitKind SHUTDOWN = {.name = "shutdown", .finish = shutdown_finish, .abort = shutdown_abort,
                                  .describe = describe_clients, .may_come = task_waits_for_us};

/// Ends the server in good order: accepts no more, and lets each handler send the answer that it owes. Each reader
// of its connections comes to its end once what it holds has been read, with what the kernel holds for it at this
// moment (64 KiB at most); then it gives nil, as if the client had ended. So a handler that waits for the next
// request leaves its loop. Writers stay open. Where a message has come in part only, `readexactly`, `readuntil`,
// `readline` and `lines` raise IncompleteReadError; a handler that ends by it is counted (`cut` of `Server:stats`),
// not reported.
//
// What is left after `grace` is aborted: handlers are cancelled, and waited for. Cancelled meanwhile it raises; the
// server stays closed, what is left goes on, and it may be called again. `serve_forever` returns when it ends. A
// handler cannot shut its own server down. It waits, so a signal's handler lets a task do it:
// `loop:add_signal_handler("SIGTERM", asyncio.create_task, server.shutdown, server, 5)` (`stop_grace` of `start_server`
// does so for Ctrl-C and the `stop_signals` of a Runner by itself).
//
// New clients are refused. Those who have connected and are not accepted yet are served, too, and those who have
// come in the last 0.05 s and said nothing yet are heard for so long more (a quarter of `grace` at most): who has
// just connected is about to ask. So long the listening socket stays open, though not for new ones, if the system
// can tell these from those who have begun to connect (Linux, and unix sockets whose file is removed). Elsewhere,
// or where the network takes longer than that, one who is connecting at this very moment may find the connection
// reset: nothing was read of it.
// @function Server:shutdown
// @tparam[opt=30] number grace seconds
// @treturn integer how many connections were aborted
// @usage
// local server = asyncio.start_server(function(reader, writer)
//   for line in reader:lines() do
//     asyncio.sleep(0.1) -- it works
//     writer:send("done: ", line, "\n")
//   end
// end, "127.0.0.1", 0)
// local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
// writer:send "first\nsecond\n"
// asyncio.sleep(0.05)
// print(server:shutdown(10)) --> 0
// print(reader:readline(), reader:readline(), reader:readline())
static int server_shutdown(lua_State *L) {
  Server *sv = asy_server_check(L);
  lua_Number grace = lua_isnoneornil(L, 2) ? GRACE : asy_checkseconds(L, 2);
  asy_argcheck(L, grace >= 0, 2, "a number of seconds that isn't negative expected");
  lua_settop(L, 2);
  Task *t = asy_server_loop(L, sv) ? waiting_task(L, sv) : NULL;
  if (t) refuse_handler(L, t, sv, "shut its own server down");
  if (!t || server_idle(sv)) {
    if (t && task_spent(t)) return asy_give_way(L, t, server_shutdown);
    lua_pushinteger(L, 0);
    return 1;
  }
  push_grace(L, sv, grace);
  begin(sv, grace);
  return wait_for_end(L, t, &SHUTDOWN);
}

/* Shut down by a cancellation: of serve_forever, or of the block that has the server */

static Abort stop_abort(lua_State *L, Task *t) {
  leave_line(L, t);
  if (t->phase != TASK_PARKED) return ASY_DETACHED;
  task_wake(t, BROKEN_OFF);
  return ASY_PENDING;
}

static int stop_finish(lua_State *L, Task *t) {
  Server *sv = t->on;
  timer_cancel(&t->loop->timers, &t->timer);
  if (t->code != BROKEN_OFF || !(asy_cancel_due(L, t) || t->broken)) return wait_for_end(L, t, &STOP);
  sv->broken_off = true;
  given_up(sv);
  abort_rest(L, sv);
  return raise_request(L, t);
}

static const WaitKind STOP = {.name = "shutdown", .finish = stop_finish, .abort = stop_abort,
                              .describe = describe_clients, .may_come = task_waits_for_us};

/* Whether a cancellation of this task shuts it down. */
static bool wants_stop(const Server *sv, const Task *t) {
  return sv->stop_grace > 0 && !sv->broken_off && !t->broken && !server_idle(sv);
}

/* stack: server. pending: the task's request has not been raised, and is when this has ended */
static int stop(lua_State *L, Server *sv, Task *t, bool pending) {
  push_grace(L, sv, sv->stop_grace);
  if (pending) asy_cancel_take(L, t);
  begin(sv, sv->stop_grace);
  return wait_for_end(L, t, &STOP);
}

/* Who waits for a server's end, or leaves its block, and is cancelled. */
static Abort closed_abort(lua_State *L, Task *t) {
  Server *sv = t->on;
  asy_waitq_abort(L, t);
  if (waitq_empty(&sv->closers)) timer_cancel(&t->loop->timers, &sv->patience);
  return ASY_DETACHED;
}

static Abort leave_abort(lua_State *L, Task *t) {
  closed_abort(L, t);
  if (t->phase != TASK_PARKED || !wants_stop(t->on, t)) return ASY_DETACHED;
  task_wake(t, 0);
  return ASY_PENDING;
}

static int wait_closed(lua_State *L, const WaitKind *kind);

static int closed_finish(lua_State *L, Task *t) { return wait_closed(L, t->kind); }

static int leave_finish(lua_State *L, Task *t) {
  Server *sv = t->on;
  if (asy_cancel_due(L, t) && wants_stop(sv, t)) return stop(L, sv, t, true);
  return wait_closed(L, t->kind);
}

static const WaitKind CLOSED = {.name = "wait_closed", .finish = closed_finish, .abort = closed_abort,
                                .describe = describe_clients, .may_come = task_waits_for_us};
static const WaitKind LEAVE = {.name = "wait_closed", .finish = leave_finish, .abort = leave_abort,
                               .describe = describe_clients, .may_come = task_waits_for_us};

/* stack: server */
static int wait_closed(lua_State *L, const WaitKind *kind) {
  Server *sv = asy_server_check(L);
  lua_settop(L, 1);
  if (server_idle(sv) || !asy_server_loop(L, sv)) return asy_spend(L);
  Task *t = waiting_task(L, sv);
  refuse_handler(L, t, sv, "wait until its own server has no connections");
  be_patient(sv);
  return asy_waitq_park(L, t, &sv->closers, kind, sv);
}

/// Waits until the server is closed and every handler has ended.
// When that takes longer than 5 seconds it is reported for which connections it waits (not while a shutdown has its
// grace). A handler cannot wait for its own server.
// @function Server:wait_closed
static int server_wait_closed(lua_State *L) { return wait_closed(L, &CLOSED); }

static int serve_forever(lua_State *L, Server *sv);

static int forever_finish(lua_State *L, Task *t) {
  Server *sv = t->on;
  if (asy_cancel_due(L, t) && wants_stop(sv, t)) return stop(L, sv, t, true);
  return serve_forever(L, sv);
}

static Abort forever_abort(lua_State *L, Task *t) {
  Server *sv = t->on;
  asy_waitq_abort(L, t);
  if (t->phase == TASK_PARKED && wants_stop(sv, t)) {
    task_wake(t, 0);
    return ASY_PENDING;
  }
  close_server(sv);
  return ASY_DETACHED;
}

static void describe_address(const Task *t, char *text) {
  const Server *sv = t->on;
  memcpy(text, sv->address, sizeof sv->address);
}

static const WaitKind FOREVER = {.name = "serve", .finish = forever_finish, .abort = forever_abort,
                                 .describe = describe_address, .may_come = task_waits_for_us};

static int serve_forever(lua_State *L, Server *sv) {
  if (sv->closed && (server_idle(sv) || !is_shutting_down(sv, false))) return 0;
  return asy_waitq_park(L, waiting_task(L, sv), &sv->closers, &FOREVER, sv);
}

/// Begins to accept connections; `start_server` has done so unless told not to.
// @function Server:start_serving
static int server_start_serving(lua_State *L) {
  Server *sv = asy_server_check(L);
  if (sv->closed || !asy_server_loop(L, sv)) return asy_error(L, ASY_CLOSED, "the server is closed");
  sv->serving = true;
  accept_start(sv);
  return 0;
}

/// Serves until the server is closed; if it is shut down, until that has ended. Cancelling it closes the server, or,
// with `stop_grace`, shuts it down.
// @function Server:serve_forever
static int server_serve_forever(lua_State *L) {
  Server *sv = asy_server_check(L);
  server_start_serving(L);
  lua_settop(L, 1);
  return serve_forever(L, sv);
}

/* local server <close>: left normally, waits for the handlers; left by an error, ends them, and by a cancellation with
** stop_grace shuts down. Where nothing can wait it only closes; so it does when one of its handlers is left by an
** error, which must not be lost. */
static int server__close(lua_State *L) {
  Server *sv = asy_server_check(L);
  bool failed = !lua_isnoneornil(L, 2);
  if (!asy_server_loop(L, sv)) return 0;
  Task *t = asy_current_or_null(L);
  bool is_handler = t && handler_is_of(t, sv);
  if (failed && t && !is_handler && t->loop == sv->loop && wants_stop(sv, t) && asy_isinstance(L, 2, ASY_CANCELLED))
    return stop(L, sv, t, false);
  close_server(sv);
  if (failed || !t) abort_rest(L, sv);
  if (!t || (failed && is_handler)) return 0;
  return wait_closed(L, &LEAVE);
}

void shutdown_init(Server *sv) {
  sv->patience.fire = on_patience;
  sv->last_call.fire = on_last_call;
  waitq_init(&sv->closers);
}

void shutdown_forget(Server *sv) {
  if (!sv->loop) return;
  timer_cancel(&sv->loop->timers, &sv->patience);
  timer_cancel(&sv->loop->timers, &sv->last_call);
}

static const luaL_Reg methods[] = {{"start_serving", server_start_serving},
                                   {"serve_forever", server_serve_forever},
                                   {"close", server_close},
                                   {"close_clients", server_close_clients},
                                   {"abort_clients", server_abort_clients},
                                   {"wait_closed", server_wait_closed},
                                   {"shutdown", server_shutdown},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__close", server__close}, {NULL, NULL}};

void asy_open_shutdown(lua_State *L) { asy_newclass(L, ASY_SERVER, "asyncio.Server", methods, metamethods); }
