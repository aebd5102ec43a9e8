/*
** clock.c - the loop's time: its clock, real or virtual, deadlines, and what steps are measured with.
*/
#include "core/loop.h"

#include <math.h>

#define COARSE_LIMIT 40000000 /* thresholds below that are measured with the exact clock */

#if defined(CLOCK_MONOTONIC_COARSE)
#define CHEAP_CLOCK CLOCK_MONOTONIC_COARSE /* 7 ns instead of 25, in steps of 4 ms */
#else
#define CHEAP_CLOCK CLOCK_MONOTONIC
#endif

void loop_set_slow(Loop *loop, uint64_t ns) {
  loop->clock.slow_ns = ns;
  loop->clock.source = ns < COARSE_LIMIT ? CLOCK_MONOTONIC : CHEAP_CLOCK;
  loop->clock.step_start = loop->clock.polled_at = loop_step_now(loop);
}

uint64_t loop_now(const Loop *loop) { return loop->clock.is_virtual ? loop->clock.virtual_now : uv_hrtime(); }

uint64_t loop_deadline(const Loop *loop, lua_Number seconds) {
  uint64_t now = loop_now(loop);
  double ns = seconds * NS_PER_S;
  if (!(ns > 0)) return now;
  return ns < 9e18 ? now + (uint64_t)ceil(ns) : TIMER_NEVER;
}

lua_Number asy_checkseconds(lua_State *L, int idx) {
  lua_Number s = lua_tonumber(L, idx);
  if (lua_type(L, idx) != LUA_TNUMBER || s != s) asy_typeerror(L, idx, idx, "number of seconds", "");
  return s;
}
