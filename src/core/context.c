/*
** context.c - the current context, in a place of the registry. Tasks and callbacks carry theirs, and
** put it there while they run. What `ContextVar` does with it (lua/asyncio/context.lua has the class).
*/
#include "core/context.h"

#include "core/argument.h"
#include "core/error.h"
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

/* get_context() → the table, whose values are boxes: any may be nil; or false */
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

/* Contexts */

/* stack: ..., context, new table → ..., context, table with all that the context has. Runs no finaliser. */
static void copy_context(lua_State *L) {
  int to = lua_gettop(L), from = to - 1;
  if (!lua_istable(L, from)) return;
  for (lua_pushnil(L); lua_next(L, from); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, to);
  }
}

/* replace_in_context(var, box or nil) → the box it had. Contexts are shared by those who inherit them: a change is a
** copy. */
static int context_replace(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  int n = 1;
  lua_settop(L, 2);
  asy_context_push(L, rt);
  if (lua_istable(L, 3))
    for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) n++;
  lua_createtable(L, 0, n); /* a finaliser may set another context in it; in what follows none runs */
  asy_context_push(L, rt);
  lua_replace(L, 3);
  copy_context(L);
  lua_pushvalue(L, 1);
  lua_rawget(L, 4);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_rawset(L, 4);
  lua_pushvalue(L, 4);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->context_ref);
  rt->contexts = true;
  return 1;
}

/* Variables */

/* Where nothing is set. stack: variable, default, ... upvalue 2: its class */
static int get_default(lua_State *L, bool given) {
  if (!lua_getmetatable(L, 1) || !lua_rawequal(L, -1, lua_upvalueindex(2)))
    asy_badself_of(L, "asyncio.ContextVar", "get");
  if (given) {
    lua_pushvalue(L, 2);
    return 1;
  }
  lua_getfield(L, 1, "has_default");
  if (lua_toboolean(L, -1)) {
    lua_getfield(L, 1, "default");
    return 1;
  }
  lua_getfield(L, 1, "name");
  return asy_error(L, ASY_ERROR, "the context variable '%s' has no value here, and no default", lua_tostring(L, -1));
}

/// Its value in the current task, callback, or program.
// Raises an Error where nothing was set and there is no default, here or in the variable.
// @function ContextVar:get
// @param[opt] default
// @return the value
static int var_get(lua_State *L) {
  bool given = lua_gettop(L) > 1;
  lua_settop(L, 2);
  asy_context_push(L, ASY_RUNTIME(L));
  if (!lua_istable(L, 3)) return get_default(L, given);
  lua_pushvalue(L, 1);
  if (lua_rawget(L, 3) == LUA_TNIL) return get_default(L, given);
  lua_rawgeti(L, 4, 1); /* what has a box is one, as `set` has seen */
  return 1;
}

/* context_getter(class) → the method `get` of the class of variables */
static int context_getter(lua_State *L) {
  lua_settop(L, 1);
  asy_pushclosure(L, var_get, 1);
  return 1;
}

static const luaL_Reg functions[] = {{"get_context", context_get},
                                     {"set_context", context_set},
                                     {"replace_in_context", context_replace},
                                     {"context_getter", context_getter},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_context(lua_State *L) {
  lua_pushboolean(L, 0);
  asy_runtime(L)->context_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  asy_setfuncs(L, functions);
}
