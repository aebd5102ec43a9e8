/*
** pack.c - Lua values as MessagePack.
**
** Allocates nothing in Lua while it writes, so no finaliser runs meanwhile and nothing changes. What has no room on the C
** stack is counted only, and then written again into a block of that size.
*/
#include "pack/pack.h"

#include "base/saying.h"
#include "http/utf8.h"
#include "parse/pack.h"
#include "parse/text.h"

#define FEW 4096 /* bytes that have room on the C stack */

/* Where a value stands in the one that is packed: for errors, and to see what contains itself. */
typedef struct Path {
  const struct Path *up;                          /* NULL: it is that one */
  enum { AT_TOP, AT_ITEM, AT_FIELD, AT_KEY } kind; /* AT_ITEM: a value of a list that is packed as one */
  int key;                                        /* AT_FIELD: its key's place on the stack */
  lua_Integer index;                              /* AT_ITEM, and AT_FIELD where no key is there */
  int depth;
  const void *object; /* the table around it */
} Path;

typedef struct Packer {
  lua_State *L;
  char *to;
  size_t size, length; /* of the room at `to`, and of all that there is to write */
  size_t most;
  int most_deep;
  const char *noun; /* what is packed */
  bool refused;
  Saying why;
} Packer;

static bool pack_value(Packer *p, int idx, const Path *at);

static void say_path(Packer *p, const Path *at) {
  if (at->up) say_path(p, at->up);
  switch (at->kind) {
  case AT_TOP: say(&p->why, "%s", p->noun); break;
  case AT_ITEM: say(&p->why, " " LUA_INTEGER_FMT, (LUAI_UACINT)at->index); break;
  case AT_KEY: say(&p->why, " key"); break;
  case AT_FIELD:
    if (at->key)
      asy_say_key(&p->why, p->L, at->key);
    else
      say(&p->why, "[" LUA_INTEGER_FMT "]", (LUAI_UACINT)at->index);
  }
}

/* "cannot pack a coroutine at value.cb.x" */
static bool refuse(Packer *p, const Path *at, const char *noun) {
  p->refused = true;
  say(&p->why, "cannot pack %s %s at ", say_article(noun), noun);
  say_path(p, at);
  return false;
}

static bool add(Packer *p, const char *bytes, size_t n) {
  if (p->length <= p->size && n <= p->size - p->length) memcpy(p->to + p->length, bytes, n);
  p->length += n;
  if (p->length <= p->most) return true;
  p->refused = true;
  say(&p->why, "the %s takes more than %zu bytes", p->noun, p->most);
  return false;
}

static bool add_head(Packer *p, const char *head, const char *end) {
  return add(p, head, (size_t)(end - head));
}

static bool pack_number(Packer *p, int idx) {
  char head[PACK_HEAD];
  if (lua_isinteger(p->L, idx)) return add_head(p, head, pack_put_integer(head, lua_tointeger(p->L, idx)));
  return add_head(p, head, pack_put_float(head, lua_tonumber(p->L, idx)));
}

static bool pack_string(Packer *p, int idx) {
  size_t n;
  char head[PACK_HEAD];
  const char *bytes = lua_tolstring(p->L, idx, &n);
  if (n > p->most || n > UINT32_MAX) return add(p, "", p->most + 1);
  return add_head(p, head, pack_put_string(head, n, utf8_is_text(bytes, n))) && add(p, bytes, n);
}

/* How many pairs a table has; *list: its keys are 1, 2, 3... */
static size_t count_pairs(lua_State *L, int idx, bool *list) {
  size_t pairs = 0, border = lua_rawlen(L, idx);
  *list = true;
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1), pairs++)
    if (!lua_isinteger(L, -2) || (lua_Unsigned)lua_tointeger(L, -2) - 1 >= border) *list = false;
  if (pairs != border) *list = false;
  return pairs;
}

static bool pack_values(Packer *p, int idx, lua_Integer n, const Path *at) {
  char head[PACK_HEAD];
  int value = lua_gettop(p->L) + 1;
  if (n > UINT32_MAX || (size_t)n > p->most) return add(p, "", p->most + 1); /* each takes a byte */
  if (!add_head(p, head, pack_put_list(head, (size_t)n))) return false;
  Path inside = *at;
  for (inside.index = 1; inside.index <= n; inside.index++, lua_pop(p->L, 1)) {
    lua_rawgeti(p->L, idx, inside.index);
    if (!pack_value(p, value, &inside)) return false;
  }
  return true;
}

static bool is_key(int type) {
  return type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN;
}

