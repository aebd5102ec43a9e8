/*
** pcall.c - asyncio.pcall and asyncio.xpcall: protected calls that let cancellation through.
*/
#include "core/error.h"
#include "core/runtime.h"
#include "core/trace.h"
#include "open.h"

static int pcall_done(lua_State *L, int status, lua_KContext first) {
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - (int)first;
  if (asy_isinterruption(L, -1)) return lua_error(L);
  lua_pushboolean(L, 0);
  lua_insert(L, -2);
  return 2;
}

/// Like Lua's `pcall`, but a CancelledError or KeyboardInterrupt passes through.
// @function pcall
// @tparam function f may await
// @param ... its arguments
// @return true and the results, or false and the error
// @usage
// local task = asyncio.create_task(function()
//   while true do -- goes on after errors, and can be cancelled
//     local ok, err = asyncio.pcall(function()
//       asyncio.sleep(1)
//       error "try again"
//     end)
//     assert(not ok and err:find "try again")
//   end
// end)
// asyncio.sleep(3.5)
// task:cancel()
// asyncio.wait { task }
// print(task:cancelled()) --> true
static int error_pcall(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, 1);
  lua_insert(L, 1);
  return pcall_done(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, pcall_done), 0);
}

/* The message handler of asyncio.xpcall: the user's one, not asked about cancellation. Upvalues: that; the traceback
** that asyncio.traceback kept. */
static int xpcall_handler(lua_State *L) {
  lua_settop(L, 1);
  if (asy_trace_catches(L, lua_upvalueindex(1))) {
    if (asy_trace_catch(L)) lua_replace(L, lua_upvalueindex(2));
    lua_settop(L, 1);
    return 1;
  }
  if (asy_isinterruption(L, 1)) return 1;
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

/* stack: f, handler, true, results or error. ctx: how many of these are no results */
static int xpcall_done(lua_State *L, int status, lua_KContext ctx) {
  int n = pcall_done(L, status, ctx);
  if (status == LUA_OK || status == LUA_YIELD || !lua_getupvalue(L, 2, 2)) return n;
  if (lua_isstring(L, -1)) return n + 1;
  lua_pop(L, 1);
  return n;
}

/// Like Lua's `xpcall`, but a CancelledError or KeyboardInterrupt passes through.
// @function xpcall
// @tparam function f may await
// @tparam function msgh message handler; it is not called for what passes through. With `asyncio.traceback` the error
// stays as it is, and the traceback comes after it
// @param ... arguments of f
// @return true and the results, or false and what the handler returned
static int error_xpcall(lua_State *L) {
  int n = lua_gettop(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushvalue(L, 2);
  lua_pushnil(L);
  lua_pushcclosure(L, xpcall_handler, 2);
  lua_replace(L, 2); /* f, handler, args... */
  lua_pushboolean(L, 1);
  lua_pushvalue(L, 1);
  lua_rotate(L, 3, 2); /* f, handler, true, f, args... */
  return xpcall_done(L, lua_pcallk(L, n - 2, LUA_MULTRET, 2, 2, xpcall_done), 2);
}

/* catch(f, ...) → as Lua's pcall: for the Lua layer, which knows what it does when it catches a cancellation */
static int catch_done(lua_State *L, int status, lua_KContext ctx) {
  (void)ctx;
  lua_pushboolean(L, status == LUA_OK || status == LUA_YIELD);
  lua_insert(L, 1);
  return lua_toboolean(L, 1) ? lua_gettop(L) : (lua_insert(L, 2), lua_settop(L, 2), 2);
}

static int error_catch(lua_State *L) {
  return catch_done(L, lua_pcallk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, 0, catch_done), 0);
}

static const luaL_Reg functions[] = {
    {"pcall", error_pcall}, {"xpcall", error_xpcall}, {"catch", error_catch}, {NULL, NULL}};

static lua_CFunction global_function(lua_State *L, const char *name) {
  lua_getglobal(L, name);
  lua_CFunction fn = lua_tocfunction(L, -1);
  lua_pop(L, 1);
  return fn;
}

/* stack: module */
void asy_open_pcall(lua_State *L) {
  Runtime *rt = asy_runtime(L);
  luaL_setfuncs(L, functions, 0);
  rt->pcall = global_function(L, "pcall");
  rt->xpcall = global_function(L, "xpcall");
}
