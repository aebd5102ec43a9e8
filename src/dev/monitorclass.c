/*
** monitorclass.c - monitors and meters as Lua sees them.
*/
#include "core/argument.h"
#include "core/error.h"
#include "dev/meter.h"
#include "dev/monitor.h"
#include "dev/survey.h"
#include "open.h"

/* monitor_begin(loop, answerer, path) → the path of the process's socket. answerer(loop, word, path) does what is asked for
** that is the Lua layer's: a trace. */
static int monitor_begin(lua_State *L) {
  char path[MONITOR_PATH] = "";
  Loop *loop = asy_checkopenloop(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  const char *where = luaL_optstring(L, 3, "");
  lua_settop(L, 3);
  lua_pushvalue(L, 2);
  asy_loop_setfield(L, loop, "answerer");
  asy_loop_checkopen(L, loop);
  asy_survey_begin(L, loop, where);
  monitor_path(path);
  lua_pushstring(L, path);
  return 1;
}

/* monitor_end(loop) */
static int monitor_end(lua_State *L) {
  survey_end(asy_checkloop(L, 1));
  return 0;
}

/* monitor_path() → of the process's socket; nil: there is none */
static int path_of_monitor(lua_State *L) {
  char path[MONITOR_PATH];
  if (monitor_path(path))
    lua_pushstring(L, path);
  else
    lua_pushnil(L);
  return 1;
}

static bool measure(Loop *loop, bool on) {
  if (on == loop->measured) return true;
  if (!on)
    meter_leave(loop->rt);
  else if (!meter_want(loop->rt))
    return false;
  loop->measured = on;
  return true;
}

/// Has the times of tasks measured, or no longer: what `Task:stats` tells. That costs some 0.2 µs a step. It goes
// for all loops of the Lua state, while any of them has it so, or `asyncio top` looks at one.
// @function Loop:measure_tasks
// @tparam boolean on
static int loop_measure_tasks(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  bool on = asy_checkboolean(L, 2);
  asy_loop_checkopen(L, loop);
  if (!measure(loop, on)) return asy_nomemory(L);
  return 0;
}

/// For how long it has run (`busy`), was ready and waited for its turn (`scheduled`), and waited for something else
// (`idle`), in seconds since it was made, or since tasks are measured; and its `steps`. Measured while somebody wants to
// know: `Loop:measure_tasks`, `Runner{measure_tasks = true}`, `asyncio top`.
// @function Task:stats
// @treturn ?table nil: nothing is measured, or it has ended
// @usage
// asyncio.get_running_loop():measure_tasks(true)
// local task = asyncio.create_task(function()
//   asyncio.sleep(0.05)
//   asyncio.sleep(0.05)
// end)
// asyncio.sleep(0.07)
// local stats = task:stats()
// print(stats.steps, stats.idle > 0) --> 2  true
// asyncio.await(task)
static int task_stats(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  const Task *t = asy_self(L, rt, ASY_TASK, "asyncio.Task");
  TaskTimes times;
  if (t->phase == TASK_ENDED || !meter_read(rt, t, &times)) {
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, 0, 4);
  lua_pushnumber(L, (lua_Number)times.busy / NS_PER_S);
  lua_setfield(L, -2, "busy");
  lua_pushnumber(L, (lua_Number)times.scheduled / NS_PER_S);
  lua_setfield(L, -2, "scheduled");
  lua_pushnumber(L, (lua_Number)times.idle / NS_PER_S);
  lua_setfield(L, -2, "idle");
  lua_pushinteger(L, (lua_Integer)times.steps);
  lua_setfield(L, -2, "steps");
  return 1;
}

static void part(Loop *loop) {
  survey_end(loop);
  measure(loop, false);
}

static void in_child(Loop *loop, bool live) {
  survey_in_child(loop, live);
  loop->measured = false; /* a child has no observers */
}

static const luaL_Reg functions[] = {{"monitor_begin", monitor_begin},
                                     {"monitor_end", monitor_end},
                                     {"monitor_path", path_of_monitor},
                                     {NULL, NULL}};

static const luaL_Reg loop_methods[] = {{"measure_tasks", loop_measure_tasks}, {NULL, NULL}};
static const luaL_Reg task_methods[] = {{"stats", task_stats}, {NULL, NULL}};

/* stack: module */
void asy_open_monitor(lua_State *L) {
  static const LoopHooks hooks = {.part = part, .in_child = in_child};
  runtime_on_loop(asy_runtime(L), &hooks);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", loop_methods, NULL);
  asy_newclass(L, ASY_TASK, "asyncio.Task", task_methods, NULL);
}
