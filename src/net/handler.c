/*
** handler.c - a server's connections: a stream and a task for each, and how both end.
*/
#include "net/handler.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/report.h"
#include "core/trace.h"
#include "net/input.h"
#include "net/life.h"
#include "net/output.h"
#include "net/peer.h"
#include "net/shake.h"
#include "net/talk.h"
#include "open.h"

/* The task of a handler: its owner is the Stream. */
typedef struct Handler {
  Task task;
  IpAddress peer; /* AF_UNSPEC: a Unix socket's; then where it listens ... */
  char address[]; /* ... stands here */
} Handler;

/* registry: serve_protected, called for each connection; start_protected, for each whose handshake has succeeded */
static const char serve_key = 0, start_key = 0;

Server *asy_server_check(lua_State *L) {
  return asy_check(L, ASY_RUNTIME(L), 1, ASY_SERVER, "asyncio.Server");
}

Loop *asy_server_loop(lua_State *L, const Server *sv) { return loop_find(ASY_RUNTIME(L), sv->loop_id); }

/* Leaving */

void server_wake_closers(Server *sv) {
  for (Task *t; (t = waitq_first(&sv->closers));) {
    timer_cancel(&sv->loop->timers, &t->timer);
    task_wake(t, 0);
  }
}

void server_check_idle(Server *sv) {
  if (!server_idle(sv)) return;
  timer_cancel(&sv->loop->timers, &sv->patience);
  server_wake_closers(sv);
  server_wake(sv); /* lets go of the server */
}

void client_forget(Stream *s) {
  s->client.server->nclients--;
  list_remove(&s->client.link);
  if (s->filtered) list_remove(&s->filtered->link);
  s->client.server = NULL;
  s->client.handler = NULL;
}

static void client_left(Stream *s) {
  Server *sv = s->client.server;
  if (!sv || s->client.handler || client_is_shaking(s) || s->handle.open || !s->handle.closed) return;
  client_forget(s);
  if (sv->full || sv->nlate) server_wake(sv); /* there is room for another */
  server_check_idle(sv);
}

/* A handler's end, and its name */

