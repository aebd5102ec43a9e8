/*
** hosted.c - a loop that a host drives, which has a main loop of its own: one turn at a time, and what to wait for
** in between.
*/
#include <math.h>

#include "core/error.h"
#include "core/hope.h"
#include "core/process.h"
#include "core/task.h"
#include "open.h"

static bool has_handles(const Loop *loop) {
  list_each(node, &loop->handles)
    if (handle_may_come(asy_container(node, Handle, link))) return true;
  return false;
}

/* Whether something is to be done at once. */
static bool has_work(const Loop *loop) {
  return loop->stopping || !list_empty(&loop->ready) || !list_empty(&loop->batch) || !list_empty(&loop->turn_end) ||
         inbox_filled(loop->inbox);
}

/* Whether anything can still come. */
static bool has_prospects(lua_State *L, Loop *loop) {
  return has_work(loop) || loop->timers.n || loop->jobs || !list_empty(&loop->guests) || has_handles(loop) ||
         asy_tasks_live(L, loop);
}

/// Makes one turn, for a host that has a main loop of its own: takes in what has happened, and runs what is ready by
// then. Returns true while anything can still come: while there are tasks, timers, calls, open streams, servers and
// signal handlers, output that has not left, threads' jobs. (Not for a `remote` that another thread holds: who has one
// goes on by itself.) Raises in a loop that runs, and where one runs already; between two turns no loop runs. Errors go
// where they go in `run`. Ctrl-C is left to the host. Where nothing can come it doesn't wait, so that
// `while loop:run_once(math.huge) do end` runs a loop to its end.
//
// On the virtual clock nothing is waited for that has no need of real time: the clock goes on to the next timer, or by
// `timeout` where none is sooner.
// @function Loop:run_once
// @tparam[opt=0] number timeout how many seconds it may wait for something to happen; `math.huge`: without limit
// @treturn boolean whether to go on
static int loop_run_once(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  lua_Number timeout = lua_isnoneornil(L, 2) ? 0 : asy_checkseconds(L, 2);
  if (timeout < 0) {
    const char *got = luaL_tolstring(L, 2, NULL);
    asy_argerror(L, 2, lua_pushfstring(L, "number of seconds, 0 or more, expected, got %s", got));
  }
  asy_loop_checkopen(L, loop);
  lua_settop(L, 1);
  bool waits = timeout > 0 && has_prospects(L, loop);
  asy_loop_run_once(L, loop, loop_deadline(loop, waits ? timeout : 0));
  lua_pushboolean(L, loop->open && has_prospects(L, loop));
  return 1;
}

/// The descriptor that a host waits for: readable when the loop has something to take in. libuv's own (an epoll or a
// kqueue); it stays the same. What must not wait for it says `backend_timeout`.
// @function Loop:backend_fd
// @treturn integer
static int loop_backend_fd(lua_State *L) {
  lua_pushinteger(L, uv_backend_fd(&asy_checkopenloop(L, 1)->uv));
  return 1;
}

/* How long libuv would wait, ms; -1: without limit. */
static int poll_limit(Loop *loop) {
  if (has_work(loop)) return 0;
  uv_timer_stop(&loop->tick); /* it bounded an earlier poll; the next one sets it again */
  loop->tick_at = TIMER_NEVER;
  uv_update_time(&loop->uv);
  int ms = uv_backend_timeout(&loop->uv);
  if (ms) return ms;
  loop->writing = process_writing();
  loop_poll_now(loop); /* there were new watchers, which it has now handed to the kernel */
  return has_work(loop) ? 0 : uv_backend_timeout(&loop->uv);
}

/* Seconds until the moment, or so many that were fewer. */
static lua_Number sooner(lua_Number seconds, uint64_t moment, uint64_t now) {
  if (moment == TIMER_NEVER) return seconds;
  lua_Number left = moment > now ? (lua_Number)(moment - now) / NS_PER_S : 0;
  return left < seconds ? left : seconds;
}

/// How long a host may wait for `backend_fd` before it calls `run_once` all the same: until the next timer, not at all
// where something is ready. Asked anew after each turn, and after whatever the host has done to the loop's objects.
// Whose poll takes whole milliseconds rounds up. On the virtual clock these are its seconds, which don't pass while a
// host waits: `loop:run_once(loop:backend_timeout())`.
// @function Loop:backend_timeout
// @treturn ?number seconds; nil: without limit
static int loop_backend_timeout(lua_State *L) {
  Loop *loop = asy_checkopenloop(L, 1);
  lua_Number seconds = HUGE_VAL;
  int ms = poll_limit(loop);
  if (ms >= 0) seconds = (lua_Number)ms / 1000;
  seconds = sooner(seconds, timer_next(&loop->timers), loop_now(loop));
  if (loop->hunt.cycles) seconds = sooner(seconds, loop->hunt.at, uv_hrtime());
  if (seconds < HUGE_VAL)
    lua_pushnumber(L, seconds);
  else
    lua_pushnil(L);
  return 1;
}

static const luaL_Reg methods[] = {{"run_once", loop_run_once},
                                   {"backend_fd", loop_backend_fd},
                                   {"backend_timeout", loop_backend_timeout},
                                   {NULL, NULL}};

void asy_open_hosted(lua_State *L) { asy_newclass(L, ASY_LOOP, "asyncio.Loop", methods, NULL); }
