/*
** endpointclass.c - asyncio.DatagramEndpoint: made, received with, looked at, closed. (endpointsend.c: sent with.)
*/
#include "net/endpointclass.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <net/if.h>

#include "base/alloc.h"
#include "core/error.h"
#include "core/options.h"
#include "core/report.h"
#include "net/known.h"
#include "net/socket.h"
#include "net/unclosed.h"
#include "open.h"

#define NAME "asyncio.DatagramEndpoint"
#define MANY 64       /* that receive_many gives unless told */
#define LONGEST 65536 /* bytes: none of IP is longer */

typedef struct Box {
  Endpoint *endpoint; /* NULL: it has been collected, or is being made */
} Box;

static Endpoint *open_box(lua_State *L, const Box *box) {
  if (!ASY_LIKELY(box->endpoint)) asy_error(L, ASY_CLOSED, "the endpoint has been collected");
  return box->endpoint;
}

Endpoint *asy_check_endpoint(lua_State *L) {
  const Box *box = asy_self(L, ASY_RUNTIME(L), ASY_ENDPOINT, NAME);
  lua_pop(L, 1);
  return open_box(L, box);
}

int asy_endpoint_closed(lua_State *L, const Endpoint *e) {
  if (e->handle.loop && e->handle.loop->copied)
    asy_error(L, ASY_CLOSED, "the endpoint is the parent's: this process was forked from it");
  asy_error(L, ASY_CLOSED, "the endpoint is closed");
}

void asy_endpoint_checkloop(lua_State *L, const Endpoint *e, const Task *t) {
  if (!ASY_LIKELY(!e->handle.open || e->handle.loop == t->loop))
    asy_error(L, ASY_ERROR, "the endpoint belongs to another event loop");
}

void endpoint_describe(const Task *t, char *text) {
  const Endpoint *e = t->on;
  if (e) snprintf(text, ASY_WAIT_TEXT, "%s", e->name);
}

void asy_endpoint_raise(lua_State *L, Endpoint *e, const char *call) {
  char text[ASY_ADDRESS_TEXT];
  IcmpError error;
  if (ASY_LIKELY(!e->status && !e->nerrors)) return;
  if (!endpoint_take_error(e, &error)) return;
  if (error.status == UV_ENOMEM) asy_nomemory(L);
  snprintf(text, sizeof text, "%s", e->name);
  if (error.salen) address_text(&error.to.any, error.salen, text);
  asy_oserror_push(L, error.status, call, *text ? text : NULL);
  if (error.salen) { /* of the kind that `receive` gives */
    asy_known_push(L, 1, e, &error.to, error.salen);
    lua_setfield(L, -2, "address");
  }
  asy_made_note(L, 0);
  lua_error(L);
}

/* Receiving. A call gives one datagram, or a list; "make first, look again": what makes strings and tables may let a
** stranger take the datagram meanwhile. */

typedef enum Form { ONE, LIST } Form;

/* Pushes the datagram at a place of the queue, and its address. */
static void push_packet(lua_State *L, Endpoint *e, const Packet *p) {
  DatagramAddress from;
  socklen_t salen = p->salen;
  memcpy(&from, packet_address(p), salen < sizeof from ? salen : sizeof from);
  lua_pushlstring(L, packet_bytes(p), p->size); /* a finaliser runs when it has been copied */
  asy_known_push(L, 1, e, &from, salen);
}

/* The first one. → values, or 0: somebody else has it */
static int give_one(lua_State *L, Endpoint *e) {
  while (endpoint_free(e) > 0) {
    uint64_t number = e->queue.taken;
    push_packet(L, e, packets_first(&e->queue));
    if (ASY_LIKELY(e->queue.taken == number && e->queue.n > 0)) {
      endpoint_gave(e, 1);
      return 2;
    }
    lua_pop(L, 2);
  }
  return 0;
}

/* Fills the table at the top with up to n of them. → how many; -1: somebody else has taken some */
static int fill_list(lua_State *L, Endpoint *e, int n) {
  uint64_t number = e->queue.taken;
  PacketPlace place = {NULL, 0};
  for (int i = 1; i <= n; i++) {
    lua_createtable(L, 2, 0);
    if (e->queue.taken != number || e->queue.n < i) return -1;
    push_packet(L, e, packets_walk(&e->queue, &place));
    if (e->queue.taken != number || e->queue.n < i) return -1;
    lua_rawseti(L, -3, 2);
    lua_rawseti(L, -2, 1);
    lua_rawseti(L, -2, i);
  }
  return n;
}

