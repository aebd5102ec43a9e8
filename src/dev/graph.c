/*
** graph.c - what the call graph is made of.
*/
#include "open.h"

#include "core/task.h"
#include "sync/lock.h"

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
    owner = lock_waited_for(t);
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
void asy_open_graph(lua_State *L) {
  asy_setfuncs(L, functions);
}
