/*
** context.c - the current context, in a place of the registry. Tasks and callbacks carry theirs, and
** put it there while they run.
*/
#include "core/context.h"
#include "open.h"

/* nil would make a hole among the registry's references */
static void nil_to_false(lua_State *L) {
  if (!lua_isnil(L, -1)) return;
  lua_pop(L, 1);
  lua_pushboolean(L, 0);
}

void asy_context_swap(lua_State *L, const Runtime *rt) {
  nil_to_false(L);
  asy_assert(lua_istable(L, -1) || lua_isboolean(L, -1));
  asy_context_push(L, rt);
  lua_insert(L, -2);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->context_ref);
}

/* get_context() → the table, or false */
static int context_get(lua_State *L) {
  asy_context_push(L, ASY_RUNTIME(L));
  return 1;
}

/* set_context(table) */
static int context_set(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->context_ref);
  rt->contexts = true;
  return 0;
}

static const luaL_Reg functions[] = {
    {"get_context", context_get}, {"set_context", context_set}, {NULL, NULL}};

/* stack: module */
void asy_open_context(lua_State *L) {
  lua_pushboolean(L, 0);
  asy_runtime(L)->context_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  asy_setfuncs(L, functions);
}
