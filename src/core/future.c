/*
** future.c - asyncio.Future: the result cell, its callbacks, and the report of errors that nobody
** ever looked at.
**
** A future that fails while nobody waits gets a Lost: a userdata in its extras whose finaliser runs
** when both have become garbage, and reports then. Only failed futures pay for one.
*/
#include "core/future.h"

#include <stdlib.h>
#include <string.h>

#include "core/callback.h"
#include "core/error.h"
#include "core/report.h"
#include "core/trace.h"
#include "core/words.h"
#include "open.h"

typedef struct Lost {
  Ready ready;   /* reports, at a turn of the loop, which holds it then: in no other list may it stand, */
  bool pending;  /* since without memory finalisers don't run. pending: not reported yet */
  uint64_t loop_id;
  uint64_t number; /* the order of failing */
  uint32_t slot;   /* the loop holds it while it is ready */
} Lost; /* user value 1: the future */

static const char losts_key = 0; /* registry: Lost → true, with weak keys */

static const char *const STATES[] = {"pending", "done", "failed", "cancelled"};

static Future *check_future(lua_State *L) {
  Future *f = asy_tofuture(L, ASY_RUNTIME(L), 1);
  if (!f) asy_badself(L, "asyncio.Future");
  return f;
}

void future_init(Future *f, const Loop *loop) {
  *f = (Future){.loop_id = loop->id, .state = FUTURE_PENDING};
  list_init(&f->waiters);
}

static Future *new_future(lua_State *L, const Loop *loop, size_t size, int values) {
  Future *f = lua_newuserdatauv(L, size, values);
  memset(f, 0, size);
  future_init(f, loop);
  asy_pushmeta(L, loop->rt, ASY_FUTURE);
  lua_setmetatable(L, -2);
  return f;
}

HookedFuture *asy_future_hooked(lua_State *L, const Loop *loop, size_t size, int values,
                                void (*cancelled)(lua_State *, HookedFuture *)) {
  HookedFuture *f = (HookedFuture *)new_future(L, loop, size, values);
  f->future.hooked = true;
  f->cancelled = cancelled;
  return f;
}

/* Results */

bool asy_pack(lua_State *L, int n) {
  if (n == 1) return false;
  luaL_checkstack(L, 4, "too many results");
  lua_createtable(L, n, 1);
  lua_insert(L, -1 - n);
  for (int i = n; i >= 1; i--) lua_rawseti(L, -1 - i, i);
  lua_pushinteger(L, n);
  lua_setfield(L, -2, "n");
  return true;
}

static int unpack(lua_State *L) {
  int table = lua_gettop(L);
  lua_getfield(L, table, "n");
  int n = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  luaL_checkstack(L, n, "too many results");
  for (int i = 1; i <= n; i++) lua_rawgeti(L, table, i);
  lua_remove(L, table);
  return n;
}

int asy_future_results(lua_State *L, Future *f, int idx) {
  lua_getiuservalue(L, idx, FUTURE_UV_VALUE);
  if (f->state == FUTURE_RESULT) return f->packed ? unpack(L) : 1;
  f->looked = true;
  return lua_error(L);
}

void asy_cancelled_push(lua_State *L, int msg) {
  if (msg) msg = lua_absindex(L, msg);
  asy_error_push(L, ASY_CANCELLED, "the task was cancelled");
  if (!msg || lua_isnoneornil(L, msg)) return;
  lua_pushvalue(L, msg);
  lua_setfield(L, -2, "message");
}

/* Lost errors */

