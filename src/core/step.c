/*
** step.c - the only place that resumes a task's coroutine: a step, and how a task ends.
*/
#include "core/step.h"

#include <stdio.h>

#include "base/probe.h"
#include "core/cancel.h"
#include "core/context.h"
#include "core/error.h"
#include "core/observer.h"
#include "core/report.h"
#include "core/scopes.h"
#include "core/spare.h"
#include "core/watch.h"

/* Ends */

/* What a failed body's error means. stack: ..., error */
static FutureState failure(lua_State *L, Loop *loop, Task *t) {
  if (asy_isinstance(L, -1, ASY_CANCELLED)) return FUTURE_CANCELLED;
  if (asy_isinstance(L, -1, ASY_KEYBOARD_INTERRUPT)) {
    t->future.looked = true;
    t->broken = true;
    lua_pushvalue(L, -1);
    asy_loop_fatal(L, loop);
  }
  return FUTURE_ERROR;
}

/* A task is about to end. Should memory run out before it has, `again` tries it anew. */
static void begin_end(Loop *loop, Task *t, void (*again)(lua_State *, Loop *, Ready *)) {
  list_prepend(&loop->ready, &t->ready.link);
  t->ready.run = again;
}

/* stack: ..., task, value → ..., task; it has ended */
static void end_task(lua_State *L, Loop *loop, Task *t, FutureState state, bool packed) {
  asy_future_settle(L, loop->rt, &t->future, -2, state, packed);
  asy_assert(!list_linked(&t->waiter.link) && !t->timer.place);
  t->phase = TASK_ENDED;
  t->requests = t->forwarded = 0;
  list_remove(&t->todo);
  if (t->scopes || !list_empty(&t->guards)) asy_scopes_forget(L, loop, t);
  if (t->role) t->role->ended(L, t);
  if (loop->watched) asy_observers_ended(L, loop, t);
  asy_release_in(L, loop, ASY_HELD, t->slot);
  loop->counts.tasks--;
  t->loop = NULL;
  list_remove(&t->ready.link);
}

/* Its coroutine is dead now, to whoever has it; the task lets go of it. stack: ..., task */
static void leave_coroutine(lua_State *L, Loop *loop, Task *t) {
  lua_settop(t->co, 0);
  if (!t->own_coro) return;
  if (loop->reuse) asy_spare_keep(L, loop);
  lua_pushnil(L);
  lua_setiuservalue(L, -2, TASK_UV_CORO);
}

/* The body has returned; its value is on the coroutine's stack. */
static void task_finish(lua_State *L, Loop *loop, Ready *self) {
  Task *t = asy_container(self, Task, ready);
  FutureState state = FUTURE_RESULT;
  begin_end(loop, t, task_finish);
  lua_rawgeti(L, ASY_HELD, t->slot);
  lua_pushvalue(t->co, -1);
  lua_xmove(t->co, L, 1);
  if (t->failed)
    state = failure(L, loop, t);
  else if (t->own_request) {
    lua_pop(L, 1);
    asy_cancel_take(L, t);
    state = FUTURE_CANCELLED;
  } else if (loop->debug)
    asy_cancel_returned(L, loop, t, -2);
  end_task(L, loop, t, state, state == FUTURE_RESULT && t->packed);
  leave_coroutine(L, loop, t);
  lua_pop(L, 1);
}

/* The coroutine can't go on: strangers resumed or closed it, or it yielded to the loop. */
static void task_break(lua_State *L, Loop *loop, Ready *self) {
  Task *t = asy_container(self, Task, ready);
  bool yielded = t->phase == TASK_RUNNING;
  list_remove(&t->waiter.link);
  begin_end(loop, t, task_break);
  asy_task_push(L, t);
  asy_error_push(L, ASY_ERROR, yielded ? "the task called coroutine.yield outside of a coroutine of its own: "
                                         "to give way, call asyncio.sleep(0)"
                                       : "the task's coroutine was resumed or closed by something else");
  if (yielded) {
    asy_traceback(L, t->co, 0);
    lua_setfield(L, -2, "traceback");
  }
  if (lua_status(t->co) == LUA_YIELD || !asy_has_frames(t->co)) asy_killthread(t->co, L);
  t->own_coro = false;
  end_task(L, loop, t, FUTURE_ERROR, false);
  lua_pop(L, 1);
}

/* A task cancelled before its first step never runs. */
static void task_stillborn(lua_State *L, Loop *loop, Task *t) {
  begin_end(loop, t, asy_task_step);
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_getfield(L, -1, "requests");
  lua_rawgeti(L, -1, 1);
  lua_replace(L, -3);
  lua_pop(L, 1); /* task, request */
  end_task(L, loop, t, FUTURE_CANCELLED, false);
  if (t->own_coro) leave_coroutine(L, loop, t);
  lua_pop(L, 1);
}

