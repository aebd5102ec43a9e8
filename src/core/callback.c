/*
** callback.c - call_soon, call_later, call_at.
**
** A Callback's user value 1 is its function, the rest its arguments. From being scheduled until it
** has run or been cancelled the loop holds it.
*/
#include "core/callback.h"

#include <math.h>
#include <stdio.h>

#include "core/context.h"
#include "core/error.h"
#include "core/observer.h"
#include "core/report.h"
#include "core/trace.h"
#include "core/watch.h"
#include "open.h"

#define MAX_ARGS 250

static Callback *check_callback(lua_State *L) {
  return asy_check(L, ASY_RUNTIME(L), 1, ASY_CALLBACK, "asyncio.Handle");
}

static void forget(lua_State *L, Loop *loop, Callback *cb) {
  uint32_t slot = cb->slot;
  cb->slot = 0;
  asy_release(L, loop, slot);
}

/* stack: ..., callback at idx, error → ...; what a failed callback leaves */
static void failed(lua_State *L, Loop *loop, const Callback *cb, int idx) {
  if (asy_isinstance(L, -1, ASY_KEYBOARD_INTERRUPT)) {
    asy_loop_fatal(L, loop);
    return;
  }
  asy_trace_pop(L);
  bool told = !cb->vital && asy_report(L, loop, (Report){.message = "a callback failed", .key = "handle",
                                                         .exception = -2, .object = idx,
                                                         .traceback = lua_tostring(L, -1)});
  lua_pop(L, 1);
  if (!told) lua_error(L);
  lua_pop(L, 1);
}

static void report_slow(lua_State *L, Loop *loop, uint64_t ns, int idx) {
  char took[SLOW_TEXT], text[2 * SLOW_TEXT];
  if (!loop_was_slow(loop, ns, took)) return;
  snprintf(text, sizeof text, "a callback took %s%s", took, loop->debug ? "" : SLOW_HINT);
  asy_watch_push(L, loop);
  asy_report(L, loop, (Report){.message = text, .key = "handle", .object = idx,
                               .source = lua_tostring(L, -1)});
  lua_pop(L, 1);
}

/* Somebody looks on, maybe only since, or until, the middle of a call. */
ASY_COLD static uint8_t begin_watched(lua_State *L, Loop *loop) {
  if (loop->debug) asy_watch_begin(loop, L, NULL); /* before SIGINT could set a hook there */
  asy_observers_calls(L, loop);
  return loop->watched;
}

ASY_COLD static void end_watched(lua_State *L, Loop *loop, uint8_t before) {
  asy_observers_called(L, loop);
  if (before & WATCHED_DEBUG) asy_watch_end(loop, L);
}

void asy_callback_call(lua_State *L, Loop *loop, int idx) {
  Callback *cb = lua_touserdata(L, idx);
  int start = lua_gettop(L), top = start + loop->rt->contexts;
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, cb->nargs + 10, NULL);
  if (top > start) {
    if (cb->context) lua_getiuservalue(L, idx, cb->nargs + 2); else lua_pushnil(L);
    asy_context_swap(L, loop->rt); /* the former one stays below what follows */
  }
  lua_pushcfunction(L, asy_trace_handler);
  for (int i = 1; i <= cb->nargs + 1; i++) lua_getiuservalue(L, idx, i);
  uint8_t watched = loop->watched;
  if (watched) watched = begin_watched(L, loop);
  loop->L = L;
  int status = lua_pcall(L, cb->nargs, 0, top + 1);
  loop->L = NULL;
  if (loop->rt->armed) interrupt_disarm(loop->rt);
  if (watched | loop->watched) end_watched(L, loop, watched);
  if (status != LUA_OK) failed(L, loop, cb, idx);
  if (loop->rt->noted) asy_trace_forget(L, loop->rt);
  uint64_t slow = loop_step_ended(loop);
  if (slow) report_slow(L, loop, slow, idx);
  lua_settop(L, top);
  if (!loop->rt->contexts) return;
  if (top == start) lua_pushboolean(L, 0); /* the first ContextVar of all was set in this call */
  lua_rawseti(L, LUA_REGISTRYINDEX, loop->rt->context_ref);
}

static void callback_run(lua_State *L, Loop *loop, Ready *self) {
  Callback *cb = asy_container(self, Callback, ready);
  asy_held_push(L, loop, cb->slot);
  forget(L, loop, cb);
  if (!cb->cancelled) asy_callback_call(L, loop, -1);
  lua_pop(L, 1);
}

static void on_deadline(Timer *t) {
  Callback *cb = asy_container(t, Callback, timer);
  loop_ready(cb->loop, &cb->ready);
}

Callback *asy_callback_new(lua_State *L, Loop *loop, int n) {
  if (n > MAX_ARGS) luaL_error(L, "too many arguments for a callback");
  bool context = loop->rt->contexts;
  Callback *cb = lua_newuserdatauv(L, sizeof *cb, n + 1 + context);
  *cb = (Callback){.ready.run = callback_run, .timer.fire = on_deadline, .context = context};
  cb->loop_id = loop->id;
  cb->loop = loop;
  cb->nargs = n;
  list_init(&cb->ready.link);
  asy_pushmeta(L, loop->rt, ASY_CALLBACK);
  lua_setmetatable(L, -2);
  if (context) {
    asy_context_push(L, loop->rt);
    lua_setiuservalue(L, -2, n + 2);
  }
  lua_insert(L, -2 - n); /* callback, fn, arguments */
  for (int i = n + 1; i >= 1; i--) lua_setiuservalue(L, -1 - i, i);
  return cb;
}

void asy_callback_hold(lua_State *L, Loop *loop, Callback *cb, int idx) {
  if (cb->slot) return;
  lua_pushvalue(L, idx);
  cb->slot = asy_hold(L, loop);
}