/* stack: ..., lost → ...; reports unless somebody has looked meanwhile */
static void lost_report(lua_State *L, Loop *loop, Lost *lost) {
  const char *traceback, *source;
  int top = lua_gettop(L);
  lost->pending = false;
  lua_getiuservalue(L, top, 1);
  Future *f = lua_touserdata(L, -1);
  if (!f->looked) {
    bool task = asy_test(L, loop->rt, top + 1, ASY_TASK) != NULL;
    f->looked = true;
    traceback = asy_trace_push(L, top + 1, false);
    asy_future_extra(L, top + 1, "made_at");
    source = lua_tostring(L, -1);
    lua_getiuservalue(L, top + 1, FUTURE_UV_VALUE);
    asy_report(L, loop,
               (Report){.message = task ? "the error of a task was never looked at"
                                        : "the error of a future was never looked at",
                        .key = task ? "task" : "future",
                        .traceback = traceback,
                        .source = source,
                        .exception = -1,
                        .object = top + 1});
  }
  lua_settop(L, top - 1);
}

static void lost_run(lua_State *L, Loop *loop, Ready *self) {
  Lost *lost = asy_container(self, Lost, ready);
  uint32_t slot = lost->slot;
  asy_held_push(L, loop, slot);
  asy_release(L, loop, slot);
  lost_report(L, loop, lost);
}

/* Its future has become garbage with it. While the loop is open, the report waits for a turn. */
static int lost__gc(lua_State *L) {
  Lost *lost = asy_test(L, ASY_RUNTIME(L), 1, ASY_LOST);
  Loop *loop = lost ? loop_find(ASY_RUNTIME(L), lost->loop_id) : NULL;
  if (!loop || !lost->pending) return 0;
  lost->pending = false; /* should memory run out below */
  lua_settop(L, 1);
  if (!loop->open || asy_loop_dies(L, loop))
    lost_report(L, loop, lost);
  else {
    lost->slot = asy_hold(L, loop);
    lost->pending = true;
    loop_ready(loop, &lost->ready);
  }
  return 0;
}

/* How many of the loop's are not reported yet. The first `max` of them go to `order`, and into the table at
** `found`, by their addresses. stack: ..., the table of all */
static int find_lost(lua_State *L, const Loop *loop, int all, int found, Lost **order, int max) {
  int n = 0;
  for (lua_pushnil(L); lua_next(L, all); lua_pop(L, 1)) {
    Lost *lost = lua_touserdata(L, -2);
    if (lost->loop_id != loop->id || !lost->pending) continue;
    if (n++ >= max) continue;
    order[n - 1] = lost;
    lua_pushvalue(L, -2);
    lua_rawsetp(L, found, lost);
  }
  return n;
}

static int by_number(const void *a, const void *b) {
  const Lost *x = *(Lost *const *)a, *y = *(Lost *const *)b;
  return (x->number > y->number) - (x->number < y->number);
}

/* What close does with those still there, in the order of their failing. Keys of the weak table stay until after
** their finalisers have run, so all are found that haven't been reported. Nothing is allocated while the table is
** walked: a finaliser could add to it. */
static void report_all_lost(lua_State *L, Loop *loop) {
  int all = lua_gettop(L) + 1, found = all + 1, max, n;
  Lost **order;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &losts_key);
  n = find_lost(L, loop, all, 0, NULL, 0);
  do {
    max = n;
    lua_settop(L, all);
    lua_createtable(L, 0, max);
    order = lua_newuserdatauv(L, (size_t)max * sizeof(Lost *), 0);
    n = find_lost(L, loop, all, found, order, max);
  } while (n > max);
  qsort(order, (size_t)n, sizeof(Lost *), by_number);
  for (int i = 0; i < n; i++) {
    if (!order[i]->pending) continue; /* a report may have looked at it */
    lua_rawgetp(L, found, order[i]);
    list_remove(&order[i]->ready.link);
    lost_report(L, loop, order[i]);
    lua_settop(L, found + 1);
  }
  lua_settop(L, all - 1);
}

/* Whether one that waits for it will see its error. */
static bool is_watched(const Future *f) {
  list_each(node, &f->waiters) {
    if (!asy_container(node, Waiter, link)->blind) return true;
  }
  return false;
}