/* The first of them, as many as the argument at 2 says. */
static int give_list(lua_State *L, Endpoint *e) {
  int top = lua_gettop(L), most = (int)lua_tointeger(L, 2);
  for (int n; (n = endpoint_free(e)) > 0; lua_settop(L, top)) {
    if (n > most) n = most;
    lua_createtable(L, n, 0);
    if (endpoint_free(e) >= n && fill_list(L, e, n) == n) {
      endpoint_gave(e, n);
      return 1;
    }
  }
  return 0;
}

static int give(lua_State *L, Endpoint *e, Form form) { return form == LIST ? give_list(L, e) : give_one(L, e); }

static const WaitKind RECEIVE, RECEIVE_MANY, NEXT;

/* Gives what is there, or waits; the end of `iter` is no error. front: it has waited before. stack: [1] box, args */
static int receive(lua_State *L, Task *t, Endpoint *e, const WaitKind *kind, bool front) {
  if (!e->handle.open && kind == &NEXT) {
    lua_pushnil(L);
    return 1;
  }
  asy_endpoint_checkopen(L, e);
  asy_endpoint_raise(L, e, "receive");
  int n = endpoint_free(e) > 0 ? give(L, e, kind == &RECEIVE_MANY ? LIST : ONE) : 0;
  if (n) return n;
  asy_endpoint_checkopen(L, e);
  if (!front) return asy_waitq_park(L, t, &e->receivers, kind, e);
  list_prepend(&e->receivers.line, &t->waiter.link);
  return asy_park(L, t, kind, e);
}

/* args: box, [2] as give_list's, endpoint (light), form */
static int give_protected(lua_State *L) {
  Endpoint *e = lua_touserdata(L, 3);
  Form form = (Form)lua_tointeger(L, 4);
  lua_settop(L, 2);
  return give(L, e, form);
}

/* To one that was woken for it. Others wait: if there is no memory for it, it is theirs. */
static int give_handed(lua_State *L, Endpoint *e, Form form) {
  int top = lua_gettop(L);
  if (waitq_empty(&e->receivers)) return give(L, e, form);
  lua_pushcfunction(L, give_protected);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_pushlightuserdata(L, e);
  lua_pushinteger(L, form);
  if (lua_pcall(L, 4, LUA_MULTRET, 0) == LUA_OK) return lua_gettop(L) - top;
  endpoint_wake_receivers(e);
  return lua_error(L);
}

/* stack: [1] box, args */
static int received(lua_State *L, Task *t) {
  Endpoint *e = t->on;
  const WaitKind *kind = t->kind;
  if (!e) return asy_error(L, ASY_CLOSED, "the endpoint has been collected");
  lua_settop(L, 2);
  if (t->code == ENDPOINT_HANDED) {
    waitq_took(t);
    e->handed--;
    int n = give_handed(L, e, kind == &RECEIVE_MANY ? LIST : ONE);
    if (n) return n;
  }
  return receive(L, t, e, kind, true);
}

static void giveback(lua_State *L, Task *t) {
  Endpoint *e = t->on;
  (void)L;
  if (!e) return;
  if (t->code == ENDPOINT_HANDED) waitq_took(t);
  endpoint_pass(e, t->code);
}

static const WaitKind RECEIVE = {.name = "receive", .finish = received, .abort = asy_waitq_abort, .giveback = giveback,
                                 .describe = endpoint_describe};
static const WaitKind RECEIVE_MANY = {.name = "receive_many", .finish = received, .abort = asy_waitq_abort,
                                      .giveback = giveback, .describe = endpoint_describe};
static const WaitKind NEXT = {.name = "receive", .finish = received, .abort = asy_waitq_abort, .giveback = giveback,
                              .describe = endpoint_describe};

