/*
** stats.c - what a loop has done since it was made, in numbers.
*/
#include "core/loop.h"

#include <string.h>

#include "open.h"

static Stat count(const char *key, uint64_t n) { return (Stat){key, n, false}; }
static Stat time_of(const char *key, uint64_t ns) { return (Stat){key, ns, true}; }

int asy_loop_stats(lua_State *L, const Loop *loop, Stat stats[LOOP_STATS]) {
  const Counts *c = &loop->counts;
  int kib = lua_gc(L, LUA_GCCOUNT); /* -1 in a finaliser */
  uint64_t memory = kib < 0 ? 0 : (uint64_t)kib * 1024 + (uint64_t)lua_gc(L, LUA_GCCOUNTB);
  const Stat all[LOOP_STATS] = {
      count("turns", c->turns),
      count("steps", c->steps + (uint64_t)(STEPS_PER_POLL - loop->clock.steps)),
      time_of("longest_step", c->longest),
      time_of("lag", c->turns - c->lagged <= 1 ? c->lag : 0), /* the turn under way has not polled */
      time_of("max_lag", c->max_lag),
      time_of("busy", c->busy),
      time_of("uptime", uv_hrtime() - c->began),
      count("tasks", c->tasks),
      count("tasks_made", c->tasks_made),
      count("streams", c->streams),
      count("timers", (uint64_t)loop->timers.n),
      count("jobs", (uint64_t)loop->jobs),
      count("bytes_in", c->bytes_in),
      count("bytes_out", c->bytes_out),
      count("memory", memory),
  };
  memcpy(stats, all, sizeof all);
  return kib < 0 ? LOOP_STATS - 1 : LOOP_STATS;
}

/// What it has done since it was made, in numbers, which cost nothing. Seconds and bytes:
//
// `turns`, and in them `steps`: of tasks, calls, what streams do; `longest_step`, in which nothing else could run; `lag`,
// for how long the last turns kept it from hearing what had happened, and `max_lag`, the most; `busy`, for how long
// all turns did, and `uptime`, since it was made: what is not busy waits for something to happen, or doesn't run. The clock of these is the one of
// `slow_callback_duration`: it moves in steps of 4 ms on Linux, unless that is below 0.04 s.
//
// `tasks`, `streams`, `timers` and `jobs` (what threads do for it): those that there are now; `tasks_made`;
// `bytes_in` and `bytes_out` of streams and datagrams, under TLS those of the wire; `memory`: that of this Lua
// state, nil in a finaliser, where Lua doesn't tell it.
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
  Stat stats[LOOP_STATS];
  lua_settop(L, 1);
  lua_createtable(L, 0, LOOP_STATS);
  int n = asy_loop_stats(L, loop, stats);
  for (int i = 0; i < n; i++) {
    if (stats[i].seconds)
      lua_pushnumber(L, (lua_Number)stats[i].value / NS_PER_S);
    else
      lua_pushinteger(L, (lua_Integer)stats[i].value);
    lua_setfield(L, 2, stats[i].key);
  }
  return 1;
}

static const luaL_Reg methods[] = {{"stats", loop_stats}, {NULL, NULL}};

void asy_open_stats(lua_State *L) { asy_newclass(L, ASY_LOOP, "asyncio.Loop", methods, NULL); }
