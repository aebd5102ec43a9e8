/*
** words.c - a value in words, whatever its __tostring does.
*/
#include "core/words.h"

#include "core/runtime.h"
#include "open.h"

/* arg: value */
static int say(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  return 1;
}

const char *asy_words(lua_State *L, int idx) {
  luaL_checkstack(L, 6, NULL);
  int type = lua_type(L, idx);
  if (type == LUA_TSTRING || type == LUA_TNUMBER) return luaL_tolstring(L, idx, NULL);
  const void *address = lua_topointer(L, idx);
  idx = lua_absindex(L, idx);
  lua_pushcfunction(L, say);
  lua_pushvalue(L, idx);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    lua_pushfstring(L, "%s: %p (its __tostring failed", lua_typename(L, type), address);
    lua_pushstring(L, lua_type(L, -2) == LUA_TSTRING ? ": " : "");
    if (lua_type(L, -3) == LUA_TSTRING)
      lua_pushvalue(L, -3);
    else
      lua_pushliteral(L, "");
    lua_pushliteral(L, ")");
    lua_concat(L, 4);
    lua_replace(L, -2);
  }
  return lua_tostring(L, -1);
}

/* words(value) → a string, whatever its __tostring does */
static int words(lua_State *L) {
  luaL_checkany(L, 1);
  asy_words(L, 1);
  return 1;
}

static const luaL_Reg functions[] = {{"words", words}, {NULL, NULL}};

/* stack: module */
void asy_open_words(lua_State *L) { luaL_setfuncs(L, functions, 0); }