/// Waits for a datagram: whole, maybe empty (`""` is one, not an end). Several tasks may wait; each datagram goes to one,
// first come, first served. Cancelled it has taken nothing.
//
// On a connected endpoint an error that came by ICMP (ConnectionRefusedError where nobody listens) is raised once, here
// or by `send`, and the endpoint goes on. With `icmp_errors` this raises those of all peers, once each, with the field
// `address`. Once the endpoint is closed it raises ClosedError.
// @function DatagramEndpoint:receive
// @treturn string data
// @treturn table address of its sender: `{family=, host=, port=}`, of a unix socket `{family=, path=}`, whose `path` is
// `""` where it has none. The same peer's is the same table as long as somebody has it
static int endpoint_receive(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Endpoint *e = open_box(L, asy_self(L, rt, ASY_ENDPOINT, NAME));
  Task *t = asy_current_in(L, rt);
  lua_settop(L, 1);
  if (task_spent(t)) return asy_give_way(L, t, endpoint_receive);
  asy_endpoint_checkloop(L, e, t);
  return receive(L, t, e, &RECEIVE, false);
}

/// Waits for a datagram and takes those that are there then, too: quicker than one at a time, where there are many.
// @function DatagramEndpoint:receive_many
// @tparam[opt=64] integer n at most so many
// @treturn {table,...} list of `{data, address}`, one at least
static int endpoint_receive_many(lua_State *L) {
  Endpoint *e = asy_check_endpoint(L);
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_pushinteger(L, MANY);
    lua_replace(L, 2);
  }
  lua_Integer n = asy_checkinteger(L, 2);
  if (n < 1 || n > INT_MAX) asy_argerror(L, 2, lua_pushfstring(L, "a number from 1 on expected, got %I", (LUAI_UACINT)n));
  Task *t = asy_current(L);
  if (task_spent(t)) return asy_give_way(L, t, endpoint_receive_many);
  asy_endpoint_checkloop(L, e, t);
  endpoint_want_many(e);
  return receive(L, t, e, &RECEIVE_MANY, false);
}

/// Takes a datagram that has come; never waits, and needs no task.
// @function DatagramEndpoint:receive_nowait
// @treturn ?string data nil where there is none
// @treturn ?table address
static int endpoint_receive_nowait(lua_State *L) {
  Endpoint *e = asy_check_endpoint(L);
  lua_settop(L, 1);
  asy_endpoint_checkopen(L, e);
  asy_endpoint_raise(L, e, "receive");
  if (endpoint_free(e) <= 0) {
    endpoint_read(e);
    asy_endpoint_raise(L, e, "receive");
  }
  int n = give_one(L, e);
  if (n) return n;
  lua_pushnil(L);
  return 1;
}

/* upvalue 2: box */
static int next_datagram(lua_State *L) {
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(2));
  Endpoint *e = open_box(L, lua_touserdata(L, 1));
  Task *t = asy_current(L);
  if (task_spent(t)) return asy_give_way(L, t, next_datagram);
  asy_endpoint_checkloop(L, e, t);
  return receive(L, t, e, &NEXT, false);
}

/// A function that gives datagram after datagram, for `for data, address in endpoint:iter() do`. It ends when the endpoint is
// closed; otherwise it is `receive`.
// @function DatagramEndpoint:iter
// @treturn function
static int endpoint_iter(lua_State *L) {
  asy_check_endpoint(L);
  lua_settop(L, 1);
  asy_pushclosure(L, next_datagram, 1);
  return 1;
}

/* Groups */

/* The interface at idx: a name, its number, or an IPv4 address of this machine. 0; UV_ENODEV: there is none of that name;
** UV_EINVAL: it is nothing of that kind. */
static int read_interface(lua_State *L, int idx, int family, Interface *interface) {
  IpAddress sa;
  *interface = (Interface){0};
  if (lua_isnoneornil(L, idx)) return 0;
  if (lua_isinteger(L, idx) && lua_type(L, idx) == LUA_TNUMBER) {
    lua_Integer n = lua_tointeger(L, idx);
    interface->index = n > 0 && n <= INT_MAX ? (unsigned)n : 0;
    return interface->index ? 0 : UV_EINVAL;
  }
  if (lua_type(L, idx) != LUA_TSTRING) return UV_EINVAL;
  const char *text = lua_tostring(L, idx);
  if (!*text || strlen(text) != lua_rawlen(L, idx) || uv_ip6_addr(text, 0, &sa.in6) == 0) return UV_EINVAL;
  if (uv_ip4_addr(text, 0, &sa.in) == 0) {
    interface->address = sa.in.sin_addr;
    return family == AF_INET ? 0 : UV_EINVAL;
  }
  interface->index = if_nametoindex(text);
  return interface->index ? 0 : UV_ENODEV;
}

