/*
** task.c - tasks: the only place that resumes their coroutines, the only one that suspends them,
** and the whole of cancellation.
**
** A task is live from its creation until it has ended, and the loop holds it that long. Its waiter
** is in a line, or its timer set, only while it is parked. Requests of cancellation queue in
** extras.requests, each its own error object; `requests` counts them. The coroutine's stack is
** [function, message handler, function, arguments...]: the first stays, for tostring.
*/
#include "core/task.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/impasse.h"
#include "core/report.h"
#include "core/watch.h"

#define MAX_SPARE 1024 /* ended coroutines kept for the next tasks (about 1 KB each) */

void asy_task_push(lua_State *L, Task *t) { asy_held_push(L, t->loop, t->slot); }

Task *asy_current_or_null(lua_State *L) {
  return asy_current_or_null_in(L, ASY_RUNTIME(L));
}

Task *asy_current(lua_State *L) {
  Task *t = ASY_RUNTIME(L)->current;
  if (ASY_LIKELY(t && t->top == L && lua_isyieldable(L))) return t;
  asy_impasse(L, !t ? ASY_NO_TASK : t->top != L ? ASY_STRANGE_CORO : ASY_NO_YIELD, t ? t->top : NULL);
}

/* Parking and waking */

void asy_wake(Task *t, int code) {
  list_remove(&t->waiter.link);
  t->code = code;
  t->phase = TASK_WOKEN;
  asy_ready(t->loop, &t->ready);
}

static void waiter_wake(Waiter *w, int code) { asy_wake(asy_container(w, Task, waiter), code); }

static void on_deadline(Timer *timer) { asy_wake(asy_container(timer, Task, timer), 0); }

/* Debug mode: notes in the task's extras where L stands. */
static void note_place(lua_State *L, Task *t, const char *key, int level) {
  luaL_checkstack(L, 2, NULL);
  asy_task_push(L, t);
  asy_debug_note(L, -1, key, level);
  lua_pop(L, 1);
}

/* Pushes the first undelivered request and takes it off the queue. */
static void take_request(lua_State *L, Task *t) {
  luaL_checkstack(L, 6, NULL);
  int top = lua_gettop(L);
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_getfield(L, -1, "requests");
  int list = lua_gettop(L);
  lua_rawgeti(L, list, 1);
  for (int i = 1; i <= t->requests; i++) {
    lua_rawgeti(L, list, i + 1);
    lua_rawseti(L, list, i);
  }
  t->requests--;
  if (t->own_request) t->own_request--;
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
}

int asy_task_raise(lua_State *L, Task *t) {
  take_request(L, t);
  if (t->loop->debug) note_place(L, t, "raised_at", 0);
  return lua_error(L);
}

/* Resumed by somebody else than the step: the task still waits, and nothing it waits for has come. */
static int resumed_by_stranger(lua_State *L) {
  return asy_error(L, ASY_ERROR,
                   "a coroutine that waits inside its task was resumed by something else");
}

/* ctx: the runtime, which lives as long as the state. Whoever resumes, the coroutine goes on only if
** the task that runs is the one that parked here. */
static int park_resumed(lua_State *L, int status, lua_KContext ctx) {
  Task *t = ((Runtime *)ctx)->current;
  (void)status;
  if (!t || t->parked != L || t->top != L) return resumed_by_stranger(L);
  t->parked = NULL;
  if (t->code == ASY_WOKEN_CANCELLED) return asy_task_raise(L, t);
  return t->kind->finish(L, t);
}

/* Tells what a parked task waits for; whether that lets it go at once. It may also have woken it. */
static bool abort_wait(lua_State *L, Task *t) {
  t->in_cancel = true; /* abort may run a function of the Lua layer that cancels in turn; never raises */
  Abort outcome = t->kind->abort(L, t);
  t->in_cancel = false;
  return outcome == ASY_DETACHED && t->phase == TASK_PARKED;
}

/* arg: task (light) */
static int cancel_protected(lua_State *L) {
  asy_task_cancel(L, lua_touserdata(L, 1), 0);
  return 0;
}

/* A request goes on to the task that t is about to wait for. If that fails, t doesn't wait. */
static void pass_on(lua_State *L, Task *t, Task *next) {
  lua_pushcfunction(L, cancel_protected);
  lua_pushlightuserdata(L, next);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return;
  list_remove(&t->waiter.link);
  t->phase = TASK_RUNNING;
  lua_error(L);
}

