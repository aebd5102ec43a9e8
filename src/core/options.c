/*
** options.c - values in a table of options.
*/
#include "core/options.h"

static lua_Integer opt_integer(lua_State *L, int idx, const char *key, lua_Integer fallback,
                               const char *expected, lua_Integer least, lua_Integer most) {
  int isint;
  lua_Integer n = fallback;
  if (lua_getfield(L, idx, key) != LUA_TNIL) {
    n = lua_tointegerx(L, -1, &isint);
    if (!isint || n < least || n > most)
      luaL_argerror(L, idx, lua_pushfstring(L, "'%s' is a %s", key, expected));
  }
  lua_pop(L, 1);
  return n;
}

int asy_opt_int(lua_State *L, int idx, const char *key, int fallback) {
  return (int)opt_integer(L, idx, key, fallback, "number that isn't negative", 0, INT32_MAX);
}

size_t asy_opt_bytes(lua_State *L, int idx, const char *key, size_t fallback) {
  return (size_t)opt_integer(L, idx, key, (lua_Integer)fallback, "number of bytes, 1 at least", 1,
                             LUA_MAXINTEGER / 4);
}

bool asy_opt_bool(lua_State *L, int idx, const char *key, bool fallback) {
  bool value = lua_getfield(L, idx, key) == LUA_TNIL ? fallback : lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

lua_Number asy_opt_seconds(lua_State *L, int idx, const char *key, lua_Number fallback) {
  lua_Number n = fallback;
  if (lua_getfield(L, idx, key) != LUA_TNIL) {
    n = lua_tonumber(L, -1);
    if (!lua_isnumber(L, -1) || !(n >= 0))
      luaL_argerror(L, idx, lua_pushfstring(L, "'%s' is a number of seconds", key));
  }
  lua_pop(L, 1);
  return n;
}
