/*
** shieldclass.c - what asyncio.shielded and other scopes of the Lua layer ask of a task's shields.
*/
#include "core/shielded.h"

#include "core/cancel.h"
#include "core/error.h"
#include "open.h"

static Task *check_task(lua_State *L) { return asy_check(L, ASY_RUNTIME(L), 1, ASY_TASK, "asyncio.Task"); }

/* Opens one. → its number */
static int task_shield(lua_State *L) {
  Task *t = check_task(L);
  lua_settop(L, 1);
  lua_pushinteger(L, (lua_Integer)asy_shield_open(L, t, 1));
  return 1;
}

/* args: task, number. It holds nothing back any more; what is due now is delivered. */
static int task_unshield(lua_State *L) {
  Task *t = check_task(L);
  lua_Integer number = luaL_checkinteger(L, 2);
  if (t->phase == TASK_ENDED) return 0;
  asy_shield_close(L, t, 1, number);
  asy_cancel_release(L, t);
  return 0;
}

/* → how many requests it has not got yet */
static int task_undelivered(lua_State *L) {
  lua_pushinteger(L, check_task(L)->requests);
  return 1;
}

/* → whether a shield of it is open */
static int task_is_shielded(lua_State *L) {
  const Task *t = check_task(L);
  lua_pushboolean(L, t->phase != TASK_ENDED && t->shield);
  return 1;
}

static const luaL_Reg methods[] = {{"_shield", task_shield},
                                   {"_unshield", task_unshield},
                                   {"_is_shielded", task_is_shielded},
                                   {"_undelivered", task_undelivered},
                                   {NULL, NULL}};

/* stack: module */
void asy_open_shield_class(lua_State *L) {
  asy_newclass(L, ASY_TASK, "asyncio.Task", methods, NULL);
}