/* The rest of asy_park: t->kind says how it waits. */
static int park(lua_State *L, Task *t) {
  t->code = 0;
  t->parked = L;
  t->phase = TASK_PARKED;
  if (t->requests) {
    Task *next = t->kind->forward ? t->kind->forward(t) : NULL;
    if (next)
      pass_on(L, t, next);
    else if (abort_wait(L, t)) {
      t->phase = TASK_RUNNING;
      return asy_task_raise(L, t);
    }
  }
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

static const WaitKind YIELD = {"give way", yield_finish, yield_abort, NULL, NULL};

int asy_give_way(lua_State *L, Task *t, lua_CFunction again) {
  t->again = again;
  asy_ready(t->loop, &t->ready);
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

static const WaitKind SLEEP = {"sleep", sleep_finish, sleep_abort, NULL, NULL};

/// Suspends the current task; never for less than it says.
// `sleep(0)` gives way for one turn of the loop.
// @function sleep
// @tparam number delay seconds
// @param ... what it returns
// @return the values after the delay
static int task_sleep(lua_State *L) {
  int isnum;
  lua_Number s = lua_tonumberx(L, 1, &isnum);
  if (!isnum || s != s) asy_checkseconds(L, 1); /* raises */
  Task *t = asy_current(L);
  if (s <= 0) return asy_give_way(L, t, NULL);
  if (!timer_set(&t->loop->timers, &t->timer, asy_deadline(t->loop, s)))
    return luaL_error(L, "not enough memory");
  return asy_park(L, t, &SLEEP, NULL);
}

/* Cancelling */

/* stack: ..., task, request → ..., task; queues it, without a word to anybody. False: it has ended. */
static bool queue_request(lua_State *L, Task *t) {
  if (t->phase != TASK_ENDED && t->loop->debug) asy_debug_note(L, -2, "cancelled_at", 1);
  asy_future_subtable(L, -2, "requests", 1, 0);
  bool live = t->phase != TASK_ENDED; /* a finaliser may have closed its loop, where that doesn't run */
  if (live) {
    if (t->requests == UINT16_MAX) luaL_error(L, "too many cancellations");
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, t->requests + 1);
    t->requests++;
    t->cancelling++;
  }
  lua_pop(L, 3);
  return live;
}

/* Lets a parked task know of its request; the task that it goes on to, if any. */
static Task *deliver_request(lua_State *L, Task *t) {
  if (t->phase != TASK_PARKED || t->in_cancel) return NULL;
  Task *next = t->kind->forward ? t->kind->forward(t) : NULL;
  if (next) return next;
  if (abort_wait(L, t)) asy_wake(t, ASY_WOKEN_CANCELLED);
  return NULL;
}

void asy_task_cancel(lua_State *L, Task *t, int msg) {
  if (msg) msg = lua_absindex(L, msg);
  luaL_checkstack(L, 10, NULL);
  for (Task *next; t && t->phase != TASK_ENDED; t = next) {
    asy_task_push(L, t);
    asy_cancelled_push(L, msg);
    bool queued = queue_request(L, t);
    if (queued && t == t->loop->rt->current) t->own_request = t->requests;
    next = queued ? deliver_request(L, t) : NULL;
    lua_pop(L, 1);
  }
}

void asy_task_request(lua_State *L, Task *t) {
  Task *next = queue_request(L, t) ? deliver_request(L, t) : NULL;
  if (next) asy_task_cancel(L, next, 0);
}

void asy_task_requeue(lua_State *L, Task *t) {
  if (!queue_request(L, t)) return;
  t->cancelling--;
  if (t->own_request) t->own_request++;
  asy_future_extras(L, -1, true);
  lua_getfield(L, -1, "requests");
  lua_rawgeti(L, -1, t->requests);
  for (int i = t->requests; i > 1; i--) {
    lua_rawgeti(L, -2, i - 1);
    lua_rawseti(L, -3, i);
  }
  lua_rawseti(L, -2, 1);
  lua_pop(L, 2);
}

bool asy_task_withdraw(lua_State *L, Task *t, int idx) {
  bool found = false;
  bool committed = t->in_cancel || (t->phase == TASK_WOKEN && t->code == ASY_WOKEN_CANCELLED);
  int kept = 0, own = 0;
  if (!t->requests) return false;
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_getfield(L, -1, "requests");
  for (int i = 1; i <= t->requests; i++) {
    lua_rawgeti(L, -1, i);
    if ((i > 1 || !committed) && (!idx || lua_rawequal(L, -1, idx))) {
      found = true;
      lua_pop(L, 1);
    } else {
      lua_rawseti(L, -2, ++kept);
      if (i == t->own_request) own = kept;
    }
  }
  for (int i = kept + 1; i <= t->requests; i++) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
  t->requests = (uint16_t)kept;
  t->own_request = (uint16_t)own;
  lua_pop(L, 3);
  return found;
}

/* The body of a task */

bool asy_task_trace(lua_State *L) {
  Task *t = asy_runtime(L)->current;
  if (!t || asy_isinterruption(L, 1)) return false;
  lua_settop(L, 1);
  luaL_traceback(L, L, NULL, 1);
  asy_task_push(L, t);
  asy_future_extras(L, -1, true); /* stack: err, traceback, task, extras */
  lua_getfield(L, 4, "inner_error");
  if (lua_rawequal(L, 1, -1) && lua_getfield(L, 4, "inner_traceback") == LUA_TSTRING) {
    lua_pushfstring(L, "%s\n%s", lua_tostring(L, -1), lua_tostring(L, 2));
    lua_replace(L, 2);
  }
  return true;
}

/* Message handler: the traceback of an error that leaves the task. Cancellations go without. */
static int on_error(lua_State *L) {
  if (!asy_task_trace(L)) return 1;
  lua_pushvalue(L, 2);
  lua_setfield(L, 4, "traceback");
  if (asy_isinstance(L, 1, ASY_ERROR)) {
    lua_pushliteral(L, "traceback");
    if (lua_rawget(L, 1) == LUA_TNIL) {
      lua_pushliteral(L, "traceback");
      lua_pushvalue(L, 2);
      lua_rawset(L, 1);
    }
  }
  lua_settop(L, 1);
  return 1;
}

/* stack: function, message handler, results or error → function, one value. What allocates is done
** here, in the coroutine, where running out of memory ends the task and nothing else. */
static int body_done(lua_State *L, int status, lua_KContext ctx) {
  Task *t = ((Runtime *)ctx)->current;
  if (!t || t->co != L) return resumed_by_stranger(L); /* its own task is gone */
  t->failed = status != LUA_OK && status != LUA_YIELD;
  t->packed = !t->failed && asy_pack(L, lua_gettop(L) - 2);
  lua_remove(L, 2);
  return 2;
}

/* stack: function, message handler, function, arguments */
static int body(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  if (!rt->current || rt->current->co != L) return resumed_by_stranger(L);
  int status = lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 2, (lua_KContext)rt, body_done);
  return body_done(L, status, (lua_KContext)rt);
}