/* A handler has failed. That its own connection broke is no failure of the program: clients come and go; nor is that
** its input came to an end by a shutdown, or that its server closed it. sv: NULL when it has been collected.
** stack: task */
static void handler_failed(lua_State *L, Task *t, const Stream *s, Server *sv) {
  int task = lua_gettop(L);
  lua_getiuservalue(L, task, FUTURE_UV_VALUE);
  bool broke = asy_peer_broke(L, -1, t->number), closed = broke && s->client.closed;
  bool cut = broke && !closed && s->in.cut && !s->in.error;
  if (broke && s->client.aborted) { /* it has been counted */
    lua_settop(L, task);
    return;
  }
  if (sv) ++*(cut ? &sv->cut : broke ? &sv->reset : &sv->failed);
  if (!broke || t->loop->debug) {
    const char *traceback = asy_trace_push(L, task, false);
    asy_report(L, t->loop, (Report){.message = cut     ? "a handler ended because its server was shut down in the "
                                                         "middle of a message"
                                               : closed ? "a handler ended because its server had closed its connection"
                                               : broke ? "a handler ended because its connection broke"
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
  if (t->future.state == FUTURE_ERROR && !t->loop->fatal) handler_failed(L, t, s, sv);
  asy_stream_close(L, s, sv ? sv->linger_ns : STREAM_LINGER * NS_PER_S);
  client_left(s);
  asy_release(L, t->loop, s->client.slot); /* last: now the writer may be collected, and the stream be freed */
}

/* The stream outlives it, unless both are garbage. */
static void handler_abandoned(Task *t) {
  Stream *s = t->owner;
  if (s) s->client.handler = NULL;
}

static void handler_name(const Task *t, char *text) {
  const Handler *h = asy_container(t, Handler, task);
  char peer[ASY_ADDRESS_TEXT];
  if (h->peer.any.sa_family == AF_UNSPEC)
    snprintf(text, ASY_TASK_TEXT, "connection to %s", h->address);
  else {
    address_text(&h->peer.any, sizeof h->peer, peer);
    snprintf(text, ASY_TASK_TEXT, "connection from %s", peer);
  }
}

static bool handler_dismisses(lua_State *L, const Task *t) {
  return !t->loop->debug && asy_peer_broke(L, 1, t->number);
}

static const TaskRole HANDLER = {.ended = handler_ended,
                                 .abandoned = handler_abandoned,
                                 .name = handler_name,
                                 .dismisses = handler_dismisses};

/* stack: ..., handler, reader, writer → ..., task */
static Task *new_handler(lua_State *L, const Server *sv, const IpAddress *peer) {
  size_t length = peer->any.sa_family == AF_UNSPEC ? strlen(sv->address) + 1 : 0;
  Task *t = asy_task_new_with(L, sv->loop, 2, sizeof(Handler) - sizeof(Task) + length);
  Handler *h = asy_container(t, Handler, task);
  h->peer = *peer;
  memcpy(h->address, sv->address, length);
  t->role = &HANDLER;
  t->future.looked = true; /* handler_ended reports */
  return t;
}

/* Coming */

/* A connection on its way from the kernel to a handler. */
typedef struct Arrival {
  Accepted from;
  bool taken;     /* the descriptor is the stream's */
  uint32_t slot;  /* 0: none yet */
  Stream *stream; /* NULL: none yet */
} Arrival;

/* stack: server, writer → ...; its handler. In a shutdown whose last call is over it finds the end of its input. */
static void start_handler(lua_State *L, Server *sv, Stream *s) {
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, SERVER_UV_HANDLER);
  asy_stream_push_reader(L, 2);
  lua_pushvalue(L, 2);
  Task *t = new_handler(L, sv, &s->peer);
  t->owner = s;
  s->client.handler = t;
  if (sv->over) talk_end(s);
}

/* C only: `spawn` does the rest. */
static void shaken(Filtered *f) {
  Server *sv = f->stream->client.server;
  if (!sv) return;
  sv->nshaking--;
  list_append(&sv->shaken, &f->link);
  server_wake(sv);
}

/* stack: server, writer, context; shakes hands, for so long at most */
static void start_shaking(lua_State *L, Server *sv, Stream *s) {
  static const FilterOrder order = {.server = true};
  Filtered *f = asy_filter_stream(L, s, 2, 3, &order);
  if (!timer_set(&sv->loop->timers, &f->timer, loop_now(sv->loop) + sv->shake_ns)) asy_nomemory(L);
  f->over = shaken;
  sv->nshaking++;
}

/* stack: server, arrival → server, writer; a stream for what was accepted */
static Stream *open_stream(lua_State *L, Server *sv, Arrival *a) {
  int fd = a->from.fd;
  bool unix_socket = a->from.peer.any.sa_family == AF_UNIX;
  lua_pushboolean(L, 0);
  a->slot = asy_hold(L, sv->loop); /* for the writer */
  Stream *s = a->stream = asy_stream_new(L, sv->loop, unix_socket ? UV_NAMED_PIPE : UV_TCP, sv->stream.limit);
  if (!limits_set(s, &sv->stream)) asy_nomemory(L);
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
  lua_replace(L, 2);
  return s;
}

/* stack: server, arrival → ... */
static void serve(lua_State *L, Server *sv, Arrival *a) {
  Stream *s = open_stream(L, sv, a);
  if (lua_getiuservalue(L, 1, SERVER_UV_FILTERS) == LUA_TNIL)
    start_handler(L, sv, s);
  else
    start_shaking(L, sv, s);
  s->client.server = sv;
  s->client.talks = sv->talks;
  s->client.since = client_clock(sv);
  s->life.on_gone = client_left;
  list_append(&sv->clients, &s->client.link);
  sv->nclients++;
  input_start(s);
  if (sv->over && s->client.handler) talk_end(s);
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

void asy_handler_start(lua_State *L, Server *sv, const Accepted *from) {
  Arrival a = {.from = *from};
  sv->served++;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &serve_key);
  lua_pushvalue(L, -2);
  lua_pushlightuserdata(L, &a);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) turn_away(L, sv->loop, sv, &a);
}

/* Whose handshake has ended */

/* args: server, Stream (light); its handler */
static int start_protected(lua_State *L) {
  Stream *s = lua_touserdata(L, 2);
  Server *sv = lua_touserdata(L, 1);
  asy_held_push(L, sv->loop, s->client.slot);
  lua_replace(L, 2);
  s->in.begun = buffer_length(&s->in.buffer) > 0; /* a handshake is no request, and only now can one come */
  s->client.since = client_clock(sv);
  start_handler(L, sv, s);
  output_delay(s); /* tickets may go with the first answer */
  return 0;
}

/* Not reported but in debug mode: whoever may connect may send anything. stack: ..., server */
static void report_unshaken(lua_State *L, const Server *sv, Stream *s) {
  int top = lua_gettop(L);
  char peer[ASY_ADDRESS_TEXT];
  const Filtered *f = s->filtered;
  if (!sv->loop->debug) return;
  stream_name(s, peer);
  if (f->late)
    asy_error_push(L, ASY_TIMEOUT, "the handshake took too long: handshake %s", peer);
  else if (s->in.error == UV_EPROTO)
    asy_filtered_push_error(L, f, "handshake");
  else
    asy_oserror_push(L, s->in.error ? s->in.error : UV_ECONNABORTED, "handshake", peer);
  asy_report(L, sv->loop, (Report){.message = "a client's handshake failed", .exception = -1});
  lua_settop(L, top);
}

/* It has no handler: its peer is told why, and it is closed. stack: ..., server */
static void end_unserved(lua_State *L, Server *sv, Stream *s) {
  uint32_t slot = s->client.slot;
  if (s->handle.open || !s->client.aborted) sv->unshaken++;
  report_unshaken(L, sv, s);
  if (s->filtered->late)
    asy_stream_abort(L, s);
  else
    asy_stream_close(L, s, sv->linger_ns);
  client_left(s);
  asy_release(L, sv->loop, slot);
}

void asy_handler_start_shaken(lua_State *L, Server *sv) {
  int server = lua_gettop(L);
  while (!list_empty(&sv->shaken)) {
    Filtered *f = asy_container(sv->shaken.next, Filtered, link);
    Stream *s = f->stream;
    list_remove(&f->link);
    if (f->failed || !s->handle.open || stream_closing(s)) {
      end_unserved(L, sv, s);
      continue;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &start_key);
    lua_pushvalue(L, server);
    lua_pushlightuserdata(L, s);
    if (lua_pcall(L, 2, 0, 0) == LUA_OK) continue;
    Arrival a = {.taken = true, .slot = s->client.slot, .stream = s};
    turn_away(L, sv->loop, sv, &a);
  }
}

/* What servers ask of them */

bool handler_is_of(const Task *t, const Server *sv) {
  return t->role == &HANDLER && ((const Stream *)t->owner)->client.server == sv;
}

void asy_handler_cancel(lua_State *L, Stream *s) {
  Task *t = s->client.handler;
  if (t && t != t->loop->rt->current) asy_cancel_ask(L, t);
}

void asy_handler_push_line(lua_State *L, Stream *s) {
  char peer[ASY_ADDRESS_TEXT];
  Task *t = s->client.handler;
  if (t) {
    asy_task_push(L, t);
    asy_task_name(L, t, -1);
    asy_task_push_state(L, t, -2);
    lua_pushfstring(L, "\n  '%s' %s", lua_tostring(L, -2), lua_tostring(L, -1));
  } else {
    peer_text(s, peer);
    if (!*peer) strcpy(peer, "a connection");
    if (client_is_shaking(s))
      lua_pushfstring(L, "\n  %s: its handshake is under way", peer);
    else
      lua_pushfstring(L, "\n  %s: its handler has ended, %I bytes are not sent yet", peer,
                      (LUAI_UACINT)output_pending(s));
  }
}

void asy_open_handler(lua_State *L) {
  asy_pushfunction(L, serve_protected);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &serve_key);
  asy_pushfunction(L, start_protected);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &start_key);
}
