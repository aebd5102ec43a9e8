/*
** headers.c - see headers.h.
*/
#include "parse/headers.h"

#include <string.h>

#include "http/chars.h"
#include "parse/self.h"

static const char meta_key = 0;

Headers *asy_headers_new(lua_State *L, int n, size_t size) {
  size_t known = sizeof(Headers) + (size_t)n * sizeof(HttpField);
  Headers *h = lua_newuserdatauv(L, known + size, 0);
  memset(h, 0, known); /* its padding, too: who looks for what tasks wait for looks at all words (dev/stuck.c) */
  h->n = n;
  h->size = (uint32_t)size;
  h->plain = false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key);
  lua_setmetatable(L, -2);
  return h;
}

Headers *asy_headers_test(lua_State *L, int idx) {
  Headers *h = lua_touserdata(L, idx);
  if (!h || !lua_getmetatable(L, idx)) return NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same ? h : NULL;
}

static Headers *check(lua_State *L) {
  Headers *h = asy_headers_test(L, 1);
  if (!h) asy_bad_self(L, HEADERS_CLASS);
  return h;
}

static bool is_called(const Headers *h, const HttpField *f, const char *name, size_t n) {
  return f->name.n == n && http_alike(headers_bytes(h) + f->name.from, name, n);
}

/* The next field of that name from i on; n: none. */
static int find(const Headers *h, int i, const char *name, size_t n) {
  while (i < h->n && !is_called(h, &h->fields[i], name, n)) i++;
  return i;
}

static void push_value(lua_State *L, const Headers *h, int i) {
  lua_pushlstring(L, headers_bytes(h) + h->fields[i].value.from, h->fields[i].value.n);
}

/* All values of the name, of which i is the first. */
static void push_joined(lua_State *L, const Headers *h, int i, const char *name, size_t n) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (bool first = true; i < h->n; i = find(h, i + 1, name, n), first = false) {
    if (!first) luaL_addlstring(&b, ", ", 2);
    luaL_addlstring(&b, headers_bytes(h) + h->fields[i].value.from, h->fields[i].value.n);
  }
  luaL_pushresult(&b);
}

static int lookup(lua_State *L, const Headers *h, const char *name, size_t n) {
  int i = find(h, 0, name, n);
  if (i == h->n)
    lua_pushnil(L);
  else if (find(h, i + 1, name, n) == h->n || http_name(name, n) == NAME_SET_COOKIE)
    push_value(L, h, i);
  else
    push_joined(L, h, i, name, n);
  return 1;
}

/// The value of the fields of that name, whatever its case: of several the values joined by `, `, of `Set-Cookie` the first.
// `headers[name]` is the same, but for the names `get` and `all`.
// @function Headers:get
// @tparam string name
// @treturn ?string nil where there is none
static int headers_get(lua_State *L) {
  const Headers *h = check(L);
  size_t n;
  const char *name = luaL_checklstring(L, 2, &n);
  return lookup(L, h, name, n);
}

/// The values of all fields of that name.
// @function Headers:all
// @tparam string name
// @treturn {string,...} in order; empty where there is none
static int headers_all(lua_State *L) {
  const Headers *h = check(L);
  size_t n;
  const char *name = luaL_checklstring(L, 2, &n);
  lua_newtable(L);
  lua_Integer count = 0;
  for (int i = find(h, 0, name, n); i < h->n; i = find(h, i + 1, name, n)) {
    push_value(L, h, i);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

static int headers__index(lua_State *L) {
  const Headers *h = check(L);
  size_t n;
  if (lua_type(L, 2) != LUA_TSTRING) return 0;
  const char *name = lua_tolstring(L, 2, &n);
  if (n == 3 && (memcmp(name, "get", 3) == 0 || memcmp(name, "all", 3) == 0)) {
    lua_pushvalue(L, lua_upvalueindex(*name == 'g' ? 1 : 2));
    return 1;
  }
  return lookup(L, h, name, n);
}

static int headers_next(lua_State *L) {
  const Headers *h = lua_touserdata(L, lua_upvalueindex(1));
  lua_Integer i = lua_tointeger(L, lua_upvalueindex(2));
  if (i >= h->n) return 0;
  lua_pushinteger(L, i + 1);
  lua_replace(L, lua_upvalueindex(2));
  lua_pushlstring(L, headers_bytes(h) + h->fields[i].name.from, h->fields[i].name.n);
  push_value(L, h, (int)i);
  return 2;
}

static int headers__pairs(lua_State *L) {
  check(L);
  lua_settop(L, 1);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, headers_next, 2);
  return 1;
}

static int headers__len(lua_State *L) {
  lua_pushinteger(L, check(L)->n);
  return 1;
}

static int headers__tostring(lua_State *L) {
  const Headers *h = check(L);
  lua_pushfstring(L, "<Headers %d field%s>", h->n, h->n == 1 ? "" : "s");
  return 1;
}

/// The fields of a message, in order: what `asyncio.parsers` gives of a head, and what `parsers.headers` makes to be sent.
// `headers[name]` looks one up whatever its case, `pairs(headers)` gives each name as it was sent and its value, duplicates
// too, and `#headers` is their number.
// @type Headers
// @usage
// local parsers = asyncio.parsers
// local headers = parsers.headers { { "Accept", "text/html" }, { "accept", "text/plain" } }
// print(headers.ACCEPT, #headers) --> text/html, text/plain  2

static const luaL_Reg methods[] = {{"get", headers_get}, {"all", headers_all}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__pairs", headers__pairs},
                                       {"__len", headers__len},
                                       {"__tostring", headers__tostring},
                                       {NULL, NULL}};

void asy_headers_open(lua_State *L) {
  luaL_newmetatable(L, HEADERS_CLASS);
  luaL_setfuncs(L, metamethods, 0);
  luaL_newlib(L, methods);
  lua_getfield(L, -1, "get");
  lua_getfield(L, -2, "all");
  lua_pushcclosure(L, headers__index, 2);
  lua_setfield(L, -3, "__index");
  lua_setfield(L, -2, "methods");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &meta_key);
}