static bool pack_pairs(Packer *p, int idx, size_t pairs, const Path *at) {
  lua_State *L = p->L;
  char head[PACK_HEAD];
  int key = lua_gettop(L) + 1;
  if (pairs > UINT32_MAX) return add(p, "", p->most + 1);
  if (!add_head(p, head, pack_put_map(head, pairs))) return false;
  Path at_key = *at, at_value = *at;
  at_key.kind = AT_KEY;
  at_value.key = key;
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
    if (!is_key(lua_type(L, key))) return refuse(p, &at_key, lua_typename(L, lua_type(L, key)));
    if (!pack_value(p, key, &at_key) || !pack_value(p, key + 1, &at_value)) return false;
  }
  return true;
}

static bool descend(Packer *p, const void *object, const Path *at) {
  for (const Path *up = at; up; up = up->up)
    if (up->object == object) return refuse(p, at, "table that contains itself");
  if (at->depth < p->most_deep && lua_checkstack(p->L, 8)) return true;
  p->refused = true;
  say(&p->why, "cannot pack a table nested more than %d deep at ", p->most_deep);
  say_path(p, at);
  return false;
}

static bool pack_table(Packer *p, int idx, const Path *at) {
  lua_State *L = p->L;
  const void *object = lua_topointer(L, idx);
  bool list;
  if (!descend(p, object, at)) return false;
  if (lua_getmetatable(L, idx)) return refuse(p, at, "table with a metatable");
  size_t pairs = count_pairs(L, idx, &list);
  const Path inside = {at, AT_FIELD, 0, 0, at->depth + 1, object};
  return list ? pack_values(p, idx, (lua_Integer)pairs, &inside) : pack_pairs(p, idx, pairs, &inside);
}

/* Leaves what it likes on the stack when it fails, else nothing; idx is absolute. */
static bool pack_value(Packer *p, int idx, const Path *at) {
  lua_State *L = p->L;
  char head[PACK_HEAD];
  switch (lua_type(L, idx)) {
  case LUA_TNIL: return add_head(p, head, pack_put_nil(head));
  case LUA_TBOOLEAN: return add_head(p, head, pack_put_boolean(head, lua_toboolean(L, idx)));
  case LUA_TNUMBER: return pack_number(p, idx);
  case LUA_TSTRING: return pack_string(p, idx);
  case LUA_TTABLE: return pack_table(p, idx, at);
  case LUA_TFUNCTION: return refuse(p, at, lua_iscfunction(L, idx) ? "C function" : "function");
  case LUA_TTHREAD: return refuse(p, at, "coroutine");
  case LUA_TLIGHTUSERDATA: return refuse(p, at, "light userdata");
  default: return refuse(p, at, "userdata");
  }
}

/* All of it, from the beginning. False: p->why. Pops nothing then. */
static bool pack_all(Packer *p, char *to, size_t size, lua_Integer n) {
  const Path top = {NULL, AT_TOP, 0, 0, 0, NULL};
  const Path item = {&top, AT_ITEM, 0, 0, 1, lua_topointer(p->L, 1)};
  p->to = to;
  p->size = size;
  p->length = 0;
  return n < 0 ? pack_value(p, 1, &top) : pack_values(p, 1, n, &item);
}

/* How many values a list has that is packed as one, nils among them. */
static lua_Integer values_of(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_pushliteral(L, "n");
  lua_Integer n = lua_rawget(L, 1) == LUA_TNIL ? (lua_Integer)lua_rawlen(L, 1) : lua_tointeger(L, -1);
  lua_pop(L, 1);
  return n < 0 ? 0 : n;
}

/* pack(value[, list[, noun[, max_size[, max_depth]]]]) → bytes; or nil and what can't be packed, and where it stands.
** list: the value is a list with `n` values, some of which may be nil, and no table. */
static int grammar_pack(lua_State *L) {
  char few[FEW];
  luaL_checkany(L, 1);
  Packer p = {.L = L,
              .noun = luaL_optstring(L, 3, "value"),
              .most = (size_t)luaL_optinteger(L, 4, PACK_MOST),
              .most_deep = (int)luaL_optinteger(L, 5, PACK_DEPTH)};
  lua_Integer n = lua_toboolean(L, 2) ? values_of(L) : -1;
  luaL_checkstack(L, 8, NULL);
  int top = lua_gettop(L);
  bool fine = pack_all(&p, few, FEW, n);
  while (fine && p.length > p.size) { /* again, where a finaliser changed it in between */
    size_t size = p.length;
    lua_settop(L, top);
    fine = pack_all(&p, lua_newuserdatauv(L, size, 0), size, n);
  }
  if (fine) {
    lua_pushlstring(L, p.to, p.length);
    return 1;
  }
  lua_settop(L, top);
  lua_pushnil(L);
  lua_pushlstring(L, p.why.text, p.why.length);
  return 2;
}

static const luaL_Reg functions[] = {{"pack", grammar_pack}, {NULL, NULL}};

void asy_pack_open(lua_State *L) { luaL_setfuncs(L, functions, 0); }
