/*
** context.h - the context of what runs: a table of ContextVars and their values, never changed once it
** is made, so that inheriting it is keeping it. false (or nil) where nothing has been set.
*/
#ifndef ASY_CONTEXT_H
#define ASY_CONTEXT_H

#include "core/loop.h"

ASY_HIDDEN

/* Pushes the current context. */
static inline void asy_context_push(lua_State *L, const Runtime *rt) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->context_ref);
}

/* stack: ..., context → ..., the one that was current until now */
void asy_context_swap(lua_State *L, const Runtime *rt);

ASY_HIDDEN_END

#endif
