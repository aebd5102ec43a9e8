/*
** stats.c - what a loop has done since it was made, in numbers.
*/
#include "core/loop.h"

#include "open.h"

static void set_count(lua_State *L, const char *key, uint64_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, 2, key);
}

static void set_seconds(lua_State *L, const char *key, uint64_t ns) {
  lua_pushnumber(L, (lua_Number)ns / NS_PER_S);
  lua_setfield(L, 2, key);
}

/// What it has done since it was made, in numbers, which cost nothing. Seconds and bytes:
//
// `turns`, and in them `steps`: of tasks, calls, what streams do; `longest_step`, in which nothing else could run; `lag`,
// for how long the last turns kept it from hearing what had happened, and `max_lag`, the most; `idle`, for how long it
// has waited for something to happen, and `uptime`, since it was made. The clock of these is the one of
// `slow_callback_duration`: it moves in steps of 4 ms on Linux, unless that is below 0.04 s.
//
// `tasks`, `streams`, `timers` and `jobs` (what threads do for it): those that there are now; `tasks_made`;
// `bytes_in` and `bytes_out` of streams and datagrams, under TLS those of the wire; `memory`: that of this Lua state.
// @function Loop:stats
// @treturn table
// @usage
// local loop = asyncio.get_running_loop()
// local tasks = {}
// for i = 1, 10 do tasks[i] = asyncio.create_task(asyncio.sleep, 0) end
// print(loop:stats().tasks) --> 11
// asyncio.gather(table.unpack(tasks))
// local stats = loop:stats()
// print(stats.tasks, stats.steps > 20, stats.longest_step < 60) --> 1  true  true
static int loop_stats(lua_State *L) {
  const Loop *loop = asy_checkloop(L, 1);
  lua_settop(L, 1);
  lua_createtable(L, 0, 16);
  const Counts *c = &loop->counts;
  set_count(L, "turns", c->turns);
  set_count(L, "steps", c->steps + (uint64_t)(STEPS_PER_POLL - loop->clock.steps));
  set_seconds(L, "longest_step", c->longest);
  set_seconds(L, "lag", c->lag);
  set_seconds(L, "max_lag", c->max_lag);
  set_seconds(L, "idle", c->idle);
  set_seconds(L, "uptime", uv_hrtime() - c->began);
  set_count(L, "tasks", c->tasks);
  set_count(L, "tasks_made", c->tasks_made);
  set_count(L, "streams", c->streams);
  set_count(L, "timers", (uint64_t)loop->timers.n);
  set_count(L, "jobs", (uint64_t)loop->jobs);
  set_count(L, "bytes_in", c->bytes_in);
  set_count(L, "bytes_out", c->bytes_out);
  set_count(L, "memory",
            (uint64_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (uint64_t)lua_gc(L, LUA_GCCOUNTB));
  return 1;
}

static const luaL_Reg methods[] = {{"stats", loop_stats}, {NULL, NULL}};

void asy_open_stats(lua_State *L) { asy_newclass(L, ASY_LOOP, "asyncio.Loop", methods, NULL); }
