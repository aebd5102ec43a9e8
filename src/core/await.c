/*
** await.c - asyncio.await: waits for a task, a future, a coroutine, or what has __await.
*/
#include "core/task.h"

#include "core/cancel.h"
#include "core/coro.h"
#include "core/error.h"
#include "core/ring.h"
#include "core/trace.h"
#include "open.h"

/* The future is the first value on the method's stack, and anchored in the task. */

static Future *awaited_one(const Task *t, int i) { return i == 0 ? t->on : NULL; }

static int await_finish(lua_State *L, Task *t) {
  Future *f = t->on;
  f->looked = true;
  if (f->state == FUTURE_ERROR) asy_trace_pass(L, f, 1);
  if (f->state == FUTURE_CANCELLED && asy_cancel_due(L, t)) return asy_task_raise(L, t);
  return asy_future_results(L, f, 1);
}

static Abort await_abort(lua_State *L, Task *t) {
  (void)L;
  list_remove(&t->waiter.link);
  return ASY_DETACHED;
}

static const WaitKind AWAIT = {.name = "await", .finish = await_finish, .abort = await_abort,
                               .awaited = awaited_one, .forwards = true, .may_come = task_waits_for_us,
                               .woken_by = task_woken_by_on};

static int await_future(lua_State *L, Runtime *rt, Future *f);

static int await(lua_State *L);

/* stack: what is awaited, ... */
static int await_again(lua_State *L) {
  lua_settop(L, 1);
  return await(L);
}

static int await_future(lua_State *L, Runtime *rt, Future *f) {
  Task *t = asy_current_or_null(L);
  if (f->state != FUTURE_PENDING) {
    if (t && task_spent(t)) return asy_give_way(L, t, await_again);
    if (f->state == FUTURE_ERROR) asy_trace_pass(L, f, 1);
    return asy_future_results(L, f, 1);
  }
  if (!t) t = asy_current(L); /* raises */
  if (f->loop_id != t->loop->id) {
    if (loop_find(rt, f->loop_id))
      return asy_error(L, ASY_ERROR, "cannot await a future of another event loop");
    return asy_error(L, ASY_CLOSED, "the event loop of the future is closed: it will never be done");
  }
  if (f == &t->future) return asy_error(L, ASY_ERROR, "a task cannot await itself");
  if (asy_ring_closes(L, t, 1)) asy_ring_error(L);
  lua_settop(L, 1);
  list_append(&f->waiters, &t->waiter.link);
  return asy_park_on(L, t, &AWAIT, f, 1);
}

static int awaited(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  return lua_gettop(L) - 1;
}

/* What follows the value would be ignored: there is gather for several. */
static void check_alone(lua_State *L) {
  for (int i = 2; i <= lua_gettop(L); i++)
    if (!lua_isnil(L, i)) asy_argerror(L, i, "one value expected; gather(a, b) waits for several");
}

/// Waits for something and returns its results, or raises its error.
// A future that is done returns at once.
// @function await
// @param x a Task, a Future, a coroutine (run to its end as part of the current task), or a value
// whose metatable has `__await` (a function called with the value, which may wait)
// @return its results
// @usage
// local function answer()
//   asyncio.sleep(1)
//   return "forty", "two"
// end
// print(asyncio.await(asyncio.create_task(answer))) --> forty  two
// print(asyncio.await(coroutine.create(answer))) --> forty  two
static int await(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Future *f = asy_tofuture(L, rt, 1);
  if (lua_gettop(L) > 1) check_alone(L);
  if (ASY_LIKELY(f)) return await_future(L, rt, f);
  if (!lua_isnone(L, 1)) lua_settop(L, 1);
  if (lua_isthread(L, 1)) return asy_coro_await(L);
  if (luaL_getmetafield(L, 1, "__await") != LUA_TNIL) {
    Task *t = asy_current_or_null(L);
    if (t && task_spent(t)) return asy_give_way(L, t, await_again);
    lua_pushvalue(L, 1);
    lua_callk(L, 1, LUA_MULTRET, 0, awaited);
    return awaited(L, LUA_OK, 0);
  }
  asy_typeerror(L, 1, 1, "task, future or coroutine",
                lua_isfunction(L, 1)        ? ": call the function itself, which may wait"
                : lua_isnoneornil(L, 1) ? "; where that was await(f(x)): call f(x) itself, await is for tasks and futures"
                                            : "");
}

/* Running a loop until something is done */

/// Runs the loop until something is done; returns its results or raises its error.
// @function Loop:run_until_complete
// @param x a Task or Future of this loop, or a function or coroutine to run as a task
// @param ... arguments of the function
// @return the results
static int loop_run_until_complete(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Loop *loop = asy_checkopenloop(L, 1);
  if (lua_isnone(L, 2)) asy_notfunction(L, 2, 2, "task, future, function or coroutine", "f, x", "f(x)");
  if (rt->running)
    return asy_error(L, ASY_ERROR, "an event loop is already running in this Lua state: in a task, await it, "
                                   "or call the function");
  Future *f = asy_tofuture(L, rt, 2);
  if (!f) f = &asy_task_new(L, loop, lua_gettop(L) - 2)->future;
  if (f->loop_id != loop->id)
    return asy_error(L, ASY_ERROR, "the future belongs to another event loop");
  lua_settop(L, 2);
  asy_loop_run(L, loop, &f->state);
  if (f->state == FUTURE_PENDING)
    return asy_error(L, ASY_ERROR, "the event loop was stopped before the future was done");
  f->looked = true;
  if (f->state == FUTURE_ERROR) asy_trace_leave(L, 2);
  return asy_future_results(L, f, 2);
}

static const luaL_Reg functions[] = {{"await", await}, {NULL, NULL}};
static const luaL_Reg loop_methods[] = {{"run_until_complete", loop_run_until_complete}, {NULL, NULL}};

/* stack: module */
void asy_open_await(lua_State *L) {
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", loop_methods, NULL);
}
