/*
** hunt.c - garbage is collected in slices after a failure that nobody looked at, so that it is reported soon.
*/
#include "core/observer.h"

#define HUNT_SLICE 1000000         /* the longest run of collector steps, ns */
#define HUNT_PAUSE 9000000         /* the time left to others between two of them, ns */
#define HUNT_CYCLES 2
#define HUNT_MAX_KB 51200          /* larger heaps are hunted through in steps only ... */
#define HUNT_SLICES 500            /* ... and so many of them for a cycle at most */
#define HUNT_FIRST 20000000        /* the first cycle begins so long after the failure, ns: the last ... */
#define HUNT_NEXT NS_PER_S         /* references may go a little later; the next one so long after it */

/* In generational mode steps see young objects only, and never end a cycle: a whole collection, then.
** Asking for the mode is setting it; entering it again collects everything. False in the other mode. */
static bool collect_generational(lua_State *L) {
  if (lua_gc(L, LUA_GCINC, 0, 0, 0) != LUA_GCGEN) return false;
  lua_gc(L, LUA_GCGEN, 0, 0);
  asy_gcstep(L); /* runs the finalisers */
  return true;
}

void asy_hunt(lua_State *L, Loop *loop) {
  uint64_t now = uv_hrtime();
  if (now < loop->hunt.at) return;
  if (!lua_gc(L, LUA_GCISRUNNING)) {
    loop->hunt.cycles = 0;
    return;
  }
  bool cycle_done = lua_gc(L, LUA_GCCOUNT) < HUNT_MAX_KB && collect_generational(L);
  while (!cycle_done && uv_hrtime() - now < HUNT_SLICE) cycle_done = asy_gcstep(L);
  if (++loop->hunt.slices > HUNT_SLICES) cycle_done = true;
  if (cycle_done) loop->hunt.slices = 0;
  loop->hunt.cycles -= cycle_done;
  loop->hunt.at = uv_hrtime() + (cycle_done ? HUNT_NEXT : HUNT_PAUSE);
  if (loop->watched) observers_collected(loop, now);
}

void loop_hunt(Loop *loop) {
  uint64_t first = uv_hrtime() + HUNT_FIRST;
  if (!loop->hunt.cycles || loop->hunt.at > first) loop->hunt.at = first;
  loop->hunt.cycles = HUNT_CYCLES;
}
