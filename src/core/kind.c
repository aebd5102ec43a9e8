/*
** kind.c - asyncio.type: which of the library's classes a value is of.
*/
#include <string.h>

#include "core/runtime.h"
#include "open.h"

#define PREFIX "asyncio."

/* Classes with several constructors know which one made it. Pushes its name. stack: value, metatable */
static bool push_variant(lua_State *L) {
  lua_pushliteral(L, "__kind");
  if (lua_rawget(L, 2) != LUA_TFUNCTION) return false;
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  return true;
}

/// What of this library a value is: `"Task"`, `"LifoQueue"`, `"StreamReader"`, of an error the name of its class; nil for
// everything else, as `io.type` does. Classes themselves are nothing of it.
// @function type
// @param x anything
// @treturn ?string the name of the constructor or the class
// @usage
// local Late = asyncio.TimeoutError:subclass "Late"
// print(asyncio.type(asyncio.LifoQueue()), asyncio.type(Late "no tea"), asyncio.type {}) --> LifoQueue  Late  nil
static int kind_type(lua_State *L) {
  const size_t prefix = sizeof PREFIX - 1;
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  lua_pushnil(L);
  if ((!lua_istable(L, 1) && !lua_isuserdata(L, 1)) || !lua_getmetatable(L, 1)) return 1;
  lua_replace(L, 2);
  if (push_variant(L)) return 1;
  lua_pushliteral(L, "__name");
  const char *name = lua_rawget(L, 2) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  if (strncmp(name, PREFIX, prefix) != 0)
    lua_pushnil(L);
  else
    lua_pushstring(L, name + prefix);
  return 1;
}

static const luaL_Reg functions[] = {{"type", kind_type}, {NULL, NULL}};

/* stack: module */
void asy_open_kind(lua_State *L) { asy_setfuncs(L, functions); }
