/*
** spawn.c - tasks are made and found, and abandoned when their loop closes.
**
** A task is live from its creation until it has ended, and the loop holds it that long. Its waiter
** is in a line, or its timer set, only while it is parked.
*/
#include "core/task.h"

#include <string.h>

#include "core/body.h"
#include "core/context.h"
#include "core/observer.h"
#include "core/spare.h"
#include "core/step.h"
#include "open.h"

static void waiter_wake(Waiter *w, int code) { task_wake(asy_container(w, Task, waiter), code); }

static void on_deadline(Timer *timer) { task_wake(asy_container(timer, Task, timer), 0); }

Task *asy_task_new(lua_State *L, Loop *loop, int n) { return asy_task_new_with(L, loop, n, 0); }

Task *asy_task_new_with(lua_State *L, Loop *loop, int n, size_t more) {
  int fn = lua_gettop(L) - n, task = fn + n + 1, held = task + 1;
  if (n > 5) luaL_checkstack(L, n + 10, "too many arguments");
  if (!lua_isfunction(L, fn)) asy_body_check(L, fn, fn);
  Task *t = lua_newuserdatauv(L, sizeof *t + more, TASK_UV_CONTEXT);
  asy_loop_checkopen(L, loop);
  asy_held_table(L, loop);
  memset(t, 0, sizeof *t);
  future_init(&t->future, loop);
  t->future.task = true;
  t->ready.run = asy_task_step;
  t->waiter.wake = waiter_wake;
  t->timer.fire = on_deadline;
  list_init(&t->ready.link);
  list_init(&t->waiter.link);
  list_init(&t->guards);
  list_init(&t->todo);
  t->loop = loop;
  t->own_coro = !lua_isthread(L, fn);
  lua_rawgeti(L, held, ASY_SLOT_META);
  lua_setmetatable(L, task);
  if (t->own_coro)
    t->co = asy_spare_push(L, loop, held);
  else {
    asy_body_check(L, fn, fn); /* again: while the task was allocated a finaliser may have resumed it */
    t->co = lua_tothread(L, fn);
    lua_pushvalue(L, fn);
  }
  lua_setiuservalue(L, task, TASK_UV_CORO);
  if (t->own_coro)
    lua_pushvalue(L, fn);
  else {
    lua_pushvalue(t->co, 1);
    lua_xmove(t->co, L, 1);
  }
  lua_setiuservalue(L, task, TASK_UV_FUNCTION);
  if (loop->rt->contexts) {
    asy_context_push(L, loop->rt);
    lua_setiuservalue(L, task, TASK_UV_CONTEXT);
  }
  if (n > 10 && !lua_checkstack(t->co, n + 10)) luaL_error(L, "too many arguments");
  lua_pushvalue(L, task);
  t->slot = asy_hold_in(L, loop, held);
  t->number = ++loop->rt->last_task;
  asy_body_load(L, t, fn, n, held);
  lua_copy(L, task, fn);
  lua_settop(L, fn);
  loop_ready(loop, &t->ready);
  if (loop->watched) asy_observers_made(L, loop, t);
  loop->counts.tasks_made++;
  loop->counts.tasks++;
  return t;
}

void asy_task_find(lua_State *L, Loop *loop, uint64_t number) {
  luaL_checkstack(L, 5, NULL);
  asy_held_table(L, loop);
  for (uint32_t i = ASY_SLOT_FIRST; lua_istable(L, -1) && i <= loop->held.n; i++) {
    lua_rawgeti(L, -1, i);
    Task *t = asy_test(L, loop->rt, -1, ASY_TASK);
    if (t && t->number == number && t->phase != TASK_ENDED) {
      lua_replace(L, -2);
      return;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  lua_pushnil(L);
}

bool asy_tasks_live(lua_State *L, Loop *loop) {
  bool found = false;
  luaL_checkstack(L, 5, NULL);
  asy_held_table(L, loop);
  for (uint32_t i = ASY_SLOT_FIRST; !found && lua_istable(L, -1) && i <= loop->held.n; i++) {
    lua_rawgeti(L, -1, i);
    Task *t = asy_test(L, loop->rt, -1, ASY_TASK);
    found = t && t->phase != TASK_ENDED;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return found;
}

/* A loop is made, and closed */

/* Fills the reserved slots of a new loop's held table. */
static void prepare_tasks(lua_State *L, int idx) {
  lua_newtable(L);
  lua_rawseti(L, idx, ASY_SLOT_SPARE);
  asy_body_push(L);
  lua_rawseti(L, idx, ASY_SLOT_BODY);
  asy_pushmeta(L, asy_runtime(L), ASY_TASK);
  lua_rawseti(L, idx, ASY_SLOT_META);
}

/* The task leaves its line, gives back what it was woken with, and never runs again. stack: ..., task */
static void abandon(lua_State *L, Loop *loop, Task *t) {
  TaskPhase phase = (TaskPhase)t->phase;
  t->phase = TASK_ENDED;
  loop->counts.tasks--;
  list_remove(&t->ready.link);
  list_remove(&t->todo);
  timer_cancel(&loop->timers, &t->timer);
  if (phase == TASK_PARKED)
    t->kind->abort(L, t);
  else if (phase == TASK_WOKEN && t->kind->giveback && t->code != ASY_WOKEN_CANCELLED)
    t->kind->giveback(L, t);
  list_remove(&t->waiter.link);
  while (list_take(&t->guards)) continue;
  if (t->role && t->role->abandoned) t->role->abandoned(t);
  t->loop = NULL;
}

/* When its loop closes: never raises. idx: the held table */
static void abandon_tasks(lua_State *L, Loop *loop, int idx) {
  for (uint32_t i = ASY_SLOT_FIRST; i <= loop->held.n; i++) {
    lua_rawgeti(L, idx, i);
    Task *t = asy_test(L, loop->rt, -1, ASY_TASK);
    if (t && t->slot == i && t->phase != TASK_ENDED) abandon(L, loop, t);
    lua_pop(L, 1);
  }
}

void asy_open_task(lua_State *L) {
  static const LoopHooks hooks = {.made = prepare_tasks, .leave = abandon_tasks};
  runtime_on_loop(asy_runtime(L), &hooks);
}
