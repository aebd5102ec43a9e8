/*
** endpointsend.c - asyncio.DatagramEndpoint: sent with.
**
** A datagram goes in the very call, or the task waits for room and tries again when it runs: nothing is kept for it
** meanwhile. Where there is one place for all, who comes later waits behind it.
*/
#include "net/endpointclass.h"

#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "net/known.h"
#include "net/volley.h"
#include "open.h"

/* Errors */

static const char *remedy(const Endpoint *e, int status) {
  if (status == UV_EMSGSIZE) return "the datagram is longer than the system sends";
  if (status == UV_EACCES && e->family == AF_INET) return ASY_BROADCAST_REFUSED;
  if (status == UV_EDESTADDRREQ || status == UV_ENOTCONN) return "the endpoint's peer has gone";
  return NULL;
}

ASY_NORETURN static void raise_send(lua_State *L, const Endpoint *e, int status, const DatagramAddress *to,
                                    socklen_t salen) {
  char text[ASY_ADDRESS_TEXT];
  const char *words = remedy(e, status);
  snprintf(text, sizeof text, "%s", e->name);
  if (salen) address_text(&to->any, salen, text);
  asy_oserror_push(L, status, "send", *text ? text : NULL);
  if (words) {
    lua_pushfstring(L, "%s: send %s", words, text);
    lua_setfield(L, -2, "message");
  }
  asy_made_note(L, 0);
  lua_error(L);
#if defined(__GNUC__)
  __builtin_unreachable();
#endif
}

/* Where to */

static void check_peer(lua_State *L, int arg, const Endpoint *e, const DatagramAddress *to, socklen_t salen) {
  DatagramAddress peer = {.any.sa_family = AF_UNSPEC};
  socklen_t n = sizeof peer;
  if (getpeername(e->fd, &peer.any, &n)) return; /* the send will tell */
  if (peer.any.sa_family == AF_INET6) peer.in6.sin6_flowinfo = 0;
  if (n != salen || memcmp(&peer, to, n) != 0)
    asy_argerror(L, arg, lua_pushfstring(L, "the endpoint is connected, and sends to %s only: send(data)", e->name));
}

/* The address at idx, in words of argument `arg`. 0: the peer's. */
static socklen_t check_address(lua_State *L, int idx, int arg, Endpoint *e, DatagramAddress *to) {
  if (e->connected && lua_isnil(L, idx)) return 0;
  if (!e->connected && lua_isnil(L, idx))
    asy_argerror(L, arg, "an address expected, as the endpoint is not connected: send(data, address)");
  socklen_t salen = asy_known_check(L, idx, arg, e, to);
  if (!e->connected) return salen;
  check_peer(L, arg, e, to, salen);
  return 0;
}

/* One. stack: [1] box, data, address */

static void check_data(lua_State *L) {
  if (!ASY_LIKELY(lua_type(L, 2) == LUA_TSTRING)) asy_typeerror(L, 2, 2, "string", "");
}

/* 0, UV_EAGAIN, or an error is raised. */
static int send_one(lua_State *L, Endpoint *e) {
  DatagramAddress to;
  size_t n;
  asy_endpoint_checkopen(L, e);
  socklen_t salen = check_address(L, 3, 3, e, &to);
  asy_endpoint_checkopen(L, e); /* what an address says may be a stranger's function */
  if (e->status) asy_endpoint_raise(L, e, "send");
  const char *bytes = lua_tolstring(L, 2, &n);
  int status = endpoint_send(e, &to, salen, bytes, n);
  if (status && status != UV_EAGAIN) raise_send(L, e, status, &to, salen);
  return status;
}

/* Several. stack: [1] box, list, first */