bool asy_task_owns(lua_State *co) {
  lua_Debug ar;
  int depth = 0;
  if (lua_status(co) == LUA_OK && !lua_getstack(co, 0, &ar)) return lua_tocfunction(co, 1) == body;
  while (lua_getstack(co, depth + 1, &ar)) depth++;
  if (!lua_getstack(co, depth, &ar) || !lua_checkstack(co, 1)) return false;
  lua_getinfo(co, "f", &ar);
  bool owns = lua_tocfunction(co, -1) == body;
  lua_pop(co, 1);
  return owns;
}

/* Steps */

/* Keeps an ended coroutine to be used again; its place in the table was made with it. stack: ..., task */
static void recycle(lua_State *L, Loop *loop, Task *t) {
  lua_settop(t->co, 0);
  if (!t->own_coro || loop->spare >= loop->spare_size) return;
  lua_rawgeti(L, ASY_HELD, ASY_SLOT_SPARE);
  lua_getiuservalue(L, -2, TASK_UV_CORO);
  lua_rawseti(L, -2, ++loop->spare);
  lua_pop(L, 1);
}

/* What a failed body's error means. stack: ..., error */
static FutureState failure(lua_State *L, Loop *loop, Task *t) {
  if (asy_isinstance(L, -1, ASY_CANCELLED)) return FUTURE_CANCELLED;
  if (asy_isinstance(L, -1, ASY_KEYBOARD_INTERRUPT)) {
    t->future.looked = true;
    lua_pushvalue(L, -1);
    asy_loop_setfield(L, loop, "fatal");
    loop->fatal = true;
  }
  return FUTURE_ERROR;
}

