/*
** watch.c - where a step is slow.
**
** The watch is a hook on the coroutine of the step under way: it is called every HOOK_COUNT
** instructions and when a function returns (so that a C function that blocked is still there to be
** seen), and takes the traceback once the step has been slow. Coroutines that are made meanwhile inherit
** it; it takes itself off one that runs outside of a watched step.
*/
#include "core/watch.h"
#include "core/error.h"
#include "open.h"

#define HOOK_MASK (LUA_MASKCOUNT | LUA_MASKRET)
#define HOOK_COUNT 1000

static void on_watch(lua_State *L, lua_Debug *ar) {
  Runtime *rt = asy_runtime(L);
  Loop *loop = rt->running;
  if (!rt->watching || !loop) {
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  if (ar->event == LUA_HOOKRET && rt->returning) rt->returning(L, ar);
  if (rt->placed || loop_step_now(loop) - loop->clock.step_start <= loop->clock.slow_ns) return;
  rt->placed = true;
  asy_traceback(L, L, 0);
  if (rt->current && rt->watched != L) {
    asy_traceback(L, rt->watched, 0);
    lua_pushfstring(L, "%s\n%s", lua_tostring(L, -2), lua_tostring(L, -1));
  }
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->place_ref);
}

void asy_watch_inner(lua_State *co) {
  if (lua_gethook(co) == NULL) lua_sethook(co, on_watch, HOOK_MASK, HOOK_COUNT);
}

void asy_watch_begin(Loop *loop, lua_State *co, lua_Hook returning) {
  loop->rt->watched = co;
  loop->rt->returning = returning;
  loop->rt->watching = true;
  loop->rt->placed = false;
  asy_watch_inner(co);
}

void asy_watch_end(Loop *loop, lua_State *co) {
  loop->rt->watching = false;
  if (lua_gethook(co) == on_watch) lua_sethook(co, NULL, 0, 0);
}

void asy_watch_push(lua_State *L, const Loop *loop) {
  Runtime *rt = loop->rt;
  if (!rt->placed) {
    lua_pushnil(L);
    return;
  }
  rt->placed = false;
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->place_ref);
  lua_pushboolean(L, 0);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->place_ref);
}

void asy_open_watch(lua_State *L) {
  lua_pushboolean(L, 0);
  asy_runtime(L)->place_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}