/* Pushes a text: what was expected in its place. */
static const char *push_interface_expected(lua_State *L, int idx, int family) {
  bool text = lua_type(L, idx) == LUA_TSTRING && lua_rawlen(L, idx);
  return lua_pushfstring(L, "an interface's name%s expected, got %s",
                         family == AF_INET ? ", number or IPv4 address" : " or number",
                         text ? lua_tostring(L, idx) : lua_type(L, idx) == LUA_TSTRING ? "\"\"" : asy_kindof(L, idx));
}

static bool is_group(const DatagramAddress *sa) {
  if (sa->any.sa_family == AF_INET) return IN_MULTICAST(ntohl(sa->in.sin_addr.s_addr));
  return IN6_IS_ADDR_MULTICAST(&sa->in6.sin6_addr);
}

static int change_group(lua_State *L, bool join) {
  Endpoint *e = asy_check_endpoint(L);
  DatagramAddress group = {.any.sa_family = AF_UNSPEC};
  Interface interface;
  lua_settop(L, 3);
  if (lua_type(L, 2) != LUA_TSTRING) asy_typeerror(L, 2, 2, "multicast address (a string)", "");
  const char *text = lua_tostring(L, 2);
  bool known = e->family == AF_INET    ? uv_ip4_addr(text, 0, &group.in) == 0
               : e->family == AF_INET6 ? uv_ip6_addr(text, 0, &group.in6) == 0
                                       : false;
  if (!known || !is_group(&group))
    asy_argerror(L, 2, lua_pushfstring(L, "%s expected, got %s",
                                       e->family == AF_UNIX ? "nothing (a unix socket is in no groups)"
                                       : e->family == AF_INET ? "an IPv4 multicast address"
                                                              : "an IPv6 multicast address", text));
  int status = read_interface(L, 3, e->family, &interface);
  if (status == UV_EINVAL) asy_argerror(L, 3, push_interface_expected(L, 3, e->family));
  if (status) asy_oserror(L, status, "interface", lua_tostring(L, 3));
  asy_endpoint_checkopen(L, e);
  status = datagram_join(e->fd, &group, &interface, join);
  if (status) return asy_oserror(L, status, join ? "join_group" : "leave_group", text);
  return 0;
}

/// Hears a group from now on: what is sent to that address and this endpoint's port. The endpoint is bound to such a port,
// and to no address (`host = nil`) or the group's. It hears no groups but those that it has joined, whatever other programs
// of this machine have joined. Once more on the same interface: OSError EADDRINUSE.
// @function DatagramEndpoint:join_group
// @tparam string group an address, `"239.1.2.3"`, `"ff02::fb"`
// @param[opt] interface name (`"eth0"`) or number; of an IPv4 group also an address that it has. Without it the system
// chooses
static int endpoint_join_group(lua_State *L) { return change_group(L, true); }

/// Hears it no more. Closing leaves all groups.
// @function DatagramEndpoint:leave_group
// @tparam string group
// @param[opt] interface as it was joined
static int endpoint_leave_group(lua_State *L) { return change_group(L, false); }

/* Looking */

static void set_count(lua_State *L, const char *key, uint64_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, key);
}

/// What it has done so far, also once it is closed.
// @function DatagramEndpoint:stats
// @treturn table `received` (given to a receiver), `sent`, `dropped` (`max_queue` were waiting already), `kernel_dropped`
// (the system had no room; 0 where it doesn't tell), `oversized` (longer than `max_size`): datagrams
static int endpoint_stats(lua_State *L) {
  const Endpoint *e = asy_check_endpoint(L);
  lua_createtable(L, 0, 5);
  set_count(L, "received", e->received);
  set_count(L, "sent", e->sent);
  set_count(L, "dropped", e->dropped);
  set_count(L, "kernel_dropped", e->handle.open ? datagram_kernel_drops(e->fd) : e->kernel_dropped);
  set_count(L, "oversized", e->oversized);
  return 1;
}

