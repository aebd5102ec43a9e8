/*
** impasse.c - the error of a call that cannot wait here: what stands in the way, and the remedy.
*/
#include "core/impasse.h"

#include <string.h>

#include "core/argument.h"
#include "core/error.h"

#define MAX_LEVELS 1000 /* that are searched: lua_getstack walks to each from the top */

/* Functions in C that a coroutine may yield across. */
static const char *const PASSABLE[] = {"pcall",          "xpcall",        "dofile",          "asyncio.pcall",
                                       "asyncio.xpcall", "asyncio.catch", "asyncio.move_on", "asyncio.within", NULL};

/* Whether the function has a name in the public module. stack: ..., function → ..., its name */
static bool name_in_public(lua_State *L) {
  int fn = lua_gettop(L);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "asyncio") == LUA_TTABLE)
    for (lua_pushnil(L); lua_next(L, fn + 2); lua_settop(L, fn + 3)) {
      if (lua_type(L, fn + 3) != LUA_TSTRING || !lua_rawequal(L, fn, fn + 4)) continue;
      lua_pushfstring(L, "asyncio.%s", lua_tostring(L, fn + 3));
      lua_replace(L, fn);
      lua_settop(L, fn);
      return true;
    }
  lua_settop(L, fn);
  return false;
}

/* stack: ..., function → ..., its name in a loaded module, or nil */
static void name_in_loaded(lua_State *L) {
  int fn = lua_gettop(L);
  if (name_in_public(L)) return;
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  for (lua_pushnil(L); lua_next(L, fn + 1); lua_settop(L, fn + 2)) {
    if (lua_type(L, fn + 2) != LUA_TSTRING || !lua_istable(L, fn + 3)) continue;
    for (lua_pushnil(L); lua_next(L, fn + 3); lua_settop(L, fn + 4)) {
      if (lua_type(L, fn + 4) != LUA_TSTRING || !lua_rawequal(L, fn, fn + 5)) continue;
      const char *module = lua_tostring(L, fn + 2), *name = lua_tostring(L, fn + 4);
      if (!strcmp(module, LUA_GNAME))
        lua_pushstring(L, name);
      else
        lua_pushfstring(L, "%s.%s", strcmp(module, "asyncio.core") ? module : "asyncio", name);
      lua_replace(L, fn);
      lua_settop(L, fn);
      return;
    }
  }
  lua_settop(L, fn - 1);
  lua_pushnil(L);
}

static bool passable(const char *name) {
  for (int i = 0; name && PASSABLE[i]; i++)
    if (!strcmp(name, PASSABLE[i])) return true;
  return false;
}

/* Pushes the name of the nearest function on co's stack that can't be yielded across, or nil. */
static void push_obstacle(lua_State *L, lua_State *co) {
  lua_Debug ar;
  for (int level = L == co; level < MAX_LEVELS && lua_getstack(co, level, &ar); level++) {
    lua_getinfo(co, "nSf", &ar);
    if (L != co) lua_xmove(co, L, 1);
    if (ar.name && !strcmp(ar.namewhat, "metamethod") &&
        (!strcmp(ar.name, "__gc") || !strcmp(ar.name, "gc"))) {
      lua_pop(L, 1);
      lua_pushliteral(L, "a finaliser (__gc)");
      return;
    }
    if (*ar.what != 'C') {
      lua_pop(L, 1);
      continue;
    }
    name_in_loaded(L);
    if (lua_isnil(L, -1) && ar.name) {
      lua_pop(L, 1);
      lua_pushstring(L, ar.name);
    }
    if (lua_isstring(L, -1) && !passable(lua_tostring(L, -1))) return;
    lua_pop(L, 1);
  }
  lua_pushnil(L);
}

/* Pushes "file:line: asyncio.sleep" for the call that can't wait: the user's, whatever waits within. */
static void push_call(lua_State *L) {
  lua_Debug ar;
  asy_called(L, &ar);
  if (lua_isnil(L, -1) || (name_in_loaded(L), lua_isnil(L, -1))) {
    lua_pop(L, 1);
    if (!strcmp(ar.namewhat, "metamethod") && ar.name && strstr(ar.name, "close"))
      lua_pushliteral(L, "the end of the block");
    else
      lua_pushstring(L, ar.name ? ar.name : "the call");
  }
  lua_concat(L, 2);
}

int asy_impasse(lua_State *L, Impasse why, lua_State *top) {
  luaL_checkstack(L, 20, NULL);
  if (why == ASY_STRANGE_CORO && !lua_isyieldable(top) && lua_checkstack(top, 2)) why = ASY_NO_YIELD;
  push_call(L);
  const char *call = lua_tostring(L, -1);
  if (why == ASY_NO_TASK && asy_runtime(L)->forked)
    lua_pushfstring(L, "%s cannot wait in this process, which was forked from the one that has the event loop: "
                       "asyncio.run starts one of its own", call);
  else if (why == ASY_NO_TASK && asy_runtime(L)->running)
    lua_pushfstring(L, "%s cannot wait outside of a task: call it from a function that asyncio.run or "
                       "asyncio.create_task runs; a callback can be asyncio.create_task itself, with the function as "
                       "its first argument", call);
  else if (why == ASY_NO_TASK)
    lua_pushfstring(L, "%s cannot wait outside of a task: call it from a function that "
                       "asyncio.run or asyncio.create_task runs", call);
  else if (why == ASY_STRANGE_CORO)
    lua_pushfstring(L, "%s cannot wait in a coroutine that the standard coroutine library resumes: "
                       "create and resume it with asyncio.coroutine, or run it with asyncio.await",
                    call);
  else {
    push_obstacle(L, top);
    if (lua_isnil(L, -1))
      lua_pushfstring(L, "%s cannot wait here: a C function that Lua cannot suspend is in the way",
                      call);
    else
      lua_pushfstring(L, "%s cannot wait inside %s, which Lua cannot suspend: await before or after it",
                      call, lua_tostring(L, -1));
  }
  asy_error_push(L, ASY_ERROR, "%s", lua_tostring(L, -1));
  lua_error(L);
#if defined(__GNUC__)
  __builtin_unreachable();
#endif
}