/* Gives a future that fails, at idx, its Lost. That allocates: a finaliser may settle it, close the loop, ... */
static void watch_lost(lua_State *L, Loop *loop, const Future *f, int idx) {
  asy_future_extras(L, idx, true);
  Lost *lost = lua_newuserdatauv(L, sizeof *lost, 1);
  *lost = (Lost){.ready.run = lost_run, .loop_id = loop->id, .number = ++loop->rt->last_lost};
  list_init(&lost->ready.link);
  lua_pushvalue(L, idx);
  lua_setiuservalue(L, -2, 1);
  asy_pushmeta(L, loop->rt, ASY_LOST);
  lua_setmetatable(L, -2);
  if (f->state != FUTURE_PENDING || !loop->open) {
    lua_pop(L, 2);
    return;
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &losts_key);
  lua_pushvalue(L, -2);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  lua_setfield(L, -2, "lost");
  lua_pop(L, 1);
  lost->pending = true;
  loop_hunt(loop);
}

/* Settling */

/* stack: ..., extras; makes the loop hold all callbacks, so that nothing can fail after it */
static void hold_callbacks(lua_State *L, Loop *loop) {
  lua_getfield(L, -1, "callbacks");
  for (int i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
    asy_callback_hold(L, loop, lua_touserdata(L, -1), -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 2);
}

/* stack: ..., extras */
static void schedule_callbacks(lua_State *L, Loop *loop) {
  lua_getfield(L, -1, "callbacks");
  for (int i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
    Callback *cb = lua_touserdata(L, -1);
    asy_assert(cb->slot);
    callback_schedule(loop, cb);
    lua_pop(L, 1);
  }
  lua_pop(L, 2);
  lua_pushnil(L);
  lua_setfield(L, -2, "callbacks");
}

/* Makes the loop hold the Shields that end with the future at idx, so that nothing can fail after it. */
static void hold_shields(lua_State *L, Loop *loop, const Future *f, int idx) {
  asy_future_extras(L, idx, false);
  list_each(node, &f->waiters) {
    Waiter *w = asy_container(node, Waiter, link);
    Shield *s = w->shields ? asy_container(w, Shield, waiter) : NULL;
    if (!s || s->slot) continue;
    lua_rawgetp(L, -1, s);
    s->slot = asy_hold(L, loop); /* no finaliser runs in it */
    s->loop = loop;
  }
  lua_pop(L, 1);
}

bool asy_future_settle(lua_State *L, const Runtime *rt, Future *f, int idx, FutureState state,
                       bool packed) {
  Loop *loop = loop_find(rt, f->loop_id);
  idx = lua_absindex(L, idx);
  if (loop && state == FUTURE_ERROR && !f->looked && !is_watched(f)) {
    watch_lost(L, loop, f, idx);
    loop = loop_find(rt, f->loop_id);
  }
  if (f->state != FUTURE_PENDING) {
    lua_pop(L, 1);
    return false;
  }
  if (loop && f->callbacks) {
    asy_future_extras(L, idx, true);
    hold_callbacks(L, loop);
    lua_pop(L, 1);
  }
  if (loop && f->shielded) hold_shields(L, loop, f, idx);
  asy_assert(f->state == FUTURE_PENDING && state != FUTURE_PENDING);
  lua_setiuservalue(L, idx, FUTURE_UV_VALUE);
  f->state = (uint8_t)state;
  f->packed = packed;
  waiter_wake_all(&f->waiters, 0);
  if (loop && f->callbacks) {
    asy_future_extras(L, idx, true);
    schedule_callbacks(L, loop);
    lua_pop(L, 1);
    f->callbacks = false;
  }
  return true;
}

/* Methods */

static int settled_already(lua_State *L, const Future *f) {
  return asy_error(L, ASY_INVALID_STATE, "the future already is %s", STATES[f->state]);
}

/* A task's result is its function's business. */
static Future *check_settable(lua_State *L, const Runtime *rt) {
  Future *f = asy_tofuture(L, rt, 1);
  if (!f) asy_badself(L, "asyncio.Future");
  if (f->task)
    asy_error(L, ASY_INVALID_STATE, "the result of a task is what its function returns");
  if (f->hooked && !f->shields)
    asy_error(L, ASY_INVALID_STATE, "the result of a job is what its function returns");
  if (f->state != FUTURE_PENDING) settled_already(L, f);
  if (!loop_find(rt, f->loop_id))
    asy_error(L, ASY_CLOSED, "the event loop of the future is closed");
  return f;
}

/// Ends the future with any number of values.
// Raises InvalidStateError when it is done already.
// @function Future:set_result
// @param ... what awaiting it returns
static int future_set_result(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Future *f = check_settable(L, rt);
  bool packed = asy_pack(L, lua_gettop(L) - 1);
  return asy_future_settle(L, rt, f, 1, FUTURE_RESULT, packed) ? 0 : settled_already(L, f);
}

/// Ends the future with an error: any value.
// Raises InvalidStateError when it is done already.
// @function Future:set_exception
// @param err what awaiting it raises
static int future_set_exception(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Future *f = check_settable(L, rt);
  lua_settop(L, 2);
  return asy_future_settle(L, rt, f, 1, FUTURE_ERROR, false) ? 0 : settled_already(L, f);
}

/// Cancels the future: who awaits it gets a CancelledError.
// @function Future:cancel
// @param[opt] msg the error's message
// @treturn boolean false when it was done already
static int future_cancel(lua_State *L) {
  Future *f = check_future(L);
  lua_settop(L, 2);
  if (f->task) { /* it has a cancel of its own */
    lua_getfield(L, 1, "cancel");
    lua_insert(L, 1);
    lua_call(L, 2, 1);
    return 1;
  }
  Loop *loop = loop_find(ASY_RUNTIME(L), f->loop_id);
  HookedFuture *hooked = f->hooked ? (HookedFuture *)f : NULL;
  if (f->state != FUTURE_PENDING || !loop || (hooked && hooked->late && hooked->late(L, loop, hooked))) {
    lua_pushboolean(L, 0);
    return 1;
  }
  if (asy_future_extra(L, 1, "on_cancel") != LUA_TNIL) {
    lua_pushvalue(L, 2);
    lua_call(L, 1, 1);
    lua_pushboolean(L, lua_toboolean(L, -1));
    return 1;
  }
  asy_cancelled_push(L, 2);
  bool settled = asy_future_settle(L, ASY_RUNTIME(L), f, 1, FUTURE_CANCELLED, false);
  if (settled && hooked) hooked->cancelled(L, hooked);
  lua_pushboolean(L, settled);
  return 1;
}

/* What cancel does instead of ending the future: fn(msg) → boolean; nil: end it again */
static int future_on_cancel(lua_State *L) {
  check_future(L);
  lua_settop(L, 2);
  asy_future_extras(L, 1, true);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "on_cancel");
  return 0;
}