static bool push_name(lua_State *L, const Endpoint *e, bool peer) {
  DatagramAddress sa = {.any.sa_family = AF_UNSPEC};
  socklen_t n = sizeof sa;
  if (!e->handle.open || (peer ? getpeername : getsockname)(e->fd, &sa.any, &n)) return false;
  asy_address_push(L, &sa.any, n);
  return true;
}

/// What is known of it: `"sockname"`, `"peername"` (addresses); `"socket"`: a table with the field `fd` and the method
// `getfd`, for other libraries.
// @function DatagramEndpoint:get_extra_info
// @tparam string name
// @param[opt] default returned when it isn't known
// @return what is known, or default
static int endpoint_get_extra_info(lua_State *L) {
  const Endpoint *e = asy_check_endpoint(L);
  if (!lua_isstring(L, 2)) asy_typeerror(L, 2, 2, "string", "");
  const char *name = lua_tostring(L, 2);
  lua_settop(L, 3);
  if (!strcmp(name, "socket") && e->handle.open)
    asy_socket_push(L, e->fd);
  else if (!strcmp(name, "peername") || !strcmp(name, "sockname"))
    push_name(L, e, *name == 'p');
  return 1;
}

/// Whether it is closed.
// @function DatagramEndpoint:is_closing
// @treturn boolean
static int endpoint_is_closing(lua_State *L) {
  lua_pushboolean(L, !asy_check_endpoint(L)->handle.open);
  return 1;
}

static int endpoint__tostring(lua_State *L) {
  const Box *box = asy_check(L, ASY_RUNTIME(L), 1, ASY_ENDPOINT, NAME);
  const Endpoint *e = box->endpoint;
  if (!e)
    lua_pushfstring(L, NAME ": collected (%p)", (const void *)box);
  else if (!e->handle.open)
    lua_pushfstring(L, NAME ": %s%s%s, closed (%p)", e->connected ? "peer " : "", e->name, *e->name ? "" : "nameless",
                    (const void *)box);
  else
    lua_pushfstring(L, NAME ": %s%s%s, %d datagrams (%p)", e->connected ? "peer " : "", e->name,
                    *e->name ? "" : "nameless", e->queue.n, (const void *)box);
  return 1;
}

/* Ending */

/// Closes it: who waits to receive or to send gets ClosedError, `iter` ends, what nobody has received is gone, a unix socket's
// file is removed, and its groups are left. Its port is free when this returns. Once more does nothing.
// @function DatagramEndpoint:close
static int endpoint_close_method(lua_State *L) {
  const Box *box = asy_self(L, ASY_RUNTIME(L), ASY_ENDPOINT, NAME);
  if (box->endpoint) endpoint_close(box->endpoint);
  return 0;
}

static int closed(lua_State *L, Task *t) {
  (void)L;
  (void)t;
  return 0;
}

static const WaitKind CLOSING = {.name = "wait_closed", .finish = closed, .abort = asy_waitq_abort,
                                 .describe = endpoint_describe};

/// Waits until it is closed, whoever does that.
// @function DatagramEndpoint:wait_closed
static int endpoint_wait_closed(lua_State *L) {
  Endpoint *e = asy_check_endpoint(L);
  Task *t = asy_current(L);
  lua_settop(L, 1);
  if (task_spent(t)) return asy_give_way(L, t, endpoint_wait_closed);
  asy_endpoint_checkloop(L, e, t);
  if (!e->handle.open || e->handle.loop->copied) return 0;
  list_append(&e->closers, &t->waiter.link);
  return asy_park(L, t, &CLOSING, e);
}

/* Strangers have closed the coroutines of all that wait here, else they would hold it. */
static void wake_closers(Endpoint *e) {
  while (!list_empty(&e->closers)) {
    Task *t = asy_container(e->closers.next, Task, waiter.link);
    t->on = NULL;
    task_wake(t, 0);
  }
}

