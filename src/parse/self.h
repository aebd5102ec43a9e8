/*
** self.h - a method that was called on something else, in the words that the core has for it.
*/
#ifndef ASY_PARSE_SELF_H
#define ASY_PARSE_SELF_H

#include "base/asy.h"

ASY_HIDDEN

ASY_NORETURN void asy_bad_self(lua_State *L, const char *cls);

/* The object of a method that is a closure over its class. */
static inline void *asy_self(lua_State *L, const char *cls) {
  if (lua_getmetatable(L, 1)) {
    bool same = lua_rawequal(L, -1, lua_upvalueindex(1));
    lua_pop(L, 1);
    if (same) return lua_touserdata(L, 1);
  }
  asy_bad_self(L, cls);
}

ASY_HIDDEN_END

#endif