/// Whether it has a result or an error or was cancelled.
// @function Future:done
// @treturn boolean
static int future_done(lua_State *L) {
  lua_pushboolean(L, check_future(L)->state != FUTURE_PENDING);
  return 1;
}

/// Whether it was cancelled.
// @function Future:cancelled
// @treturn boolean
static int future_cancelled(lua_State *L) {
  lua_pushboolean(L, check_future(L)->state == FUTURE_CANCELLED);
  return 1;
}

static void check_done(lua_State *L, const Future *f) {
  if (f->state == FUTURE_PENDING) asy_error(L, ASY_INVALID_STATE, "the result is not ready");
}

/// The values it ended with; raises its error, or InvalidStateError when it isn't done.
// @function Future:result
// @return the values
static int future_result(lua_State *L) {
  Future *f = check_future(L);
  check_done(L, f);
  if (f->state == FUTURE_ERROR) asy_trace_pass(L, f, 1);
  return asy_future_results(L, f, 1);
}

/// The error it ended with, and `true`; nil and `false` when it ended well.
// The second value tells an error that is nil or false from none. Raises InvalidStateError when
// it isn't done, CancelledError when it was cancelled.
// @function Future:exception
// @return the error
// @treturn boolean whether there is one
static int future_exception(lua_State *L) {
  Future *f = check_future(L);
  check_done(L, f);
  f->looked = true;
  if (f->state == FUTURE_RESULT)
    lua_pushnil(L);
  else
    lua_getiuservalue(L, 1, FUTURE_UV_VALUE);
  if (f->state == FUTURE_CANCELLED) return lua_error(L);
  asy_trace_pass(L, f, 1);
  lua_pushboolean(L, f->state == FUTURE_ERROR);
  return 2;
}