/* Leaves its bytes on the stack until they are sent: the next one's address may be a stranger's function, which changes
** the list. */
static void check_shot(lua_State *L, Endpoint *e, lua_Integer i, Shot *shot) {
  int top = lua_gettop(L);
  bool plain = lua_rawgeti(L, 2, i) == LUA_TSTRING && e->connected;
  if (plain)
    lua_pushvalue(L, -1), lua_pushnil(L);
  else if (lua_istable(L, -1))
    lua_rawgeti(L, top + 1, 1), lua_rawgeti(L, top + 1, 2);
  if (lua_gettop(L) != top + 3 || lua_type(L, top + 2) != LUA_TSTRING)
    asy_argerror(L, 2, lua_pushfstring(L, "entry %I: {data, address} expected, got %s", (LUAI_UACINT)i,
                                       asy_kindof(L, lua_gettop(L) == top + 3 ? top + 2 : top + 1)));
  shot->salen = check_address(L, top + 3, 2, e, &shot->to);
  shot->bytes = lua_tolstring(L, top + 2, &shot->n);
  lua_settop(L, top + 2);
  lua_replace(L, top + 1);
}

static int send_shots(lua_State *L, Endpoint *e, Shot *shots, lua_Integer first, int n, int *status) {
  for (int i = 0; i < n; i++) check_shot(L, e, first + i, &shots[i]);
  asy_endpoint_checkopen(L, e);
  if (e->status) asy_endpoint_raise(L, e, "send");
  return endpoint_send_many(e, shots, n, status);
}

#define FEW 64

/* → how many have left; UV_EAGAIN: none, as there is no room; or an error is raised, and none has. */
static int send_list(lua_State *L, Endpoint *e) {
  Shot few[FEW], *shots = few;
  lua_Integer first = lua_tointeger(L, 3), last = (lua_Integer)lua_rawlen(L, 2);
  lua_Integer n = last < first ? 0 : last - first + 1;
  int status;
  if (n > VOLLEY_MOST) n = VOLLEY_MOST;
  luaL_checkstack(L, (int)n + LUA_MINSTACK, "to send so many");
  if (n > FEW) shots = lua_newuserdatauv(L, (size_t)n * sizeof *shots, 0);
  asy_endpoint_checkopen(L, e);
  if (!n) return 0;
  int sent = send_shots(L, e, shots, first, (int)n, &status);
  // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): the first has been written
  if (!sent && status != UV_EAGAIN) raise_send(L, e, status, &shots->to, shots->salen);
  lua_settop(L, 3);
  return sent ? sent : status;
}

/* Waiting for room */

static int went(lua_State *L, Task *t);
static Abort give_up(lua_State *L, Task *t);
static void giveback(lua_State *L, Task *t);

static const WaitKind SEND = {.name = "send", .finish = went, .abort = give_up, .giveback = giveback,
                              .describe = endpoint_describe};
static const WaitKind SEND_MANY = {.name = "send_many", .finish = went, .abort = give_up, .giveback = giveback,
                                   .describe = endpoint_describe};

static Abort give_up(lua_State *L, Task *t) {
  (void)L;
  list_remove(&t->waiter.link);
  if (t->on) endpoint_await_room(t->on);
  return ASY_DETACHED;
}

static void giveback(lua_State *L, Task *t) {
  (void)L;
  waitq_took(t);
  if (t->on) endpoint_await_room(t->on);
}

/* again: it has waited before. stack: [1] box, args */
static int wait_for_room(lua_State *L, Task *t, Endpoint *e, const WaitKind *kind, bool again) {
  if (again && endpoint_has_line(e))
    list_prepend(&e->senders.line, &t->waiter.link);
  else
    list_append(&e->senders.line, &t->waiter.link);
  if (!endpoint_await_room(e)) {
    list_remove(&t->waiter.link);
    return asy_nomemory(L);
  }
  return asy_park(L, t, kind, e);
}

/* → UV_EAGAIN: there is no room; else the results are on the stack */
static int try_to_send(lua_State *L, Endpoint *e, const WaitKind *kind) {
  if (kind == &SEND) return send_one(L, e);
  int sent = send_list(L, e);
  if (sent == UV_EAGAIN) return sent;
  lua_pushinteger(L, sent);
  return 0;
}

/* Its turn has come. If it raises, the poll, or the timer, tells the next. */
static int went(lua_State *L, Task *t) {
  Endpoint *e = t->on;
  const WaitKind *kind = t->kind;
  waitq_took(t);
  if (!e) return asy_error(L, ASY_CLOSED, "the endpoint has been collected");
  lua_settop(L, 3);
  if (try_to_send(L, e, kind) == UV_EAGAIN) return wait_for_room(L, t, e, kind, true);
  if (endpoint_has_line(e)) endpoint_wake_sender(e);
  endpoint_await_room(e);
  return kind == &SEND_MANY;
}

