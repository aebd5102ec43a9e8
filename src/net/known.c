/*
** known.c - the addresses of an endpoint's peers.
**
** To make a table for each datagram, and to read it for each answer, would cost as much as all else that Lua does with
** it. So a peer's is given again as long as somebody has it, or it has written lately; unless somebody has changed it:
** it is the program's, after all. Those of IP's peers that wrote last are known as C needs them, too: by the address's
** bytes, and by the table's place in memory, where each is kept.
*/
#include "net/known.h"

#include <stdio.h>
#include <string.h>

#include <uv.h>

#include "base/alloc.h"
#include "core/argument.h"

#define FEWEST 8 /* places; powers of two */
#define MOST 512

typedef struct KnownAddress {
  IpAddress sa;
  socklen_t salen;   /* 0: none */
  int port;
  const void *table; /* NULL: it has been spelt out by a table that isn't kept */
  char host[INET6_ADDRSTRLEN];
} KnownAddress;

typedef struct Known {
  unsigned places;
  uint16_t *of_table; /* the place of a table; twice as many */
  KnownAddress spelt; /* where something was sent that hasn't come from anybody */
  KnownAddress at[];
} Known;

void asy_known_new(lua_State *L) {
  asy_newweak(L, "v");
  lua_setiuservalue(L, -2, ENDPOINT_UV_ALL);
  lua_newtable(L);
  lua_setiuservalue(L, -2, ENDPOINT_UV_RECENT);
}

/* Tables */

/* Pops a value: whether it is that integer; nil is 0. */
static bool pop_is(lua_State *L, lua_Integer n) {
  int isint;
  bool is = lua_tointegerx(L, -1, &isint) == n && (ASY_LIKELY(isint) || lua_isnil(L, -1));
  lua_pop(L, 1);
  return is;
}

/* Whether the table at idx says so. A stranger may have given it functions, which are called; so k is a copy. */
static bool says(lua_State *L, int idx, const KnownAddress *k) {
  const char *host = lua_getfield(L, idx, "host") == LUA_TSTRING ? lua_tostring(L, -1) : "";
  bool same = !strcmp(host, k->host);
  lua_getfield(L, idx, "port");
  if (!pop_is(L, k->port)) same = false;
  lua_pop(L, 1);
  if (!same || k->sa.any.sa_family == AF_INET) return same;
  lua_getfield(L, idx, "scope_id");
  return pop_is(L, k->sa.in6.sin6_scope_id);
}

static bool says_path(lua_State *L, int idx, const DatagramAddress *sa, socklen_t salen) {
  size_t n, length = salen - offsetof(struct sockaddr_un, sun_path);
  const char *path = lua_getfield(L, idx, "path") == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
  if (length && *sa->un.sun_path) length = strnlen(sa->un.sun_path, length);
  bool same = path && n == length && !memcmp(path, sa->un.sun_path, n);
  lua_pop(L, 1);
  return same;
}

/* Addresses */

static unsigned place_of(const Known *known, const IpAddress *sa) {
  uint32_t h = sa->any.sa_family == AF_INET ? sa->in.sin_addr.s_addr : 0;
  if (!h) memcpy(&h, &sa->in6.sin6_addr.s6_addr[12], sizeof h);
  h = (h ^ sa->in.sin_port) * UINT32_C(2654435761); /* the port stands at the same place in both */
  return h >> 16 & (known->places - 1);
}

static uint16_t *spot_of(const Known *known, const void *table) {
  uint32_t h = (uint32_t)((uintptr_t)table >> 4) * UINT32_C(2654435761);
  return &known->of_table[h >> 16 & (2 * known->places - 1)];
}

static void spell(KnownAddress *k, const DatagramAddress *sa, socklen_t salen) {
  *k = (KnownAddress){.salen = salen};
  memcpy(&k->sa, sa, salen);
  if (sa->any.sa_family == AF_INET)
    uv_ip4_name(&k->sa.in, k->host, sizeof k->host);
  else
    uv_ip6_name(&k->sa.in6, k->host, sizeof k->host);
  k->port = ntohs(k->sa.in.sin_port);
}

/* An empty one in place of what there is; NULL: there is no memory for it, which is no loss. */
static Known *make(Endpoint *e, unsigned places) {
  Known *known = mem_calloc(1, sizeof *known + places * (sizeof *known->at + 2 * sizeof *known->of_table));
  if (!known) return NULL;
  known->places = places;
  known->of_table = (void *)(known->at + places);
  mem_free(e->known);
  return e->known = known;
}

/* A connected one has one peer. */
static Known *known_of(Endpoint *e) { return e->known ? e->known : make(e, e->connected ? 1 : FEWEST); }

/* The place for an address; there are more from now on if another is there. */
static unsigned make_place(Endpoint *e, Known **known, const IpAddress *sa) {
  unsigned place = place_of(*known, sa), places = (*known)->places;
  Known *more = (*known)->at[place].salen && places > 1 && places < MOST ? make(e, 2 * places) : NULL;
  if (!more) return place;
  *known = more;
  return place_of(more, sa);
}

