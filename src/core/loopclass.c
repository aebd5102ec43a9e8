/*
** loopclass.c - asyncio.Loop as Lua sees it.
*/
#include "core/loop.h"

#include <string.h>

#include "core/error.h"
#include "core/handle.h"
#include "core/observer.h"
#include "open.h"

/* A loop that runs is collected only when the state closes beneath it (os.exit in a task). */
static int loop__gc(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  if (loop->open || loop->copied) asy_loop_close(L, loop, 1);
  return 0;
}

static int loop__close(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  if ((loop->open || loop->copied) && loop->rt->running != loop && !loop->beneath) asy_loop_close(L, loop, 1);
  return 0;
}

/* Methods */

/// Runs until `stop` is called.
// @function Loop:run_forever
static int loop_run_forever(lua_State *L) {
  asy_loop_run(L, asy_checkloop(L, 1), NULL);
  return 0;
}

/// Ends the run after the current turn.
// @function Loop:stop
static int loop_stop(lua_State *L) {
  asy_checkloop(L, 1)->stopping = true;
  return 0;
}

/// Closes a loop that doesn't run: what is pending is dropped, handles are closed at once.
// Closing twice is no error.
// @function Loop:close
static int loop_close(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  if (loop->rt->running == loop || loop->beneath)
    return asy_error(L, ASY_ERROR, "cannot close a running event loop");
  if (loop->open || loop->copied) asy_loop_close(L, loop, 1);
  return 0;
}

/// Whether it runs now.
// @function Loop:is_running
// @treturn boolean
static int loop_is_running(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  lua_pushboolean(L, loop->rt->running == loop);
  return 1;
}

/// Whether it has been closed.
// @function Loop:is_closed
// @treturn boolean
static int loop_is_closed(lua_State *L) {
  lua_pushboolean(L, !asy_checkloop(L, 1)->open);
  return 1;
}

/// The loop's clock: monotonic seconds since some moment.
// @function Loop:time
// @treturn number
static int loop_time(lua_State *L) {
  lua_pushnumber(L, (lua_Number)loop_now(asy_checkloop(L, 1)) / NS_PER_S);
  return 1;
}

/// The running loop's clock; raises where no loop runs.
// @function time
// @treturn number seconds since some moment
// @usage
// local began = asyncio.time()
// asyncio.sleep(1.5)
// print(asyncio.time() - began) --> 1.5
static int running_time(lua_State *L) {
  lua_pushnumber(L, (lua_Number)loop_now(asy_running(L, ASY_RUNTIME(L))) / NS_PER_S);
  return 1;
}

/// Switches debug mode.
// @function Loop:set_debug
// @tparam boolean on
static int loop_set_debug(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  observers_debug(loop, asy_checkboolean(L, 2));
  return 0;
}

/// Whether debug mode is on.
// @function Loop:get_debug
// @treturn boolean
static int loop_get_debug(lua_State *L) {
  lua_pushboolean(L, asy_checkloop(L, 1)->debug);
  return 1;
}

/* Whether tasks made from now on may run in the coroutines of ended ones. */
static int loop_reuse(lua_State *L) {
  asy_checkloop(L, 1)->reuse = lua_toboolean(L, 2);
  return 0;
}

/* Lua values that belong to a loop, for the Lua layer: executor, exception handler, ... */
static int loop_getfield(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  asy_loop_checkopen(L, loop);
  asy_loop_getfield(L, loop, luaL_checkstring(L, 2));
  return 1;
}

static int loop__index(lua_State *L) {
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) return 1; /* a method: nearly always */
  if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "slow_callback_duration")) return 1;
  lua_pushnumber(L, (lua_Number)asy_checkloop(L, 1)->clock.slow_ns / NS_PER_S);
  return 1;
}

