/*
** graph.c - what the call graph is made of.
*/
#include "dev/graph.h"

#include "core/group.h"
#include "open.h"
#include "sync/lock.h"

void asy_graph_awaited(lua_State *L, const Runtime *rt, Task *t, int idx) {
  if (t->leaving) {
    asy_group_push_members(L, t->leaving);
    return;
  }
  if (!t->anchored || lua_getiuservalue(L, idx, FUTURE_UV_VALUE) == LUA_TNIL) {
    lua_pushnil(L);
    return;
  }
  if (t->kind->several) {
    lua_getiuservalue(L, -1, 1);
    return;
  }
  Future *f = asy_tofuture(L, rt, -1);
  if (f && !f->task && f->shields) lua_getiuservalue(L, -1, FUTURE_UV_SHIELDED);
  if (!f) lua_pushnil(L);
}

/* task_wait(task) → what it waits for: its kind in words, the future it awaits or a list of futures, the
** number of the task that holds the lock; its own number */
static int task_wait(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Task *t = asy_check(L, rt, 1, ASY_TASK, "asyncio.Task");
  uint64_t owner = 0;
  lua_settop(L, 1);
  lua_pushnil(L);
  lua_pushnil(L);
  if (t->phase == TASK_PARKED) {
    asy_task_push_wait(L, t);
    lua_replace(L, 2);
    owner = lock_waited_for(t);
    asy_graph_awaited(L, rt, t, 1);
    lua_replace(L, 3);
    lua_settop(L, 3);
  }
  if (owner)
    lua_pushinteger(L, (lua_Integer)owner);
  else
    lua_pushnil(L);
  lua_pushinteger(L, (lua_Integer)t->number);
  return 4;
}

static const luaL_Reg functions[] = {{"task_wait", task_wait}, {NULL, NULL}};

/* stack: module */
void asy_open_graph(lua_State *L) { asy_setfuncs(L, functions); }
