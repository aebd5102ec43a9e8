/*
** report.c - Loop:set_exception_handler and what stands behind it.
**
** A report never raises: its handler runs protected, a handler that fails is itself reported by
** the default one, and where even that fails (no memory) the bare message goes to stderr.
*/
#include "core/report.h"

#include <stdio.h>

#include "base/alloc.h"
#include "core/error.h"
#include "open.h"

/* stack: ..., context; writes "name: value" for one of its fields, when it is there */
static void write_field(lua_State *L, const char *name) {
  if (lua_getfield(L, -1, name) != LUA_TNIL) {
    lua_writestringerror("  %s: ", name);
    lua_writestringerror("%s\n", luaL_tolstring(L, -1, NULL));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* The traceback that an error object carries, if the context has none of its own. */
static void write_error_traceback(lua_State *L) {
  if (lua_getfield(L, -1, "exception") == LUA_TTABLE &&
      lua_getfield(L, -1, "traceback") == LUA_TSTRING)
    lua_writestringerror("%s\n", lua_tostring(L, -1));
}

/* stack: context → nothing; what the default handler writes */
static void write_context(lua_State *L) {
  lua_getfield(L, -1, "message");
  lua_writestringerror("asyncio: %s\n", luaL_tolstring(L, -1, NULL));
  lua_pop(L, 2);
  write_field(L, "task");
  write_field(L, "future");
  write_field(L, "handle");
  write_field(L, "exception");
  int context = lua_gettop(L);
  if (lua_getfield(L, context, "source_traceback") == LUA_TSTRING)
    lua_writestringerror("%s\n", lua_tostring(L, -1));
  else {
    lua_settop(L, context);
    write_error_traceback(L);
  }
  lua_settop(L, context - 1);
}

/* args: handler, loop, context */
static int call_handler(lua_State *L) {
  if (lua_isnil(L, 1)) {
    write_context(L);
    return 0;
  }
  lua_call(L, 2, 0);
  return 0;
}

/* stack: ..., context → ... */
static void deliver(lua_State *L, const Loop *loop) {
  int context = lua_gettop(L);
  lua_pushcfunction(L, call_handler);
  asy_loop_getfield(L, loop, "exception_handler");
  asy_loop_push(L, loop);
  lua_pushvalue(L, context);
  if (lua_pcall(L, 3, 0, 0) != LUA_OK) {
    lua_writestringerror("asyncio: the exception handler failed: %s\n",
                         luaL_tolstring(L, -1, NULL));
    lua_pop(L, 2);
    lua_pushvalue(L, context);
    write_context(L);
  }
  lua_settop(L, context - 1);
}

/* args: loop (light), Report (light), exception, object */
static int report_body(lua_State *L) {
  const Loop *loop = lua_touserdata(L, 1);
  const Report *r = lua_touserdata(L, 2);
  lua_createtable(L, 0, 4);
  lua_pushstring(L, r->message);
  lua_setfield(L, -2, "message");
  if (r->exception) {
    lua_pushvalue(L, 3);
    lua_setfield(L, -2, "exception");
  }
  if (r->object) {
    lua_pushvalue(L, 4);
    lua_setfield(L, -2, r->key);
  }
  if (r->traceback) {
    lua_pushstring(L, r->traceback);
    lua_setfield(L, -2, "source_traceback");
  }
  deliver(L, loop);
  return 0;
}

bool asy_report(lua_State *L, Loop *loop, Report r) {
  int exception = r.exception ? lua_absindex(L, r.exception) : 0;
  int object = r.object ? lua_absindex(L, r.object) : 0;
  if (!lua_checkstack(L, 10)) {
    lua_writestringerror("asyncio: %s\n", r.message);
    return false;
  }
  lua_pushcfunction(L, report_body);
  lua_pushlightuserdata(L, loop);
  lua_pushlightuserdata(L, &r);
  if (exception)
    lua_pushvalue(L, exception);
  else
    lua_pushnil(L);
  if (object)
    lua_pushvalue(L, object);
  else
    lua_pushnil(L);
  int status = lua_pcall(L, 4, 0, 0);
  if (status == LUA_OK) return true;
  lua_writestringerror("asyncio: %s\n", r.message);
  lua_pop(L, 1);
  return status != LUA_ERRMEM;
}

int asy_traceback_handler(lua_State *L) {
  const char *msg = lua_tostring(L, 1);
  if (msg) luaL_traceback(L, L, msg, 1);
  return 1;
}

char *asy_debug_site(lua_State *L, const Loop *loop) {
  if (!loop->debug) return NULL;
  luaL_traceback(L, L, NULL, 1);
  char *site = mem_strdup(lua_tostring(L, -1));
  lua_pop(L, 1);
  return site;
}

const char *asy_debug_join(lua_State *L, const char *traceback, const char *heading, const char *made) {
  if (!made)
    lua_pushstring(L, traceback);
  else if (traceback)
    lua_pushfstring(L, "%s\n%s:\n%s", traceback, heading, made);
  else
    lua_pushfstring(L, "%s:\n%s", heading, made);
  return lua_tostring(L, -1);
}

/* Methods of the loop */

/// Sets what is called with `(loop, context)` for each report; nil: the default handler.
// The context has `message` and, where they are known, `exception task future handle
// source_traceback`.
// @function Loop:set_exception_handler
// @tparam ?function handler
static int loop_set_exception_handler(lua_State *L) {
  Loop *loop = asy_checkopenloop(L, 1);
  lua_settop(L, 2);
  if (!lua_isnil(L, 2) && !asy_callable(L, 2))
    return luaL_typeerror(L, 2, "function or nil");
  lua_settop(L, 2);
  asy_loop_setfield(L, loop, "exception_handler");
  return 0;
}

/// The handler that was set, or nil.
// @function Loop:get_exception_handler
// @treturn ?function
static int loop_get_exception_handler(lua_State *L) {
  asy_loop_getfield(L, asy_checkopenloop(L, 1), "exception_handler");
  return 1;
}

/// Reports a context of your own.
// @function Loop:call_exception_handler
// @tparam table context with a `message`
static int loop_call_exception_handler(lua_State *L) {
  Loop *loop = asy_checkopenloop(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  deliver(L, loop);
  return 0;
}

/// Writes a context to stderr: what happens when no handler is set.
// @function Loop:default_exception_handler
// @tparam table context
static int loop_default_exception_handler(lua_State *L) {
  asy_checkopenloop(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  write_context(L);
  return 0;
}

static const luaL_Reg methods[] = {{"set_exception_handler", loop_set_exception_handler},
                                   {"get_exception_handler", loop_get_exception_handler},
                                   {"call_exception_handler", loop_call_exception_handler},
                                   {"default_exception_handler", loop_default_exception_handler},
                                   {NULL, NULL}};

void asy_open_report(lua_State *L) {
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", methods, NULL);
}