/* args: loop (light), scope, its place, task; what a forgotten `<close>` leaves behind */
static int forget_scope(lua_State *L) {
  Loop *loop = lua_touserdata(L, 1);
  luaL_getmetafield(L, 2, "__name");
  lua_pushfstring(L, "a scope was never closed (local _ <close> = ...): %s", lua_tostring(L, -1));
  lua_pushfstring(L, "made at %s", lua_tostring(L, 3));
  asy_report(L, loop, (Report){.message = lua_tostring(L, -2), .key = "task", .object = 4,
                               .traceback = lua_tostring(L, -1)});
  lua_getfield(L, 2, "_forget");
  lua_pushvalue(L, 2);
  lua_call(L, 1, 0);
  return 0;
}

/* args: loop (light), task */
static int forget_scopes(lua_State *L) {
  asy_future_extras(L, 2, true);
  lua_getfield(L, 3, "scopes");
  lua_pushnil(L);
  lua_setfield(L, 3, "scopes");
  for (lua_pushnil(L); lua_next(L, 4); lua_settop(L, 5)) {
    lua_pushcfunction(L, forget_scope);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 5);
    lua_pushvalue(L, 6);
    lua_pushvalue(L, 2);
    if (lua_pcall(L, 4, 0, 0) != LUA_OK)
      asy_report(L, lua_touserdata(L, 1), (Report){.message = "a scope could not be closed", .exception = -1});
  }
  return 0;
}

/* The task has ended: what it should have closed is reported and let go. stack: ..., task */
static void forget(lua_State *L, Loop *loop, Task *t) {
  for (ListNode *node; (node = list_take(&t->guards));) {
    Guard *g = asy_container(node, Guard, link);
    g->forgotten(L, loop, g);
  }
  if (!t->scopes) return;
  t->scopes = 0;
  lua_pushcfunction(L, forget_scopes);
  lua_pushlightuserdata(L, loop);
  lua_pushvalue(L, -3);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) lua_pop(L, 1); /* out of memory */
}

/* stack: ..., task, value → ..., task. Until it returns the task can be settled again. */
static void settle(lua_State *L, Loop *loop, Task *t, FutureState state, bool packed) {
  asy_future_settle(L, loop->rt, &t->future, -2, state, packed);
  t->phase = TASK_ENDED;
  t->requests = 0;
  if (t->scopes || !list_empty(&t->guards)) forget(L, loop, t);
  if (t->ended) t->ended(L, t);
  asy_release_in(L, loop, ASY_HELD, t->slot);
  t->loop = NULL;
}

/* The task's function is about to return, and has caught a cancellation: notes from where. */
static void note_end(lua_State *L, lua_Debug *ar) {
  Task *t = asy_runtime(L)->current;
  lua_Debug caller;
  if (!t || t->cancelling <= t->requests) return;
  if (!lua_getstack(L, 1, &caller) || lua_getstack(L, 2, &caller)) return; /* 1: the task's body */
  lua_getinfo(L, "Sl", ar);
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_pushfstring(L, "\t%s:%d", ar->short_src, ar->currentline);
  lua_setfield(L, -2, "ended_at");
  lua_pop(L, 2);
}

/* stack: ..., text; extras at idx: adds heading and value of a field, when it is there */
static void append_field(lua_State *L, int extras, const char *key, const char *heading) {
  if (lua_getfield(L, extras, key) == LUA_TSTRING) {
    const char *text = lua_tostring(L, -2);
    lua_pushfstring(L, "%s%s%s:\n%s", text, *text ? "\n" : "", heading, lua_tostring(L, -1));
    lua_replace(L, -3);
  }
  lua_pop(L, 1);
}

static void debug_returned(lua_State *L, Loop *loop, Task *t, int idx) {
  if (t->cancelling <= t->requests) return;
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 10, NULL);
  int top = lua_gettop(L);
  asy_future_extras(L, idx, true);
  lua_pushliteral(L, "");
  append_field(L, top + 1, "cancelled_at", "cancelled at");
  append_field(L, top + 1, "raised_at", "its CancelledError was raised at");
  append_field(L, top + 1, "ended_at", "returned at");
  asy_report(L, loop, (Report){.message = "a task caught its cancellation and returned: it should let the "
                                          "CancelledError pass, or call task:uncancel()",
                               .key = "task", .object = idx, .traceback = lua_tostring(L, -1)});
  lua_settop(L, top);
}

