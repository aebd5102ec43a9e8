/*
** park.c - the only place that suspends a task: parking, giving way, sleeping.
*/
#include "core/task.h"

#include "base/probe.h"
#include "core/cancel.h"
#include "core/error.h"
#include "core/impasse.h"
#include "open.h"

Task *asy_current_or_null(lua_State *L) {
  return asy_current_or_null_in(L, ASY_RUNTIME(L));
}

Task *asy_current(lua_State *L) {
  Task *t = ASY_RUNTIME(L)->current;
  if (ASY_LIKELY(t && t->top == L && lua_isyieldable(L))) return t;
  asy_impasse(L, !t ? ASY_NO_TASK : t->top != L ? ASY_STRANGE_CORO : ASY_NO_YIELD, t ? t->top : NULL);
}

/* Parking */

/* Resumed by somebody else than the step: the task still waits, and nothing it waits for has come. */
int asy_resumed_by_stranger(lua_State *L) {
  return asy_error(L, ASY_ERROR,
                   "a coroutine that waits inside its task was resumed by something else");
}

/* ctx: the runtime, which lives as long as the state. Whoever resumes, the coroutine goes on only if
** the task that runs is the one that parked here. */
static int park_resumed(lua_State *L, int status, lua_KContext ctx) {
  Task *t = ((Runtime *)ctx)->current;
  (void)status;
  if (!t || t->parked != L || t->top != L) return asy_resumed_by_stranger(L);
  t->parked = NULL;
  if (t->code == ASY_WOKEN_CANCELLED) return asy_task_raise(L, t);
  return t->kind->finish(L, t);
}

/* The rest of asy_park: t->kind says how it waits. */
static int park(lua_State *L, Task *t) {
  asy_assert(t->phase == TASK_RUNNING && t->loop->rt->current == t && t->top == L);
  t->code = 0;
  t->parked = L;
  t->asked = false;
  t->phase = TASK_PARKED;
  if ((t->requests || t->broken) &&
      (t->broken ? asy_cancel_drop(L, t) : asy_cancel_due(L, t) && asy_cancel_tell(L, t))) {
    t->phase = TASK_RUNNING;
    t->parked = NULL;
    return asy_task_raise(L, t);
  }
  ASY_PROBE2(park, t->number, t->kind); /* that begins with a pointer to its name */
  return lua_yieldk(L, 0, (lua_KContext)t->loop->rt, park_resumed);
}

/* What the task's user value holds: the value at idx, or nothing for 0. */
static void set_anchor(lua_State *L, Task *t, int idx) {
  asy_held_table(L, t->loop);
  lua_rawgeti(L, -1, t->slot);
  if (idx)
    lua_pushvalue(L, idx);
  else
    lua_pushnil(L);
  lua_setiuservalue(L, -2, FUTURE_UV_VALUE);
  lua_pop(L, 2);
  t->anchored = idx != 0;
}

int asy_park(lua_State *L, Task *t, const WaitKind *kind, void *on) {
  t->kind = kind;
  t->on = on;
  if (t->anchored) set_anchor(L, t, 0);
  return park(L, t);
}

int asy_park_on(lua_State *L, Task *t, const WaitKind *kind, void *on, int idx) {
  t->kind = kind;
  t->on = on;
  set_anchor(L, t, idx);
  return park(L, t);
}

const void *task_woken_by_on(const Task *t, int i) { return i == 0 ? t->on : NULL; }

bool task_waits_for_us(const Task *t) {
  (void)t;
  return false;
}

/* Giving way: the task goes to the end of the ready list */

static int yield_finish(lua_State *L, Task *t) {
  lua_CFunction again = t->again;
  return again ? again(L) : lua_gettop(L) - 1;
}

static Abort yield_abort(lua_State *L, Task *t) {
  (void)L;
  list_remove(&t->ready.link);
  return ASY_DETACHED;
}

static const WaitKind YIELD = {.name = "give way", .finish = yield_finish, .abort = yield_abort};

int asy_give_way(lua_State *L, Task *t, lua_CFunction again) {
  t->again = again;
  loop_ready(t->loop, &t->ready);
  return asy_park(L, t, &YIELD, NULL);
}

/* Sleeping */

static int sleep_finish(lua_State *L, Task *t) {
  (void)t;
  return lua_gettop(L) - 1;
}

static Abort sleep_abort(lua_State *L, Task *t) {
  (void)L;
  timer_cancel(&t->loop->timers, &t->timer);
  return ASY_DETACHED;
}

static const WaitKind SLEEP = {.name = "sleep", .finish = sleep_finish, .abort = sleep_abort};

/// Suspends the current task; never for less than it says.
// `sleep(0)` gives way for one turn of the loop.
// @function sleep
// @tparam number delay seconds
// @param ... what it returns
// @return the values after the delay
static int task_sleep(lua_State *L) {
  lua_Number s = lua_tonumber(L, 1);
  if (lua_type(L, 1) != LUA_TNUMBER || s != s) asy_checkseconds(L, 1); /* raises */
  Task *t = asy_current(L);
  if (s <= 0) return asy_give_way(L, t, NULL);
  if (!timer_set(&t->loop->timers, &t->timer, loop_deadline(t->loop, s)))
    return asy_nomemory(L);
  return asy_park(L, t, &SLEEP, NULL);
}

int asy_spend(lua_State *L) {
  Task *t = asy_current_or_null(L);
  lua_settop(L, 1);
  return t && task_spent(t) ? asy_give_way(L, t, NULL) : 0;
}

/* The same for a function that needs a task which can wait, whether it has to or not: raises elsewhere. */
static int spend_in_task(lua_State *L) {
  Task *t = asy_current(L);
  lua_settop(L, 1);
  return task_spent(t) ? asy_give_way(L, t, NULL) : 0;
}

static const luaL_Reg functions[] = {
    {"sleep", task_sleep}, {"spend", asy_spend}, {"spend_in_task", spend_in_task}, {NULL, NULL}};

/* stack: module */
void asy_open_park(lua_State *L) { asy_setfuncs(L, functions); }
