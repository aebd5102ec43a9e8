/*
** turn.c - the turn of the event loop: what is ready runs, then what waits for the turn's end, then the poll.
**
** Invariants: `rt->running` is the loop on the C stack, if any; while it runs, the registry has
** its held table at hand. A node is in one list at most. A closed loop holds nothing.
*/
#include "core/loop.h"

#include <limits.h>

#include "base/probe.h"
#include "core/argument.h"
#include "core/error.h"
#include "core/process.h"

static inline void run_node(lua_State *L, Loop *loop, Ready *r) {
#if defined(ASY_CHECKS)
  int top = lua_gettop(L);
  r->run(L, loop, r);
  asy_assert(lua_gettop(L) == top && (loop->rt->running == loop || loop->copied) && !loop->rt->current);
#else
  r->run(L, loop, r);
#endif
}

/* Runs the first `max` nodes of a list. */
static void run_list(lua_State *L, Loop *loop, ListNode *list, int max) {
  for (ListNode *node; max-- > 0 && !loop->copied && (node = list_take(list));) {
    Ready *r = asy_container(node, Ready, link);
    loop->clock.steps--;
    run_node(L, loop, r);
  }
}

static bool finished(const Loop *loop) {
  return loop->stopping || loop->fatal || (loop->until && *loop->until);
}

static void turn(lua_State *L, Loop *loop) {
  loop->counts.turns++;
  ASY_PROBE1(turn, loop->id);
  if (loop->timers.n) timer_fire_due(&loop->timers, loop_now(loop));
  if (loop->ready.next->next == &loop->ready && list_empty(&loop->batch))
    run_list(L, loop, &loop->ready, 1);
  else {
    list_splice(&loop->batch, &loop->ready);
    run_list(L, loop, &loop->batch, INT_MAX);
  }
  if (loop->hunt.cycles) asy_hunt(L, loop); /* finalisers run there, and may write: before the turn's end */
  if (!list_empty(&loop->turn_end)) run_list(L, loop, &loop->turn_end, INT_MAX);
}

static int loop_body(lua_State *L) {
  Loop *loop = lua_touserdata(L, 1);
  luaL_checkstack(L, LUA_MINSTACK * 2, NULL);
  lua_rawgeti(L, LUA_REGISTRYINDEX, loop->rt->held_ref); /* ASY_HELD */
  loop_polled(loop);
  for (;;) {
    turn(L, loop);
    if (finished(loop)) return 0;
    if (loop->copied) asy_loop_closed(L, loop);
    if (!loop_is_busy(loop) || !loop_poll_may_wait(loop)) asy_poll(L, loop);
  }
}

/* The poll comes first: what the host saw happen is taken in, and answered, in this turn. */
static int once_body(lua_State *L) {
  Loop *loop = lua_touserdata(L, 1);
  loop_polled(loop);
  if (list_empty(&loop->batch) && list_empty(&loop->turn_end))
    asy_poll(L, loop);
  else
    loop_poll_now(loop); /* a run was broken off in the middle of its batch, or the host has written */
  loop->stopping = true; /* after this turn */
  loop_body(L);
  if (loop->copied) asy_loop_closed(L, loop);
  loop_poll_now(loop); /* new watchers come to the kernel in a poll only: the host may wait outside */
  return 0;
}

/* Calls the body as the loop that runs. */
static void run_as(lua_State *L, Loop *loop, lua_CFunction body, const uint8_t *until, uint64_t limit) {
  Runtime *rt = loop->rt;
  asy_loop_checkopen(L, loop);
  if (rt->running)
    asy_error(L, ASY_ERROR, "an event loop is already running in this Lua state");
  luaL_checkstack(L, 10, NULL);
  lua_pushcfunction(L, body);
  asy_called_within(L);
  asy_held_table(L, loop);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->held_ref);
  asy_loop_push(L, loop);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->loop_ref);
  loop->writing = process_writing();
  loop->dying = asy_is_dying(L);
  rt->running = loop;
  loop->until = until;
  loop->limit = limit;
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->context_ref); /* a run that breaks off may leave another */
  int context = lua_gettop(L);
  lua_pushcfunction(L, body);
  lua_pushlightuserdata(L, loop);
  int status = lua_pcall(L, 1, 0, 0);
  rt->running = NULL;
  rt->current = NULL;
  loop->beneath = false;
  loop->until = NULL;
  loop->stopping = false;
  lua_pushvalue(L, context);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->context_ref);
  lua_pushboolean(L, 0);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->held_ref);
  lua_pushboolean(L, 0);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->loop_ref);
  bool fatal = loop->fatal;
  loop->fatal = false;
  if (status != LUA_OK) lua_error(L);
  if (!fatal) return;
  asy_loop_getfield(L, loop, "fatal");
  lua_pushnil(L);
  asy_loop_setfield(L, loop, "fatal");
  lua_error(L);
}

void asy_loop_run(lua_State *L, Loop *loop, const uint8_t *until) { run_as(L, loop, loop_body, until, TIMER_NEVER); }

void asy_loop_run_once(lua_State *L, Loop *loop, uint64_t limit) { run_as(L, loop, once_body, NULL, limit); }