/* The body has returned; its function and value are on the coroutine's stack. */
static void task_finish(lua_State *L, Loop *loop, Ready *self) {
  Task *t = asy_container(self, Task, ready);
  FutureState state = FUTURE_RESULT;
  list_prepend(&loop->ready, &t->ready.link); /* should memory run out below, it is tried again */
  t->ready.run = task_finish;
  lua_rawgeti(L, ASY_HELD, t->slot);
  lua_pushvalue(t->co, -1);
  lua_xmove(t->co, L, 1);
  if (t->failed)
    state = failure(L, loop, t);
  else if (t->own_request) {
    lua_pop(L, 1);
    take_request(L, t);
    state = FUTURE_CANCELLED;
  } else if (loop->debug)
    debug_returned(L, loop, t, -2);
  settle(L, loop, t, state, state == FUTURE_RESULT && t->packed);
  list_remove(&t->ready.link);
  if (t->own_coro) {
    lua_pushvalue(L, -1); /* task, task, function */
    lua_pop(t->co, 1);
    lua_xmove(t->co, L, 1);
    lua_insert(L, -2);
    recycle(L, loop, t);
    lua_pop(L, 1);
    lua_setiuservalue(L, -2, TASK_UV_CORO);
  } else
    lua_settop(t->co, 0); /* dead, to whoever looks at it */
  lua_pop(L, 1);
}

/* The coroutine can't go on: strangers resumed or closed it, or it yielded to the loop. */
static void task_break(lua_State *L, Loop *loop, Ready *self) {
  Task *t = asy_container(self, Task, ready);
  bool yielded = t->phase == TASK_RUNNING;
  lua_Debug ar;
  list_remove(&t->waiter.link);
  list_prepend(&loop->ready, &t->ready.link); /* should memory run out below, it is tried again */
  t->ready.run = task_break;
  asy_task_push(L, t);
  asy_error_push(L, ASY_ERROR, yielded ? "the task called coroutine.yield outside of a coroutine of its own: "
                                         "to give way, call asyncio.sleep(0)"
                                       : "the task's coroutine was resumed or closed by something else");
  if (yielded) {
    luaL_traceback(L, t->co, NULL, 0);
    lua_setfield(L, -2, "traceback");
  }
  if (lua_status(t->co) == LUA_YIELD || !lua_getstack(t->co, 0, &ar)) asy_killthread(t->co, L);
  t->own_coro = false;
  settle(L, loop, t, FUTURE_ERROR, false);
  list_remove(&t->ready.link);
  lua_pop(L, 1);
}

/* A task cancelled before its first step never runs. */
static void task_stillborn(lua_State *L, Loop *loop, Task *t) { /* tried again like task_finish */
  list_prepend(&loop->ready, &t->ready.link);
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_getfield(L, -1, "requests");
  lua_rawgeti(L, -1, 1);
  lua_replace(L, -3);
  lua_pop(L, 1); /* task, request */
  settle(L, loop, t, FUTURE_CANCELLED, false);
  list_remove(&t->ready.link);
  if (t->own_coro) {
    recycle(L, loop, t);
    lua_pushnil(L);
    lua_setiuservalue(L, -2, TASK_UV_CORO);
  }
  lua_pop(L, 1);
}

static void report_slow(lua_State *L, Loop *loop, Task *t, uint64_t ns) {
  char text[80];
  snprintf(text, sizeof text, "a task held the loop for %.3f s", (double)ns / 1e9);
  asy_task_push(L, t);
  asy_watch_push(L, loop);
  asy_report(L, loop, (Report){.message = text, .key = "task", .object = -2, .traceback = lua_tostring(L, -1)});
  lua_pop(L, 2);
}