static int endpoint__gc(lua_State *L) {
  char site[1000] = "", text[ASY_HANDLE_TEXT + 40];
  Box *box = asy_test(L, ASY_RUNTIME(L), 1, ASY_ENDPOINT);
  Endpoint *e = box ? box->endpoint : NULL;
  if (!e) return 0;
  box->endpoint = NULL;
  Loop *loop = e->handle.loop;
  bool forgotten = e->handle.open && !loop->copied;
  snprintf(text, sizeof text, "asyncio: a datagram endpoint%s%s was not closed before it was collected",
           *e->name ? " at " : "", e->name);
  if (forgotten && e->site && loop->debug) snprintf(site, sizeof site, "%s", e->site);
  asy_waitq_destroy(L, &e->receivers);
  asy_waitq_destroy(L, &e->senders);
  wake_closers(e);
  e->handed = 0;
  endpoint_close(e);
  handle_unbox(&e->handle);
  if (!forgotten) return 0;
  lua_warning(L, text, 0); /* may raise, and so may what follows: last */
  if (!*site) return 0;
  lua_pushstring(L, text + strlen("asyncio: "));
  asy_unclosed_report_later(L, loop, site);
  return 0;
}

/* Making one */

static int option_or(lua_State *L, const char *key, int fallback) { return asy_opt_int(L, 3, key, fallback); }

/* An option that the system refuses. */
static int raise_option(lua_State *L, int status, const char *option) {
  asy_oserror_push(L, status, "setsockopt", NULL);
  lua_getfield(L, -1, "message");
  const char *message = lua_tostring(L, -1);
  lua_getfield(L, 3, option);
  const char *value = luaL_tolstring(L, -1, NULL);
  lua_pushfstring(L, "%s (option '%s' = %s)", message, option, value);
  lua_setfield(L, -5, "message");
  lua_pop(L, 3);
  asy_made_note(L, 0);
  return lua_error(L);
}

/* stack: local, remote, opts */
static DatagramOptions read_options(lua_State *L, int family) {
  DatagramOptions o = {.reuse_address = asy_opt_bool(L, 3, "reuse_address", false),
                       .reuse_port = asy_opt_bool(L, 3, "reuse_port", false),
                       .allow_broadcast = asy_opt_bool(L, 3, "allow_broadcast", false),
                       .icmp_errors = asy_opt_bool(L, 3, "icmp_errors", false),
                       .receive_buffer = option_or(L, "receive_buffer", 0),
                       .send_buffer = option_or(L, "send_buffer", 0),
                       .ttl = option_or(L, "ttl", -1),
                       .multicast_ttl = option_or(L, "multicast_ttl", -1),
                       .multicast_loopback = -1};
  if (lua_getfield(L, 3, "multicast_loopback") != LUA_TNIL) o.multicast_loopback = lua_toboolean(L, -1);
  lua_getfield(L, 3, "multicast_interface"); /* the Lua layer has looked at its type */
  int status = read_interface(L, lua_gettop(L), family, &o.interface);
  if (status) raise_option(L, status, "multicast_interface");
  lua_pop(L, 2);
  return o;
}

static socklen_t read_address(lua_State *L, int idx, DatagramAddress *sa) {
  struct sockaddr_storage any;
  sa->any.sa_family = AF_UNSPEC;
  if (lua_isnil(L, idx)) return 0;
  socklen_t len = asy_address_check(L, idx, &any);
  memcpy(sa, &any, len);
  return len;
}

static int raise_open(lua_State *L, int status, const char *call, const DatagramAddress *sa, socklen_t len,
                      bool may_broadcast) {
  char text[ASY_ADDRESS_TEXT] = "";
  if (sa->any.sa_family != AF_UNSPEC) address_text(&sa->any, len, text);
  asy_oserror_push(L, status, call, *text ? text : NULL);
  if (status == UV_EACCES && sa->any.sa_family == AF_INET && !strcmp(call, "connect") && !may_broadcast) {
    lua_pushfstring(L, ASY_BROADCAST_REFUSED ": connect %s", text);
    lua_setfield(L, -2, "message");
  }
  asy_made_note(L, 0);
  return lua_error(L);
}