static int loop__newindex(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "slow_callback_duration"))
    return luaL_error(L, "asyncio.Loop has no field '%s' to set", luaL_tolstring(L, 2, NULL));
  lua_Number s = lua_tonumber(L, 3);
  if (lua_type(L, 3) != LUA_TNUMBER || !(s >= 0))
    return luaL_error(L, "bad value for 'slow_callback_duration' (number of seconds, 0 or more, expected, got %s)",
                      s < 0 ? luaL_tolstring(L, 3, NULL) : asy_kindof(L, 3));
  loop_set_slow(loop, s < 1e9 ? (uint64_t)(s * NS_PER_S) : TIMER_NEVER);
  return 0;
}

static int loop__tostring(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  lua_pushfstring(L, "asyncio.Loop: %s (%p)",
                  !loop->open                ? "closed"
                  : loop->rt->running == loop ? "running"
                                              : "not running",
                  (void *)loop);
  return 1;
}

static int loop_open_handles(lua_State *L) {
  const Loop *loop = asy_checkloop(L, 1);
  lua_pushinteger(L, loop->open ? handles_open(loop) : 0);
  return 1;
}

/// The loop that runs in this Lua state; raises when none does.
// @function get_running_loop
// @treturn Loop
static int loop_get_running(lua_State *L) {
  asy_loop_push(L, asy_running(L, ASY_RUNTIME(L)));
  return 1;
}

/// The same as `get_running_loop`.
// @function get_event_loop
// @treturn Loop
static int loop_get_event_loop(lua_State *L) { return loop_get_running(L); }

/* Whether a loop runs in this state, here or beneath: then nothing may wait or run another. */
static int loop_in_run(lua_State *L) {
  lua_pushboolean(L, ASY_RUNTIME(L)->running != NULL);
  return 1;
}

/* libuv_version() → of the library that is loaded */
static int loop_libuv_version(lua_State *L) {
  lua_pushstring(L, uv_version_string());
  return 1;
}

/// An event loop: it runs tasks, makes calls at their time, and waits for the operating system.
// `asyncio.run` makes one; `get_running_loop` finds it. Its field `slow_callback_duration` (0.1 s,
// can be set) is how long a step may take before it is reported; in debug mode with the place where
// it was slow.
// @type Loop
// @usage
// local loop = asyncio.get_running_loop()
// local began = loop:time()
// loop:call_later(2, print, "called after two seconds")
// loop:set_exception_handler(function(_, context) io.stderr:write(context.message, "\n") end)
// loop.slow_callback_duration = 0.5
// asyncio.sleep(3)
// print(math.floor(loop:time() - began)) --> 3

static const luaL_Reg methods[] = {{"run_forever", loop_run_forever},
                                   {"stop", loop_stop},
                                   {"close", loop_close},
                                   {"is_running", loop_is_running},
                                   {"is_closed", loop_is_closed},
                                   {"time", loop_time},
                                   {"set_debug", loop_set_debug},
                                   {"get_debug", loop_get_debug},
                                   {"_get", loop_getfield},
                                   {"_reuse", loop_reuse},
                                   {"_open_handles", loop_open_handles},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", loop__gc},
                                       {"__close", loop__close},
                                       {"__newindex", loop__newindex},
                                       {"__tostring", loop__tostring},
                                       {NULL, NULL}};

/* check_alive(): an error in a state that is being closed */
static int check_alive(lua_State *L) {
  asy_checkalive(L);
  return 0;
}

static const luaL_Reg functions[] = {{"new_event_loop", asy_loop_new},
                                     {"check_alive", check_alive},
                                     {"get_running_loop", loop_get_running},
                                     {"get_event_loop", loop_get_event_loop},
                                     {"in_run", loop_in_run},
                                     {"libuv_version", loop_libuv_version},
                                     {"time", running_time},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_loop(lua_State *L) {
  Runtime *rt = asy_open_runtime(L);
  lua_pushboolean(L, 0);
  rt->loop_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushboolean(L, 0);
  rt->held_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushboolean(L, 0);
  rt->closing_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  asy_open_hold(L);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", methods, metamethods);
  asy_pushmeta(L, rt, ASY_LOOP);
  lua_pushlightuserdata(L, rt); /* __index: fields, then the methods */
  lua_getfield(L, -2, "__index");
  lua_pushcclosure(L, loop__index, 2);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