static bool resumable(Task *t) {
  lua_Debug ar;
  if (t->phase != TASK_NEW) return lua_status(t->co) == LUA_YIELD;
  return lua_status(t->co) == LUA_OK && !lua_getstack(t->co, 0, &ar) && lua_gettop(t->co) > 0;
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

static void task_step(lua_State *L, Loop *loop, Ready *self) {
  Task *t = asy_container(self, Task, ready);
  Runtime *rt = loop->rt;
  int n = 0, status;
  if (!resumable(t)) {
    if (t->phase == TASK_WOKEN && t->code != ASY_WOKEN_CANCELLED && t->kind->giveback) t->kind->giveback(L, t);
    task_break(L, loop, self);
    return;
  }
  if (t->phase == TASK_NEW) {
    if (t->requests) {
      task_stillborn(L, loop, t);
      return;
    }
    n = lua_gettop(t->co) - 1;
  }
  bool watched = loop->debug;
  if (watched) asy_watch_begin(loop, t->co, note_end); /* before SIGINT could set a hook there */
  rt->current = t;
  t->top = t->co;
  t->budget = ASY_BUDGET;
  t->phase = TASK_RUNNING;
  status = resume(L, t, rt, n);
  rt->current = NULL;
  if (rt->armed) asy_interrupt_disarm(rt);
  if (watched) asy_watch_end(loop, t->co);
  uint64_t slow = asy_step_ended(loop);
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
    lua_pushnil(t->co);
    lua_xmove(L, t->co, 1);
  }
  task_finish(L, loop, self);
}

/* Making one */

/* Pushes a new coroutine, and makes the place where it will be kept. */
static lua_State *push_new_coroutine(lua_State *L, Loop *loop, int held) {
  lua_State *co = lua_newthread(L);
  asy_loop_checkopen(L, loop);
  if (loop->spare_size >= MAX_SPARE) return co;
  lua_rawgeti(L, held, ASY_SLOT_SPARE);
  lua_pushboolean(L, 0);
  lua_rawseti(L, -2, loop->spare_size + 1);
  loop->spare_size++;
  lua_pop(L, 1);
  return co;
}

/* Pushes a coroutine to run a task in: an ended one, or a new one. Users may have had the ended one in
** their hands (coroutine.running), and may have put it to some use. */
static lua_State *push_coroutine(lua_State *L, Loop *loop, int held) {
  lua_Debug ar;
  if (!loop->spare) return push_new_coroutine(L, loop, held);
  lua_rawgeti(L, held, ASY_SLOT_SPARE);
  lua_rawgeti(L, -1, loop->spare);
  lua_pushboolean(L, 0);
  lua_rawseti(L, -3, loop->spare--);
  lua_replace(L, -2);
  lua_State *co = lua_tothread(L, -1);
  if (lua_status(co) != LUA_OK || lua_gettop(co) || lua_getstack(co, 0, &ar)) {
    lua_pop(L, 1);
    return push_new_coroutine(L, loop, held);
  }
  if (lua_gethookmask(L) | lua_gethookmask(co))
    lua_sethook(co, lua_gethook(L), lua_gethookmask(L), lua_gethookcount(L));
  return co;
}

/* stack: ..., coroutine or function, n arguments; whether it is one that can be made a task */
static void check_body(lua_State *L, int idx) {
  lua_Debug ar;
  if (lua_isfunction(L, idx)) return;
  lua_State *co = lua_tothread(L, idx);
  if (co) {
    bool unstarted = lua_status(co) == LUA_OK && !lua_getstack(co, 0, &ar) && lua_gettop(co) > 0;
    if (unstarted && lua_tocfunction(co, 1) == body)
      luaL_argerror(L, 1, "the coroutine is a task's already");
    if (unstarted) return;
    luaL_argerror(L, 1, "a coroutine that has not started expected");
  }
  if (luaL_getmetafield(L, idx, "__call") == LUA_TNIL) luaL_typeerror(L, 1, "function or coroutine");
  lua_pop(L, 1);
}

/* Prepares the coroutine's stack: body, function, message handler, function, arguments.
** stack: [fn] function or coroutine, n arguments, ...; the held table at `held` */
static void load_body(lua_State *L, Task *t, int fn, int n, int held) {
  lua_State *co = t->co;
  lua_rawgeti(L, held, ASY_SLOT_BODY);
  if (t->own_coro) {
    lua_pushvalue(L, fn);
    lua_xmove(L, co, 2);
    lua_pushcfunction(co, on_error);
    lua_pushvalue(co, 2);
  } else { /* its function, and perhaps arguments, are there */
    lua_xmove(L, co, 1);
    lua_pushvalue(co, 1);
    lua_pushcfunction(co, on_error);
    lua_rotate(co, 1, 3);
  }
  if (!n) return;
  for (int i = 1; i <= n; i++) lua_pushvalue(L, fn + i);
  lua_xmove(L, co, n);
}

