/*
** report.c - Loop:set_exception_handler and what stands behind it.
**
** A report never raises: its handler runs protected, a handler that fails is itself reported by
** the default one, and where even that fails (no memory) the bare message goes to stderr.
*/
#include "core/report.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "core/error.h"
#include "core/words.h"
#include "open.h"

/* Adds "  name: value" for one of the context's fields, when it is there. stack: context, text → context, text */
static void add_field(lua_State *L, int context, const char *name) {
  if (lua_getfield(L, context, name) == LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  lua_pushfstring(L, "\n  %s: ", name);
  asy_words(L, -2);
  lua_remove(L, -3);
  lua_concat(L, 3);
}

/* The traceback that an error object carries; nil when it carries none. */
static void push_error_traceback(lua_State *L, int context) {
  lua_getfield(L, context, "exception");
  if (lua_istable(L, -1)) {
    lua_pushliteral(L, "traceback");
    lua_rawget(L, -2);
  } else
    lua_pushnil(L);
  lua_remove(L, -2);
}

/* stack: context, text → context, text with the value below it as a line, if that is a text: ..., value, text */
static void add_line(lua_State *L, int text, const char *heading) {
  if (lua_type(L, -1) != LUA_TSTRING) {
    lua_pop(L, 1);
    return;
  }
  lua_pushfstring(L, "\n%s", heading);
  lua_insert(L, -2);
  lua_concat(L, lua_gettop(L) - text + 1);
}

/* Pushes what the default handler writes. */
static void push_text(lua_State *L, int context) {
  static const char *const FIELDS[] = {"task", "future", "handle", "exception", NULL};
  int text = lua_gettop(L) + 1;
  lua_getfield(L, context, "message");
  asy_words(L, -1);
  lua_replace(L, text);
  for (int i = 0; FIELDS[i]; i++) add_field(L, context, FIELDS[i]);
  bool failed = lua_getfield(L, context, "exception") != LUA_TNIL;
  lua_pop(L, 1);
  if (lua_getfield(L, context, "traceback") != LUA_TSTRING) {
    lua_pop(L, 1);
    push_error_traceback(L, context);
  }
  add_line(L, text, "");
  lua_getfield(L, context, "source_traceback");
  add_line(L, text, failed ? "made at:\n" : "");
}

/* Writes the text on the top, which it pops, at one go: other threads' reports stand before it or behind it. */
static void write_text(lua_State *L) {
  size_t n;
  lua_pushliteral(L, "asyncio: ");
  lua_insert(L, -2);
  lua_pushliteral(L, "\n");
  lua_concat(L, 3);
  const char *text = lua_tolstring(L, -1, &n);
  fwrite(text, 1, n, stderr);
  fflush(stderr);
  lua_pop(L, 1);
}

/* stack: ..., context → ...; what the default handler does */
static void write_context(lua_State *L) {
  int context = lua_gettop(L);
  luaL_checkstack(L, 16, NULL);
  push_text(L, context);
  write_text(L);
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
    lua_pushliteral(L, "the exception handler failed: ");
    asy_words(L, -2);
    lua_concat(L, 2);
    write_text(L);
    lua_pop(L, 1);
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
    lua_setfield(L, -2, "traceback");
  }
  if (r->source) {
    lua_pushstring(L, r->source);
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

/* Whether it is one of the Lua layer's files in which streams and servers are opened. */
static bool opens_streams(const char *source) {
  static const char *const FILES[] = {"asyncio/streams.lua", "asyncio/connecting.lua", "asyncio/serving.lua"};
  for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
    if (strstr(source, FILES[i])) return true;
  return false;
}

/* Pushes the innermost lines of Lua that aren't ours: a traceback takes its time for the names of functions. */
static void push_lines(lua_State *L) {
  lua_Debug ar;
  int n = 0;
  lua_pushliteral(L, "");
  for (int level = 1; n < 3 && level < 20 && lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline <= 0 || opens_streams(ar.short_src)) continue;
    lua_pushfstring(L, n++ ? ", from %s:%d" : "%s:%d", ar.short_src, ar.currentline);
    lua_concat(L, 2);
  }
}

char *asy_debug_site(lua_State *L, const Loop *loop) {
  if (loop->debug)
    asy_traceback(L, L, 1);
  else if (loop->sited)
    push_lines(L);
  else
    return NULL;
  char *site = mem_strdup(lua_tostring(L, -1));
  lua_pop(L, 1);
  return site;
}

/* Methods of the loop */

/// Sets what is called with `(loop, context)` for each report; nil: the default handler.
// The context has `message` and, where they are known, `exception`: the error as it was raised; `traceback`: where
// that was; `task`, `future`, `handle`: what it is about; `source_traceback`: where that was made, or what happened.
// @function Loop:set_exception_handler
// @tparam ?function handler
static int loop_set_exception_handler(lua_State *L) {
  Loop *loop = asy_checkopenloop(L, 1);
  lua_settop(L, 2);
  if (!lua_isnil(L, 2) && !asy_callable(L, 2))
    asy_typeerror(L, 2, 2, "function or nil", "");
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
  Loop *loop = asy_checkloop(L, 1);
  if (loop->rt->closing != loop) asy_loop_checkopen(L, loop); /* then it still hears what was left */
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  deliver(L, loop);
  return 0;
}

/* report_text(context) → what the default handler writes of it */
static int report_text(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  push_text(L, 1);
  return 1;
}

/// Writes a context to stderr: what happens when no handler is set. It does so for a loop that is closed, too: what
// nobody looked at is reported then, and a handler may hand it on.
// @function Loop:default_exception_handler
// @tparam table context
static int loop_default_exception_handler(lua_State *L) {
  asy_checkloop(L, 1);
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

static const luaL_Reg functions[] = {{"report_text", report_text}, {NULL, NULL}};

/* stack: module */
void asy_open_report(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", methods, NULL);
}
