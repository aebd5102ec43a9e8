/*
** debug.c - debug mode, and what the call graph is made of.
**
** The watch is a hook on the coroutine of the step under way: it is called every HOOK_COUNT
** instructions and when a function returns (so that a C function that blocked is still there to be
** seen), and takes the traceback once the step has been slow. Coroutines that are made meanwhile inherit
** it; it takes itself off one that runs outside of a watched step.
*/
#include "core/debug.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "sync/lock.h"
#include "core/report.h"

#define HOOK_MASK (LUA_MASKCOUNT | LUA_MASKRET)
#define HOOK_COUNT 1000

/* Where things happened */

void asy_debug_note(lua_State *L, int idx, const char *key, int level) {
  luaL_checkstack(L, 5, NULL);
  idx = lua_absindex(L, idx);
  luaL_traceback(L, L, NULL, level);
  asy_future_extras(L, idx, true);
  lua_insert(L, -2);
  lua_setfield(L, -2, key);
  lua_pop(L, 1);
}

char *asy_debug_site(lua_State *L, const Loop *loop) {
  if (!loop->debug) return NULL;
  luaL_traceback(L, L, NULL, 1);
  char *site = asy_strdup(lua_tostring(L, -1));
  lua_pop(L, 1);
  return site;
}

const char *asy_debug_join(lua_State *L, const char *traceback, const char *heading, const char *made) {
  if (!made)
    lua_pushstring(L, traceback);
  else if (traceback)
    lua_pushfstring(L, "%s\n%s:\n%s", traceback, heading, made);
  else
    lua_pushfstring(L, "%s:\n%s", heading, made);
  return lua_tostring(L, -1);
}

/* The coroutine that waits in the drive where `co` stands, or NULL (see coro.c). */
static lua_State *inner_of(lua_State *co) {
  lua_Debug ar;
  if (!lua_getstack(co, 0, &ar) || !lua_checkstack(co, 1) || !lua_getlocal(co, &ar, 1)) return NULL;
  lua_State *inner = lua_tothread(co, -1);
  lua_pop(co, 1);
  return inner;
}

void asy_debug_traceback(lua_State *L, Task *t) {
  if (t->phase == TASK_RUNNING || !t->parked) {
    luaL_traceback(L, t->co, NULL, t->phase == TASK_RUNNING && t->co == L ? 1 : 0);
    return;
  }
  luaL_traceback(L, t->co, NULL, 0);
  for (lua_State *co = t->co; co != t->parked && (co = inner_of(co));) {
    luaL_traceback(L, co, NULL, 0);
    lua_pushfstring(L, "%s\n%s", lua_tostring(L, -1), lua_tostring(L, -2));
    lua_replace(L, -3);
    lua_pop(L, 1);
  }
}

/* The watch */

/* The task's function is about to return, and has caught a cancellation: notes from where. */
static void note_end(lua_State *L, Task *t, lua_Debug *ar) {
  lua_Debug caller;
  if (!lua_getstack(L, 1, &caller) || lua_getstack(L, 2, &caller)) return; /* 1: the task's body */
  lua_getinfo(L, "Sl", ar);
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_pushfstring(L, "\t%s:%d", ar->short_src, ar->currentline);
  lua_setfield(L, -2, "ended_at");
  lua_pop(L, 2);
}

static void on_watch(lua_State *L, lua_Debug *ar) {
  Runtime *rt = asy_runtime(L);
  Task *t = rt->current;
  Loop *loop = rt->running;
  if (!rt->watching || !loop) {
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  if (ar->event == LUA_HOOKRET && t && t->co == L && t->cancelling > t->requests) note_end(L, t, ar);
  if (rt->placed || asy_step_now(loop) - loop->step_start <= loop->slow_ns) return;
  rt->placed = true;
  luaL_traceback(L, L, NULL, 0);
  if (t && t->co != L) {
    luaL_traceback(L, t->co, NULL, 0);
    lua_pushfstring(L, "%s\n%s", lua_tostring(L, -2), lua_tostring(L, -1));
  }
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->place_ref);
}

void asy_watch_inner(lua_State *co) {
  if (lua_gethook(co) == NULL) lua_sethook(co, on_watch, HOOK_MASK, HOOK_COUNT);
}

void asy_watch_begin(Loop *loop, lua_State *co) {
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

/* Cancellations that were lost */

/* stack: ..., text; extras at idx: adds heading and value of a field, when it is there */
static void append_field(lua_State *L, int extras, const char *key, const char *heading) {
  if (lua_getfield(L, extras, key) == LUA_TSTRING) {
    const char *text = lua_tostring(L, -2);
    lua_pushfstring(L, "%s%s%s:\n%s", text, *text ? "\n" : "", heading, lua_tostring(L, -1));
    lua_replace(L, -3);
  }
  lua_pop(L, 1);
}

void asy_debug_returned(lua_State *L, Loop *loop, Task *t, int idx) {
  if (t->cancelling <= t->requests) return;
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 10, NULL);
  int top = lua_gettop(L);
  asy_future_extras(L, idx, true);
  lua_pushliteral(L, "");
  append_field(L, top + 1, "cancelled_at", "cancelled at");
  append_field(L, top + 1, "raised_at", "its CancelledError was raised at");
  append_field(L, top + 1, "ended_at", "returned at");
  asy_report(L, loop, (Report){.message = "a task caught its cancellation and returned: it should let the "
                                          "CancelledError pass, or call task:uncancel()",
                               .key = "task", .object = idx, .traceback = lua_tostring(L, -1)});
  lua_settop(L, top);
}

/* The call graph */

/* task_wait(task) → what it waits for: its kind's name, the future it awaits, what that stands for (a list
** or a set of futures), the number of the task that holds the lock; its own number */
static int task_wait(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Task *t = asy_check(L, rt, 1, ASY_TASK, "asyncio.Task");
  uint64_t owner = 0;
  lua_settop(L, 1);
  lua_pushnil(L);
  if (t->phase == TASK_PARKED) {
    lua_pushstring(L, t->kind->name);
    lua_replace(L, 2);
    owner = asy_lock_waited_for(t);
  }
  lua_pushnil(L);
  if (t->phase == TASK_PARKED && t->anchored) {
    lua_getiuservalue(L, 1, FUTURE_UV_VALUE);
    if (asy_tofuture(L, rt, -1)) lua_replace(L, 3);
    lua_settop(L, 3);
  }
  lua_pushnil(L);
  if (!lua_isnil(L, 3)) {
    asy_future_extras(L, 3, false);
    if (lua_istable(L, -1)) {
      lua_getfield(L, -1, "parts");
      lua_replace(L, 4);
    }
    lua_settop(L, 4);
  }
  if (owner)
    lua_pushinteger(L, (lua_Integer)owner);
  else
    lua_pushnil(L);
  lua_pushinteger(L, (lua_Integer)t->number);
  return 5;
}

/* set_parts(future, table): which futures it stands for, as a list or a set: for the call graph */
static int set_parts(lua_State *L) {
  if (!asy_tofuture(L, ASY_RUNTIME(L), 1)) return luaL_typeerror(L, 1, "asyncio.Future");
  lua_settop(L, 2);
  asy_future_extras(L, 1, true);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "parts");
  lua_settop(L, 1);
  return 1;
}

static const luaL_Reg functions[] = {
    {"task_wait", task_wait}, {"set_parts", set_parts}, {NULL, NULL}};

/* stack: module */
void asy_open_debug(lua_State *L) {
  lua_pushboolean(L, 0);
  asy_runtime(L)->place_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  asy_setfuncs(L, functions);
}