Task *asy_task_new(lua_State *L, Loop *loop, int n) {
  int fn = lua_gettop(L) - n, task = fn + n + 1, held = task + 1;
  if (n > 5) luaL_checkstack(L, n + 10, "too many arguments");
  check_body(L, fn);
  Task *t = lua_newuserdatauv(L, sizeof *t, TASK_UV_CONTEXT);
  asy_loop_checkopen(L, loop);
  asy_held_table(L, loop);
  memset(t, 0, sizeof *t);
  asy_future_init(&t->future, loop);
  t->future.task = true;
  t->ready.run = task_step;
  t->waiter.wake = waiter_wake;
  t->timer.fire = on_deadline;
  list_init(&t->ready.link);
  list_init(&t->waiter.link);
  list_init(&t->guards);
  t->loop = loop;
  t->own_coro = !lua_isthread(L, fn);
  lua_rawgeti(L, held, ASY_SLOT_META);
  lua_setmetatable(L, task);
  if (t->own_coro)
    t->co = push_coroutine(L, loop, held);
  else {
    t->co = lua_tothread(L, fn);
    lua_pushvalue(L, fn);
  }
  lua_setiuservalue(L, task, TASK_UV_CORO);
  if (loop->rt->contexts) {
    asy_context_push(L, loop->rt);
    lua_setiuservalue(L, task, TASK_UV_CONTEXT);
  }
  if (n > 10 && !lua_checkstack(t->co, n + 10)) luaL_error(L, "too many arguments");
  lua_pushvalue(L, task);
  t->slot = asy_hold_in(L, loop, held);
  t->number = ++loop->rt->last_task;
  load_body(L, t, fn, n, held);
  lua_settop(L, task);
  lua_replace(L, fn);
  if (n) lua_settop(L, fn);
  asy_ready(loop, &t->ready);
  return t;
}

void asy_task_find(lua_State *L, Loop *loop, uint64_t number) {
  luaL_checkstack(L, 5, NULL);
  asy_held_table(L, loop);
  for (uint32_t i = ASY_SLOT_FIRST; lua_istable(L, -1) && i <= loop->held; i++) {
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

/* Fills the reserved slots of a new loop's held table. */
static void prepare_tasks(lua_State *L, int idx) {
  lua_newtable(L);
  lua_rawseti(L, idx, ASY_SLOT_SPARE);
  asy_pushfunction(L, body);
  lua_rawseti(L, idx, ASY_SLOT_BODY);
  asy_pushmeta(L, asy_runtime(L), ASY_TASK);
  lua_rawseti(L, idx, ASY_SLOT_META);
}

/* The task leaves its line and never runs again. stack: ..., task */
static void abandon(lua_State *L, Loop *loop, Task *t) {
  TaskPhase phase = (TaskPhase)t->phase;
  t->phase = TASK_ENDED;
  list_remove(&t->ready.link);
  timer_cancel(&loop->timers, &t->timer);
  if (phase == TASK_PARKED && !t->kind->forward)
    t->kind->abort(L, t);
  else if (phase == TASK_WOKEN && t->kind->giveback && t->code != ASY_WOKEN_CANCELLED)
    t->kind->giveback(L, t);
  list_remove(&t->waiter.link);
  while (list_take(&t->guards)) continue;
  t->loop = NULL;
}

/* When its loop closes: never raises. idx: the held table */
static void abandon_tasks(lua_State *L, Loop *loop, int idx) {
  for (uint32_t i = ASY_SLOT_FIRST; i <= loop->held; i++) {
    lua_rawgeti(L, idx, i);
    Task *t = asy_test(L, loop->rt, -1, ASY_TASK);
    if (t && t->slot == i && t->phase != TASK_ENDED) abandon(L, loop, t);
    lua_pop(L, 1);
  }
}

static const luaL_Reg functions[] = {{"sleep", task_sleep}, {NULL, NULL}};

/* stack: module */
void asy_open_task(lua_State *L) {
  static const LoopHooks hooks = {.made = prepare_tasks, .leave = abandon_tasks};
  asy_on_loop(asy_runtime(L), &hooks);
  asy_setfuncs(L, functions);
}