void callback_schedule(Loop *loop, Callback *cb) { loop_ready(loop, &cb->ready); }

bool asy_callback_is(lua_State *L, int idx, int fn) {
  lua_getiuservalue(L, idx, 1);
  bool same = lua_rawequal(L, -1, fn);
  lua_pop(L, 1);
  return same;
}

/* Methods of the loop */

/* stack: loop, [time,] fn, arguments → callback */
static Callback *new_call(lua_State *L, Loop **loop, int fn) {
  *loop = asy_checkloop(L, 1);
  asy_loop_checkopen(L, *loop);
  if (!asy_callable(L, fn))
    asy_notfunction(L, fn, fn, "function", fn == 2 ? "f, x" : "delay, f, x", fn == 2 ? "f(x)" : "delay, f(x)");
  Callback *cb = asy_callback_new(L, *loop, lua_gettop(L) - fn);
  asy_callback_hold(L, *loop, cb, -1);
  return cb;
}

/// Calls a function at the next turn of the loop.
// An error in it goes to the exception handler.
// @function Loop:call_soon
// @tparam function fn must not await
// @param ... its arguments
// @treturn Handle
static int loop_call_soon(lua_State *L) {
  Loop *loop;
  Callback *cb = new_call(L, &loop, 2);
  callback_schedule(loop, cb);
  return 1;
}

static int call_at(lua_State *L, uint64_t deadline, bool vital) {
  Loop *loop;
  Callback *cb = new_call(L, &loop, 3);
  cb->when = deadline;
  cb->timed = true;
  cb->vital = vital;
  if (!timer_set(&loop->timers, &cb->timer, deadline)) {
    forget(L, loop, cb);
    return asy_nomemory(L);
  }
  return 1;
}

static uint64_t later(lua_State *L) {
  const Loop *loop = asy_checkloop(L, 1);
  return loop_deadline(loop, asy_checkseconds(L, 2));
}

/// Calls a function after a delay.
// @function Loop:call_later
// @tparam number delay seconds
// @tparam function fn must not await
// @param ... its arguments
// @treturn Handle
static int loop_call_later(lua_State *L) { return call_at(L, later(L), false); }

/* For the Lua layer: somebody waits for what the function does. */
static int loop_call_later_vital(lua_State *L) { return call_at(L, later(L), true); }

static uint64_t moment(lua_State *L) {
  asy_checkloop(L, 1);
  return loop_moment(asy_checkseconds(L, 2));
}

/// Calls a function at a moment of the loop's clock.
// @function Loop:call_at
// @tparam number when seconds, as of `Loop:time`
// @tparam function fn must not await
// @param ... its arguments
// @treturn Handle
static int loop_call_at(lua_State *L) { return call_at(L, moment(L), false); }

static int loop_call_at_vital(lua_State *L) { return call_at(L, moment(L), true); }

/* Methods of the handle */

/// Takes the call back; once it has run that does nothing.
// @function Handle:cancel
static int callback_cancel(lua_State *L) {
  Callback *cb = check_callback(L);
  Loop *loop = loop_find(ASY_RUNTIME(L), cb->loop_id);
  cb->cancelled = true;
  if (!loop || !cb->slot) return 0;
  if (cb->timer.place) {
    timer_cancel(&loop->timers, &cb->timer);
    forget(L, loop, cb);
  }
  return 0;
}

/// Whether it was cancelled.
// @function Handle:cancelled
// @treturn boolean
static int callback_cancelled(lua_State *L) {
  lua_pushboolean(L, check_callback(L)->cancelled);
  return 1;
}

/// When it is due, in seconds of the loop's clock; nil for `call_soon`.
// @function Handle:when
// @treturn ?number
static int callback_when(lua_State *L) {
  Callback *cb = check_callback(L);
  if (!cb->timed) return 0;
  lua_pushnumber(L, cb->when == TIMER_NEVER ? HUGE_VAL : ns_seconds(cb->when));
  return 1;
}

static int callback__tostring(lua_State *L) {
  Callback *cb = check_callback(L);
  lua_Debug ar;
  lua_getiuservalue(L, 1, 1);
  if (lua_isfunction(L, -1)) {
    lua_getinfo(L, ">S", &ar);
    if (*ar.what == 'C')
      lua_pushliteral(L, "a C function");
    else
      lua_pushfstring(L, "function at %s:%d", ar.short_src, ar.linedefined);
  } else
    luaL_tolstring(L, -1, NULL);
  lua_pushfstring(L, "asyncio.Handle: %s%s (%p)", lua_tostring(L, -1),
                  cb->cancelled ? ", cancelled" : cb->slot ? "" : ", done", (void *)cb);
  return 1;
}

static const luaL_Reg loop_methods[] = {{"call_soon", loop_call_soon},
                                        {"call_later", loop_call_later},
                                        {"call_at", loop_call_at},
                                        {"_call_later", loop_call_later_vital},
                                        {"_call_at", loop_call_at_vital},
                                        {NULL, NULL}};

/// A call that the loop will make; `Loop:call_soon`, `Loop:call_later` and `Loop:call_at` give it.
// @type Handle
// @usage
// local alarm = asyncio.get_running_loop():call_later(60, print, "too late")
// asyncio.sleep(1)
// alarm:cancel()
// print(alarm:cancelled()) --> true

static const luaL_Reg methods[] = {{"cancel", callback_cancel},
                                   {"cancelled", callback_cancelled},
                                   {"when", callback_when},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__tostring", callback__tostring}, {NULL, NULL}};

void asy_open_callback(lua_State *L) {
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", loop_methods, NULL);
  asy_newclass(L, ASY_CALLBACK, "asyncio.Handle", methods, metamethods);
}