static int send_or_wait(lua_State *L, Task *t, Endpoint *e, const WaitKind *kind) {
  asy_endpoint_checkloop(L, e, t);
  if (!ASY_LIKELY(!endpoint_in_line(e)) || try_to_send(L, e, kind) == UV_EAGAIN)
    return wait_for_room(L, t, e, kind, false);
  return kind == &SEND_MANY;
}

/* Lua */

/// Sends a datagram, at once; suspends only while the system has no room for it, and cancelled then has sent nothing. What
// the system refuses is raised by this very call, and nothing has been sent: OSError EMSGSIZE (too long), ENETUNREACH (no
// route), PermissionError (a broadcast without `allow_broadcast`). That nobody gets it is known to nobody, or later: see
// `receive`. Of a unix socket: ConnectionRefusedError, FileNotFoundError where nobody listens.
// @function DatagramEndpoint:send
// @tparam string data may be empty
// @tparam ?table address where to, unless the endpoint is connected: one that `receive` gave, or `{host=, port=}` with a
// numeric host (and `scope_id`, or `%eth0` behind it), `{path=}`. Names are for `Loop:getaddrinfo`
static int endpoint_send_method(lua_State *L) {
  Endpoint *e = asy_check_endpoint(L);
  check_data(L);
  Task *t = asy_current_in(L, ASY_RUNTIME(L));
  lua_settop(L, 3);
  if (task_spent(t)) return asy_give_way(L, t, endpoint_send_method);
  return send_or_wait(L, t, e, &SEND);
}

/// The same, but never waits, and needs no task.
// @function DatagramEndpoint:send_nowait
// @tparam string data
// @tparam ?table address
// @treturn boolean false: there is no room, and nothing has been sent
static int endpoint_send_nowait(lua_State *L) {
  Endpoint *e = asy_check_endpoint(L);
  check_data(L);
  lua_settop(L, 3);
  bool behind = endpoint_in_line(e); /* of others, who wait */
  lua_pushboolean(L, !behind && send_one(L, e) != UV_EAGAIN);
  return 1;
}

/// Sends several, in order, in one system call: quicker than one by one. Those to one address and of one length, one after the
// other, are quickest. The first that is refused, or finds no room, is where it ends; waits only if not even the first finds
// room, and raises only if that is refused: then none has been sent. So what is left may be sent by another call, or raises
// there.
// @function DatagramEndpoint:send_many
// @tparam {table,...} list of `{data, address}`, as `receive_many` gives; where the endpoint is connected `{data}` or
// strings. More than 1024 are for further calls
// @tparam[opt=1] integer first where in the list to begin
// @treturn integer how many have left, from the first on
// @usage
// local a <close> = asyncio.create_datagram_endpoint { local_addr = { host = "127.0.0.1", port = 0 } }
// local here = a:get_extra_info "sockname"
// print(a:send_many { { "one", here }, { "two", here } }) --> 2
// print(a:receive_many()[1][1]) --> one
static int endpoint_send_many_method(lua_State *L) {
  Endpoint *e = asy_check_endpoint(L);
  if (!lua_istable(L, 2)) asy_typeerror(L, 2, 2, "list of {data, address}", "");
  lua_settop(L, 3);
  if (lua_isnil(L, 3)) {
    lua_pushinteger(L, 1);
    lua_replace(L, 3);
  }
  lua_Integer first = asy_checkinteger(L, 3);
  if (first < 1) asy_argerror(L, 3, lua_pushfstring(L, "a place in the list, from 1 on, expected, got %I", (LUAI_UACINT)first));
  Task *t = asy_current(L);
  if (task_spent(t)) return asy_give_way(L, t, endpoint_send_many_method);
  return send_or_wait(L, t, e, &SEND_MANY);
}

static const luaL_Reg methods[] = {{"send", endpoint_send_method},
                                   {"send_nowait", endpoint_send_nowait},
                                   {"send_many", endpoint_send_many_method},
                                   {NULL, NULL}};

void asy_open_endpoint_send(lua_State *L) { asy_newclass(L, ASY_ENDPOINT, "asyncio.DatagramEndpoint", methods, NULL); }
