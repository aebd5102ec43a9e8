/*
** hope.c - a loop whose tasks all wait for what can't come: found where it would wait for ever, and told where the
** run's own task awaits, as a DeadlockError.
**
** Who can be ended from outside (a handle, a kind of waiting, a room that other threads know) says so itself. Who
** doesn't say is taken for hope: so a loop may hang that could be told, but none is told that could go on.
*/
#include "core/hope.h"

#include "core/cancel.h"
#include "core/error.h"
#include "open.h"

static const char words_key =
    0; /* registry: a function of the loop, what its tasks wait for in words */

/* From outside: not in memory of ours. Or it tells soon that it has closed. */
static bool handle_brings(const Handle *h) { return (h->closing && !h->closed) || (h->uv && handle_may_come(h)); }

/* The one that gave hope last stands in front. */
static bool handles_bring(Loop *loop) {
  list_each(node, &loop->handles) {
    if (!handle_brings(asy_container(node, Handle, link))) continue;
    if (node != loop->handles.next) {
      list_remove(node);
      list_prepend(&loop->handles, node);
    }
    return true;
  }
  return false;
}

bool loop_has_hope(Loop *loop) { return loop->jobs || inbox_filled(loop->inbox) || handles_bring(loop); }

/* Threads, signals. */
static bool strangers_call(lua_State *L, const Loop *loop) {
  const Runtime *rt = loop->rt;
  for (int i = 0; i < rt->nhooks; i++)
    if (rt->hooks[i]->may_come && rt->hooks[i]->may_come(L, loop)) return true;
  return false;
}

bool asy_loop_has_hope(lua_State *L, Loop *loop) {
  luaL_checkstack(L, 10, NULL);
  bool found = loop_has_hope(loop) || strangers_call(L, loop);
  asy_held_table(L, loop);
  for (uint32_t i = ASY_SLOT_FIRST; !found && i <= loop->held.n; i++) {
    lua_rawgeti(L, -1, i);
    const Task *t = asy_test(L, loop->rt, -1, ASY_TASK);
    found = t && t->phase == TASK_PARKED && (!t->kind->may_come || t->kind->may_come(t));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return found;
}

/* Pushes the error; where memory is short, with fewer words. */
static void push_error(lua_State *L, const Loop *loop) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &words_key);
  asy_loop_push(L, loop);
  bool told = lua_pcall(L, 1, 1, 0) == LUA_OK && lua_isstring(L, -1) && lua_rawlen(L, -1) > 0;
  asy_error_push(L, ASY_DEADLOCK, "every task waits, and there is nothing that could wake one%s%s",
                 told ? ":\n" : "", told ? lua_tostring(L, -1) : "");
  lua_remove(L, -2);
}

Task *loop_main(const Loop *loop) {
  if (!loop->until) return NULL;
  Future *f = (Future *)(loop->until - offsetof(Future, state));
  return f->task ? (Task *)f : NULL;
}

/* On the virtual clock nobody waits for ever, and real time is given to what takes some (polling.c). */
static bool goes_on(lua_State *L, Loop *loop) {
  if (loop_is_busy(loop) || loop->fatal) return true;
  if (loop->clock.is_virtual)
    return loop->jobs || handles_outside(loop) || timer_next(&loop->timers) != TIMER_NEVER;
  return loop->timers.n || asy_loop_has_hope(L, loop);
}

void asy_deadlock(lua_State *L, Loop *loop) {
  luaL_checkstack(L, 20, NULL);
  int top = lua_gettop(L);
  lua_gc(L, LUA_GCCOLLECT); /* the other end of a stream, say, which nobody has any more */
  if (goes_on(L, loop)) return;
  push_error(L, loop);
  if (!goes_on(L, loop)) {
    Task *t = loop_main(loop);
    if (t && t->phase == TASK_PARKED) asy_task_throw(L, t, lua_gettop(L));
    if (!loop_is_busy(loop)) lua_error(L);
  }
  lua_settop(L, top);
}

/* on_deadlock(fn): fn(loop) says in words what a loop's tasks wait for */
static int on_deadlock(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &words_key);
  return 0;
}

/* may_be_woken(loop) → whether anything can come to it, besides its timers, if the tasks that wait now are all */
static int may_be_woken(lua_State *L) {
  Loop *loop = asy_checkopenloop(L, 1);
  lua_pushboolean(L, asy_loop_has_hope(L, loop));
  return 1;
}

static const luaL_Reg functions[] = {{"on_deadlock", on_deadlock}, {"may_be_woken", may_be_woken}, {NULL, NULL}};

void asy_open_hope(lua_State *L) { asy_setfuncs(L, functions); }
