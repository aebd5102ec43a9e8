/*
** self.c - see self.h.
*/
#include "parse/self.h"

#include <stdlib.h>
#include <string.h>

static const char *kind_of(lua_State *L) {
  if (lua_isnone(L, 1)) return "no value";
  return luaL_getmetafield(L, 1, "__name") == LUA_TSTRING ? lua_tostring(L, -1)
                                                          : luaL_typename(L, 1);
}

ASY_NORETURN void asy_bad_self(lua_State *L, const char *cls) {
  lua_Debug ar;
  luaL_checkstack(L, 8, NULL);
  const char *text = lua_pushfstring(L, "%s expected, got %s", cls, kind_of(L));
  if (lua_getstack(L, 0, &ar) && lua_getinfo(L, "n", &ar) && ar.name &&
      strcmp(ar.namewhat, "field") == 0)
    text = lua_pushfstring(L, "%s; use a colon: object:%s(...)", text, ar.name);
  luaL_argerror(L, 1, text);
  abort(); /* it never returns */
}