/* The loop of a future that is to be told of something. */
static Loop *check_future_loop(lua_State *L, const Future *f) {
  Loop *loop = loop_find(ASY_RUNTIME(L), f->loop_id);
  if (!loop) asy_error(L, ASY_CLOSED, "the event loop of the future is closed");
  return loop;
}

/* stack: future, fn → future, fn, callback */
static void add_callback(lua_State *L, bool vital) {
  Future *f = check_future(L);
  if (!asy_callable(L, 2))
    asy_notfunction(L, 2, 2, "function", "f", "f()");
  Loop *loop = check_future_loop(L, f);
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 1);
  Callback *cb = asy_callback_new(L, loop, 1); /* stack: future, fn, callback */
  cb->vital = vital;
  if (f->state == FUTURE_PENDING) {
    asy_future_subtable(L, 1, "callbacks", 1, 0);
  }
  if (f->state != FUTURE_PENDING) { /* perhaps only now */
    loop = check_future_loop(L, f);
    asy_callback_hold(L, loop, cb, 3);
    callback_schedule(loop, cb);
  } else {
    lua_pushvalue(L, 3);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    f->callbacks = true;
  }
  lua_settop(L, 3);
}

/// Has `fn(future)` called by the loop once the future is done; in the order of registration.
// @function Future:add_done_callback
// @tparam function fn must not await
static int future_add_done_callback(lua_State *L) {
  add_callback(L, false);
  return 0;
}

/* The same for the Lua layer: somebody waits for what `fn` does. */
static int future_on_done(lua_State *L) {
  add_callback(L, true);
  return 0;
}

/* stack: ..., list; takes those out whose function is at fn. → how many */
static lua_Integer take_out(lua_State *L, int fn) {
  int list = lua_gettop(L);
  lua_Integer n = (lua_Integer)lua_rawlen(L, list), kept = 0;
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, list, i);
    if (asy_callback_is(L, -1, fn))
      lua_pop(L, 1);
    else
      lua_rawseti(L, list, ++kept);
  }
  for (lua_Integer i = kept + 1; i <= n; i++) {
    lua_pushnil(L);
    lua_rawseti(L, list, i);
  }
  return n - kept;
}

/// Takes back every registration of `fn`.
// @function Future:remove_done_callback
// @tparam function fn
// @treturn integer how many there were
static int future_remove_done_callback(lua_State *L) {
  Future *f = check_future(L);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  asy_future_extras(L, 1, false);
  if (!f->callbacks || lua_getfield(L, 3, "callbacks") == LUA_TNIL) {
    lua_pushinteger(L, 0);
    return 1;
  }
  lua_pushinteger(L, take_out(L, 2));
  f->callbacks = lua_rawlen(L, 4) > 0;
  return 1;
}

/// Where its error was raised, if that is known: for the future of a job, in the worker.
// @function Future:traceback
// @treturn ?string
static int future_traceback(lua_State *L) {
  check_future(L);
  asy_trace_push(L, 1, false);
  return 1;
}

/* The same with the task's name, also when it is one task's alone. */
static int future_trace(lua_State *L) {
  check_future(L);
  asy_trace_push(L, 1, true);
  return 1;
}

/// The loop it belongs to; raises ClosedError when that is closed.
// @function Future:get_loop
// @treturn Loop
static int future_get_loop(lua_State *L) {
  asy_loop_push(L, check_future_loop(L, check_future(L)));
  return 1;
}