/* Steps */

static void report_slow(lua_State *L, Loop *loop, Task *t, uint64_t ns) {
  char took[SLOW_TEXT], text[2 * SLOW_TEXT];
  if (!loop_was_slow(loop, ns, took)) return;
  snprintf(text, sizeof text, "a task held the loop for %s%s", took, loop->debug ? "" : SLOW_HINT);
  asy_task_push(L, t);
  asy_watch_push(L, loop);
  asy_report(L, loop, (Report){.message = text, .key = "task", .object = -2, .source = lua_tostring(L, -1)});
  lua_pop(L, 2);
}

static bool resumable(Task *t) {
  if (t->phase != TASK_NEW) return lua_status(t->co) == LUA_YIELD;
  return asy_is_unstarted(t->co);
}

/* lua_resume, with the task's context as the current one: it may set another. */
static int resume_in_context(lua_State *L, Task *t, Runtime *rt, int n) {
  asy_task_push(L, t);
  lua_getiuservalue(L, -1, TASK_UV_CONTEXT);
  asy_context_swap(L, rt); /* stack: ..., task, former context */
  int status = lua_resume(t->co, L, n, &n);
  asy_context_swap(L, rt);
  lua_setiuservalue(L, -2, TASK_UV_CONTEXT);
  lua_pop(L, 1);
  return status;
}

/* The first ContextVar of all was set in this step: what it set is the task's. */
static void keep_context(lua_State *L, Task *t, Runtime *rt) {
  asy_task_push(L, t);
  lua_pushnil(L);
  asy_context_swap(L, rt);
  lua_setiuservalue(L, -2, TASK_UV_CONTEXT);
  lua_pop(L, 1);
}

/* Resumes the task's coroutine with n arguments; what it yields is nothing. */
static int resume(lua_State *L, Task *t, Runtime *rt, int n) {
  if (rt->contexts) return resume_in_context(L, t, rt, n);
  int status = lua_resume(t->co, L, n, &n);
  if (rt->contexts) keep_context(L, t, rt);
  return status;
}

/* Somebody looks on, maybe only since, or until, the middle of a step. */
ASY_COLD static uint8_t begin_watched(Loop *loop, Task *t) {
  if (loop->debug) asy_watch_begin(loop, t->co, asy_cancel_note); /* before SIGINT could set a hook there */
  observers_begins(loop, t);
  return loop->watched;
}

ASY_COLD static void stop_watched(lua_State *L, Loop *loop, Task *t, uint8_t before) {
  asy_observers_stops(L, loop, t);
  if (!(before & WATCHED_DEBUG)) return;
  asy_watch_end(loop, t->co);
  if (lua_status(t->co) == LUA_YIELD) asy_cancel_went_on(L, loop, t);
}

void asy_task_step(lua_State *L, Loop *loop, Ready *self) {
  Task *t = asy_container(self, Task, ready);
  Runtime *rt = loop->rt;
  int n = 0, status;
  if (!resumable(t)) {
    if (t->phase == TASK_WOKEN && t->code != ASY_WOKEN_CANCELLED && t->kind->giveback) t->kind->giveback(L, t);
    task_break(L, loop, self);
    return;
  }
  if (t->phase == TASK_NEW) {
    if (asy_cancel_due(L, t)) {
      task_stillborn(L, loop, t);
      return;
    }
    n = lua_gettop(t->co) - 1;
  }
  uint8_t watched = loop->watched;
  if (watched) watched = begin_watched(loop, t);
  rt->current = t;
  t->top = t->co;
  t->budget = ASY_BUDGET;
  t->phase = TASK_RUNNING;
  ASY_PROBE1(step, t->number);
  if (t->broken) asy_interrupt_arm(rt, t->parked ? t->parked : t->co);
  status = resume(L, t, rt, n);
  rt->current = NULL;
  if (rt->armed) interrupt_disarm(rt);
  if (watched | loop->watched) stop_watched(L, loop, t, watched);
  uint64_t slow = loop_step_ended(loop);
  if (slow) report_slow(L, loop, t, slow);
  if (ASY_LIKELY(status == LUA_YIELD && t->phase != TASK_RUNNING)) return;
  if (status == LUA_YIELD) {
    task_break(L, loop, self);
    return;
  }
  if (status != LUA_OK) { /* the body's own frame ran out of memory or stack */
    t->failed = true;
    t->own_coro = false;
    lua_xmove(t->co, L, 1);
    lua_settop(t->co, 0); /* its stack may be full */
    lua_xmove(L, t->co, 1);
  }
  task_finish(L, loop, self);
}