/* open_datagram(local, remote, opts, family) → endpoint. The addresses are resolved ones, of that family, or nil. */
static int open_datagram(lua_State *L) {
  static const char *const FAMILIES[] = {"inet", "inet6", "unix", NULL};
  static const int NUMBERS[] = {AF_INET, AF_INET6, AF_UNIX};
  DatagramAddress local, remote;
  const char *call = "poll", *option = NULL;
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  int family = NUMBERS[luaL_checkoption(L, 4, NULL, FAMILIES)], status = 0;
  socklen_t local_len = read_address(L, 1, &local), remote_len = read_address(L, 2, &remote);
  DatagramOptions options = read_options(L, family);
  asy_checkalive(L);
  Box *box = lua_newuserdatauv(L, sizeof *box, ENDPOINT_UVS);
  box->endpoint = NULL;
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_ENDPOINT);
  lua_setmetatable(L, -2);
  asy_known_new(L);
  asy_loop_checkopen(L, loop); /* a finaliser may have closed it */
  char *site = asy_debug_site(L, loop);
  int fd = datagram_open(&options, family, &local, local_len, &remote, remote_len, &call, &option);
  Endpoint *e = fd < 0 ? NULL : endpoint_new(loop, fd, family, &status);
  if (!e) {
    mem_free(site);
    if (fd >= 0) close(fd);
    if (option) return raise_option(L, fd, option);
    bool of_remote = !strcmp(call, "connect");
    return raise_open(L, fd < 0 ? fd : status, call, of_remote ? &remote : &local, of_remote ? remote_len : local_len,
                      options.allow_broadcast);
  }
  sockfile_note(&e->file, &local.any, local_len);
  e->site = site;
  e->icmp_errors = options.icmp_errors;
  e->max_size = asy_opt_bytes(L, 3, "max_size", LONGEST);
  if (family != AF_UNIX && e->max_size > LONGEST) e->max_size = LONGEST;
  e->max_queue = asy_opt_int(L, 3, "max_queue", 1024);
  box->endpoint = e;
  return 1;
}

static void report_one(Handle *h, void *arg) {
  const Endpoint *e = asy_container(h, Endpoint, handle);
  lua_State *L = arg;
  if (!e->site) return;
  lua_pushfstring(L, "a datagram endpoint%s%s was not closed", *e->name ? " at " : "", e->name);
  asy_unclosed_report(L, h->loop, lua_tostring(L, -1), "opened at", e->site);
  lua_pop(L, 1);
}

static void report_endpoints(lua_State *L, Loop *loop) {
  if (loop->debug) endpoints_each(loop, report_one, L);
}

/// A socket for datagrams: UDP, or of unix sockets; `asyncio.create_datagram_endpoint` makes it. Datagrams come whole or not
// at all, in any order, maybe twice. It is a `<close>` variable.
// @type DatagramEndpoint
// @usage
// local server <close> = asyncio.create_datagram_endpoint { local_addr = { host = "127.0.0.1", port = 0 } }
// local task <close> = asyncio.create_task(function()
//   for data, address in server:iter() do server:send(data:upper(), address) end
// end)
// local client <close> = asyncio.create_datagram_endpoint { remote_addr = server:get_extra_info "sockname" }
// client:send "tea"
// print((client:receive())) --> TEA

static const luaL_Reg methods[] = {{"receive", endpoint_receive},
                                   {"receive_nowait", endpoint_receive_nowait},
                                   {"receive_many", endpoint_receive_many},
                                   {"iter", endpoint_iter},
                                   {"join_group", endpoint_join_group},
                                   {"leave_group", endpoint_leave_group},
                                   {"stats", endpoint_stats},
                                   {"get_extra_info", endpoint_get_extra_info},
                                   {"is_closing", endpoint_is_closing},
                                   {"close", endpoint_close_method},
                                   {"wait_closed", endpoint_wait_closed},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__close", endpoint_close_method},
                                       {"__gc", endpoint__gc},
                                       {"__tostring", endpoint__tostring},
                                       {NULL, NULL}};

static const luaL_Reg functions[] = {{"open_datagram", open_datagram}, {NULL, NULL}};

/* stack: module */
void asy_open_endpoint(lua_State *L) {
  static const LoopHooks hooks = {.report = report_endpoints, .forget = endpoints_forget};
  asy_setfuncs(L, functions);
  runtime_on_loop(asy_runtime(L), &hooks);
  asy_newclass(L, ASY_ENDPOINT, NAME, methods, metamethods);
}