/* From the kernel to Lua */

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

/* Pushes the table that somebody has, or a new one. k: NULL for a unix socket's */
static void push_shared(lua_State *L, int box, const DatagramAddress *sa, socklen_t salen, const KnownAddress *k) {
  lua_getiuservalue(L, box, ENDPOINT_UV_ALL);
  int all = lua_gettop(L);
  lua_pushlstring(L, (const char *)sa, salen);
  lua_pushvalue(L, -1);
  bool found = lua_rawget(L, all) == LUA_TTABLE && (k ? says(L, all + 2, k) : says_path(L, all + 2, sa, salen));
  if (!found) {
    lua_settop(L, all + 1);
    asy_address_push(L, &sa->any, salen);
    lua_pushvalue(L, all + 1);
    lua_pushvalue(L, all + 2);
    lua_rawset(L, all);
  }
  lua_replace(L, all);
  lua_settop(L, all);
}

/* The same, and keeps it. */
static void push_and_note(lua_State *L, int box, Endpoint *e, const DatagramAddress *sa, socklen_t salen) {
  KnownAddress k;
  spell(&k, sa, salen);
  push_shared(L, box, sa, salen, &k);
  Known *known = known_of(e);
  if (!known) return;
  unsigned place = make_place(e, &known, &k.sa);
  lua_getiuservalue(L, box, ENDPOINT_UV_RECENT);
  lua_pushvalue(L, -2);
  known->at[place].salen = 0; /* if there is no memory */
  lua_rawseti(L, -2, (lua_Integer)place + 1);
  lua_pop(L, 1);
  k.table = lua_topointer(L, -1);
  known->at[place] = k;
  *spot_of(known, k.table) = (uint16_t)place;
}

/* Pushes the table of one that has written lately, or nothing. */
static bool push_recent(lua_State *L, int box, const Endpoint *e, const DatagramAddress *sa, socklen_t salen) {
  const Known *known = e->known;
  IpAddress ip;
  if (!known) return false;
  memcpy(&ip, sa, sizeof ip);
  unsigned place = place_of(known, &ip);
  KnownAddress k = known->at[place];
  if (k.salen != salen || memcmp(&k.sa, sa, salen) != 0) return false;
  lua_getiuservalue(L, box, ENDPOINT_UV_RECENT);
  lua_rawgeti(L, -1, (lua_Integer)place + 1);
  lua_replace(L, -2);
  if (says(L, lua_gettop(L), &k)) return true;
  lua_pop(L, 1);
  return false;
}

void asy_known_push(lua_State *L, int box, Endpoint *e, const DatagramAddress *sa, socklen_t salen) {
  DatagramAddress from;
  if (e->family != AF_UNIX && push_recent(L, box, e, sa, salen)) return;
  salen = normalise(&from, sa, salen);
  if (e->family == AF_UNIX)
    push_shared(L, box, &from, salen, NULL);
  else
    push_and_note(L, box, e, &from, salen);
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

/* Whether the table at idx is what it was when it was noted. */
static bool is_noted(lua_State *L, int idx, const KnownAddress *noted, DatagramAddress *to, socklen_t *salen) {
  if (!noted->salen) return false;
  KnownAddress k = *noted;
  memcpy(to, &k.sa, sizeof k.sa);
  *salen = k.salen;
  return says(L, idx, &k);
}

static bool is_known(lua_State *L, int idx, const Endpoint *e, DatagramAddress *to, socklen_t *salen) {
  const Known *known = e->known;
  if (!known || !lua_istable(L, idx)) return false;
  const void *table = lua_topointer(L, idx);
  const KnownAddress *k = &known->at[*spot_of(known, table)];
  if (k->table == table && is_noted(L, idx, k, to, salen)) return true;
  return is_noted(L, idx, &known->spelt, to, salen);
}

static socklen_t spell_out(lua_State *L, int idx, int arg, Endpoint *e, DatagramAddress *to) {
  struct sockaddr_storage sa;
  if (!lua_istable(L, idx)) asy_typeerror(L, arg, idx, "address", " (of receive, or {host=, port=})");
  socklen_t salen = asy_address_check(L, idx, &sa);
  if (sa.ss_family != e->family) fail(L, arg, e, (struct sockaddr *)&sa, salen);
  memcpy(to, &sa, salen);
  if (e->family == AF_UNIX && salen <= offsetof(struct sockaddr_un, sun_path))
    asy_argerror(L, arg, "an address with a path expected: that socket has no name, and can't be sent to");
  if (e->family == AF_UNIX) return salen;
  KnownAddress k;
  spell(&k, to, salen);
  if (k.port == 0) asy_argerror(L, arg, "a port from 1 to 65535 expected, got 0");
  Known *known = known_of(e);
  if (known) known->spelt = k;
  return salen;
}

socklen_t asy_known_check(lua_State *L, int idx, int arg, Endpoint *e, DatagramAddress *to) {
  socklen_t salen;
  if (is_known(L, idx, e, to, &salen)) return salen;
  return spell_out(L, idx, arg, e, to);
}
