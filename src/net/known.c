/*
** known.c - the addresses of an endpoint's peers.
**
** To make a table for each datagram would cost as much as all else that Lua does with it. So a peer's is given again as
** long as somebody has it, or it came last; unless somebody has changed it: it is the program's, after all.
*/
#include "net/known.h"

#include <stdio.h>
#include <string.h>

#include <uv.h>

#include "core/argument.h"

void asy_known_new(lua_State *L) {
  asy_newweak(L, "v");
  lua_setiuservalue(L, -2, ENDPOINT_UV_KNOWN);
}

/* In words */

static void spell(KnownAddress *k) {
  k->port = 0;
  *k->host = 0;
  if (k->sa.any.sa_family == AF_INET) {
    uv_ip4_name(&k->sa.in, k->host, sizeof k->host);
    k->port = ntohs(k->sa.in.sin_port);
  } else if (k->sa.any.sa_family == AF_INET6) {
    uv_ip6_name(&k->sa.in6, k->host, sizeof k->host);
    k->port = ntohs(k->sa.in6.sin6_port);
  }
}

/* Pops a value: whether it is that integer; nil is 0. */
static bool pop_is(lua_State *L, lua_Integer n) {
  bool is = lua_type(L, -1) == LUA_TNIL ? n == 0 : lua_type(L, -1) == LUA_TNUMBER && lua_tointeger(L, -1) == n;
  lua_pop(L, 1);
  return is;
}

/* Whether the table at the top says so. */
static bool says(lua_State *L, const KnownAddress *k) {
  size_t n;
  if (k->sa.any.sa_family == AF_UNIX) {
    bool same = lua_getfield(L, -1, "path") == LUA_TSTRING;
    const char *path = same ? lua_tolstring(L, -1, &n) : "";
    size_t length = k->salen - offsetof(struct sockaddr_un, sun_path);
    if (same && *k->sa.un.sun_path) length = strnlen(k->sa.un.sun_path, length);
    same = same && n == length && !memcmp(path, k->sa.un.sun_path, n);
    lua_pop(L, 1);
    return same;
  }
  bool same = lua_getfield(L, -1, "host") == LUA_TSTRING && !strcmp(lua_tostring(L, -1), k->host);
  lua_pop(L, 1);
  if (!same) return false;
  lua_getfield(L, -1, "port");
  if (!pop_is(L, k->port)) return false;
  if (k->sa.any.sa_family != AF_INET6) return true;
  lua_getfield(L, -1, "scope_id");
  return pop_is(L, k->sa.in6.sin6_scope_id);
}

/* From the kernel to Lua */

static bool is_same(const KnownAddress *k, const DatagramAddress *sa, socklen_t salen) {
  return k->salen == salen && !memcmp(&k->sa, sa, salen);
}

/* What the kernel leaves undefined, or differs with each datagram, is no part of an address. */
static socklen_t normalise(DatagramAddress *to, const DatagramAddress *sa, socklen_t salen) {
  if (salen > sizeof *to) salen = sizeof *to;
  if (salen < sizeof sa->any.sa_family) { /* a unix socket without a name */
    to->any.sa_family = AF_UNIX;
    return offsetof(struct sockaddr_un, sun_path);
  }
  memcpy(to, sa, salen);
  if (to->any.sa_family == AF_INET) memset(to->in.sin_zero, 0, sizeof to->in.sin_zero);
  if (to->any.sa_family == AF_INET6) to->in6.sin6_flowinfo = 0;
  return salen;
}

/* Pushes the table, which may be known; it is the last one now. */
static void push_known(lua_State *L, int box, Endpoint *e, const KnownAddress *k) {
  lua_getiuservalue(L, box, ENDPOINT_UV_KNOWN);
  lua_pushlstring(L, (const char *)&k->sa, k->salen);
  lua_pushvalue(L, -1);
  bool found = lua_rawget(L, -3) == LUA_TTABLE && says(L, k);
  if (!found) {
    lua_pop(L, 1);
    asy_address_push(L, &k->sa.any, k->salen);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, -5);
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, box, ENDPOINT_UV_LAST);
  e->from = *k;
}

void asy_known_push(lua_State *L, int box, Endpoint *e, const DatagramAddress *sa, socklen_t salen) {
  KnownAddress k = e->from; /* what a table says may be a stranger's function */
  luaL_checkstack(L, 8, NULL);
  if (k.salen && is_same(&k, sa, salen)) {
    lua_getiuservalue(L, box, ENDPOINT_UV_LAST);
    if (lua_istable(L, -1) && says(L, &k)) return;
    lua_pop(L, 1);
  }
  k.salen = normalise(&k.sa, sa, salen);
  spell(&k);
  push_known(L, box, e, &k);
}

/* From Lua to the kernel */

static const char *name_of(int family) {
  return family == AF_INET ? "an IPv4 address" : family == AF_INET6 ? "an IPv6 address" : "the path of a unix socket";
}

ASY_NORETURN static void fail(lua_State *L, int arg, const Endpoint *e, const struct sockaddr *sa, socklen_t len) {
  char text[ASY_ADDRESS_TEXT];
  address_text(sa, len, text);
  const char *more = e->family == AF_INET6 && sa->sa_family == AF_INET ? lua_pushfstring(L, " (::ffff:%s on this endpoint)", text) : "";
  asy_argerror(L, arg, lua_pushfstring(L, "%s expected, which is what this endpoint can reach, got %s%s", name_of(e->family), text, more));
}

/* Whether it is the one that is known; *to: that */
static bool is_known(lua_State *L, int idx, const KnownAddress *known, DatagramAddress *to, socklen_t *salen) {
  KnownAddress k;
  if (!known->salen) return false;
  k = *known;
  *to = k.sa;
  *salen = k.salen;
  lua_pushvalue(L, idx);
  bool same = says(L, &k);
  lua_pop(L, 1);
  return same;
}

static socklen_t spell_out(lua_State *L, int idx, int arg, Endpoint *e, DatagramAddress *to) {
  struct sockaddr_storage sa;
  KnownAddress k;
  if (!lua_istable(L, idx)) asy_typeerror(L, arg, idx, "address", " (of receive, or {host=, port=})");
  k.salen = asy_address_check(L, idx, &sa);
  if (sa.ss_family != e->family) fail(L, arg, e, (struct sockaddr *)&sa, k.salen);
  memcpy(&k.sa, &sa, k.salen);
  if (e->family == AF_UNIX && k.salen <= offsetof(struct sockaddr_un, sun_path))
    asy_argerror(L, arg, "an address with a path expected: that socket has no name, and can't be sent to");
  spell(&k);
  if (e->family != AF_UNIX && k.port == 0) asy_argerror(L, arg, "a port from 1 to 65535 expected, got 0");
  e->to = k;
  *to = k.sa;
  return k.salen;
}

socklen_t asy_known_check(lua_State *L, int idx, int arg, Endpoint *e, DatagramAddress *to) {
  socklen_t salen;
  luaL_checkstack(L, 8, NULL);
  bool named = e->family != AF_UNIX; /* a unix socket's sender may have no name, to which nothing can be sent */
  if (lua_istable(L, idx) && ((named && is_known(L, idx, &e->from, to, &salen)) || is_known(L, idx, &e->to, to, &salen)))
    return salen;
  return spell_out(L, idx, arg, e, to);
}