void asy_future_push_value(lua_State *L, int idx) {
  Future *f = lua_touserdata(L, idx);
  lua_getiuservalue(L, idx, FUTURE_UV_VALUE);
  if (f->shown)
    lua_pushfstring(L, "%s: %p", luaL_typename(L, -1), lua_topointer(L, -1));
  else {
    f->shown = true;
    asy_words(L, -1);
    f->shown = false;
  }
  lua_remove(L, -2);
}

static int future__tostring(lua_State *L) {
  Future *f = check_future(L);
  lua_pushfstring(L, "asyncio.Future: %s", STATES[f->state]);
  if (f->state != FUTURE_PENDING && !f->packed) {
    lua_pushstring(L, f->state == FUTURE_RESULT ? ", result " : ", error ");
    asy_future_push_value(L, 1);
    lua_concat(L, 2);
  } else
    lua_pushliteral(L, "");
  lua_pushfstring(L, " (%p)", (void *)f);
  lua_concat(L, 3);
  return 1;
}

/// A future of this loop.
// @function Loop:create_future
// @treturn Future
static int loop_create_future(lua_State *L) {
  Loop *loop = asy_checkopenloop(L, 1);
  new_future(L, loop, sizeof(Future), FUTURE_UV_EXTRAS);
  if (loop->debug) asy_debug_note(L, -1, "made_at", 1);
  return 1;
}

/* Whether it ended with an error, and whether nobody has looked at that; this is no look at it. */
static int future_failed(lua_State *L) {
  const Future *f = check_future(L);
  lua_pushboolean(L, f->state == FUTURE_ERROR);
  lua_pushboolean(L, f->state == FUTURE_ERROR && !f->looked);
  return 2;
}

/// Whether something is a Future or a Task.
// @function isfuture
// @param x anything
// @treturn boolean
static int future_isfuture(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, asy_tofuture(L, ASY_RUNTIME(L), 1) != NULL);
  return 1;
}

/// A result that comes later; `Loop:create_future` makes it. Whoever awaits it waits until somebody
// sets its result or its error, or cancels it.
// @type Future
// @usage
// local loop = asyncio.get_running_loop()
// local future = loop:create_future()
// loop:call_later(1, function() future:set_result("here", "I am") end)
// print(asyncio.await(future)) --> here  I am

static const luaL_Reg methods[] = {{"set_result", future_set_result},
                                   {"set_exception", future_set_exception},
                                   {"cancel", future_cancel},
                                   {"done", future_done},
                                   {"cancelled", future_cancelled},
                                   {"result", future_result},
                                   {"exception", future_exception},
                                   {"add_done_callback", future_add_done_callback},
                                   {"remove_done_callback", future_remove_done_callback},
                                   {"get_loop", future_get_loop},
                                   {"traceback", future_traceback},
                                   {"_on_cancel", future_on_cancel},
                                   {"_on_done", future_on_done},
                                   {"_failed", future_failed},
                                   {"_trace", future_trace},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__tostring", future__tostring}, {NULL, NULL}};
static const luaL_Reg lost_metamethods[] = {{"__gc", lost__gc}, {NULL, NULL}};
static const luaL_Reg loop_methods[] = {{"create_future", loop_create_future}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"isfuture", future_isfuture}, {NULL, NULL}};

/* stack: module */
void asy_open_future(lua_State *L) {
  Runtime *rt = asy_runtime(L);
  static const LoopHooks hooks = {.report = report_all_lost};
  runtime_on_loop(rt, &hooks);
  asy_newweak(L, "k");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &losts_key);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", loop_methods, NULL);
  asy_newclass(L, ASY_FUTURE, "asyncio.Future", methods, metamethods);
  asy_newclass(L, ASY_TASK, "asyncio.Task", methods, metamethods); /* taskclass.c adds to it */
  asy_newclass(L, ASY_LOST, "asyncio.Lost", NULL, lost_metamethods);
}
