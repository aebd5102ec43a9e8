/*
** unpack.c - MessagePack as Lua values.
*/
#include "pack/pack.h"

#include "parse/pack.h"
#include "parse/text.h"

#define ROOM ((size_t)1024) /* values that a new table has room for at most; more comes with them */

static bool push_value(lua_State *L, PackReader *r, bool counted);

static int room_for(const PackToken *t) { return (int)(t->length < ROOM ? t->length : ROOM); }

/* counted: the table has a field n, since nils may be in it */
static bool push_list(lua_State *L, PackReader *r, const PackToken *t, bool counted) {
  lua_createtable(L, room_for(t), counted);
  for (size_t i = 1; i <= t->length; i++) {
    if (!push_value(L, r, false)) return false;
    lua_rawseti(L, -2, (lua_Integer)i);
  }
  if (!counted) return true;
  lua_pushinteger(L, (lua_Integer)t->length);
  lua_setfield(L, -2, "n");
  return true;
}

/* Whether no table has the key on the top, or this one has it already; why. stack: ..., map, key */
static const char *wrong_key(lua_State *L) {
  int type = lua_type(L, -1);
  if (type == LUA_TNIL) return "a key that is nil";
  if (type == LUA_TTABLE) return "a key that is a list or map";
  if (type == LUA_TNUMBER && lua_tonumber(L, -1) != lua_tonumber(L, -1)) return "a key that is no number";
  lua_pushvalue(L, -1);
  bool twice = lua_rawget(L, -3) != LUA_TNIL;
  lua_pop(L, 1);
  return twice ? "a key that was there before" : NULL;
}

static bool push_map(lua_State *L, PackReader *r, const PackToken *t) {
  lua_createtable(L, 0, room_for(t));
  for (size_t i = 0; i < t->length; i++) {
    size_t began = r->at;
    if (!push_value(L, r, false)) return false;
    r->why = wrong_key(L);
    if (r->why) {
      r->at = began;
      return false;
    }
    if (!push_value(L, r, false)) return false;
    lua_rawset(L, -3);
  }
  return true;
}

/* False: r->why; it leaves what it likes on the stack then. */
static bool push_value(lua_State *L, PackReader *r, bool counted) {
  PackToken t;
  if (!pack_next(r, &t)) return false;
  switch (t.kind) {
  case PACK_NIL: lua_pushnil(L); return true;
  case PACK_BOOLEAN: lua_pushboolean(L, (int)t.integer); return true;
  case PACK_INTEGER: lua_pushinteger(L, (lua_Integer)t.integer); return true;
  case PACK_FLOAT: lua_pushnumber(L, (lua_Number)t.number); return true;
  case PACK_STRING: lua_pushlstring(L, t.bytes, t.length); return true;
  default: break;
  }
  luaL_checkstack(L, 8, NULL);
  if (!(t.kind == PACK_LIST ? push_list(L, r, &t, counted) : push_map(L, r, &t))) return false;
  pack_leave(r);
  return true;
}

static int push_wrong(lua_State *L, const PackReader *r, lua_Integer i, size_t most) {
  lua_settop(L, 1);
  lua_pushnil(L);
  if (r->ended && r->n == most)
    lua_pushfstring(L, "a value of more than %I bytes", (LUAI_UACINT)most);
  else
    lua_pushstring(L, r->why);
  lua_pushinteger(L, i + (lua_Integer)r->at);
  return 3;
}

/* unpack(bytes[, i[, list[, max_size[, max_depth]]]]) → where the next one begins, value; or nil, what is wrong, where.
** list: if it is one, it has a field n, since nils may be in it. */
static int grammar_unpack(lua_State *L) {
  size_t n;
  PackReader r;
  const char *bytes = luaL_checklstring(L, 1, &n);
  lua_Integer i = luaL_optinteger(L, 2, 1);
  bool counted = lua_toboolean(L, 3);
  size_t most = (size_t)luaL_optinteger(L, 4, PACK_MOST);
  int most_deep = (int)luaL_optinteger(L, 5, PACK_DEPTH);
  luaL_argcheck(L, i >= 1 && (lua_Unsigned)i - 1 <= n, 2, "out of the string");
  n -= (size_t)i - 1;
  pack_reader_init(&r, bytes + (i - 1), n < most ? n : most, most_deep);
  if (n <= most) most = SIZE_MAX; /* nothing was cut off */
  lua_settop(L, 1);
  lua_pushnil(L); /* the place for where it ends */
  if (!push_value(L, &r, counted)) return push_wrong(L, &r, i, most);
  lua_pushinteger(L, i + (lua_Integer)r.at);
  lua_replace(L, 2);
  return 2;
}

static const luaL_Reg functions[] = {{"unpack", grammar_unpack}, {NULL, NULL}};

void asy_unpack_open(lua_State *L) { luaL_setfuncs(L, functions, 0); }
