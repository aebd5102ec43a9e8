/*
** error.c - how C raises errors, and libuv's codes as OSError. Everything raised on purpose is made here.
*/
#include "core/error.h"

#include <stdarg.h>

#include <uv.h>

#include "core/argument.h"

static const struct {
  int status;
  ErrorClass cls;
} OS_CLASSES[] = {
    {UV_ECONNREFUSED, ASY_CONNECTION_REFUSED}, {UV_ECONNRESET, ASY_CONNECTION_RESET},
    {UV_ECONNABORTED, ASY_CONNECTION_RESET},   {UV_EPIPE, ASY_BROKEN_PIPE},
    {UV_EADDRINUSE, ASY_ADDRESS_IN_USE},       {UV_ENOENT, ASY_FILE_NOT_FOUND},
    {UV_EACCES, ASY_PERMISSION},               {UV_EPERM, ASY_PERMISSION},
    {UV_ESHUTDOWN, ASY_BROKEN_PIPE},
};

/* stack: ..., message → ..., error */
static void wrap_message(lua_State *L, ErrorClass cls) {
  lua_createtable(L, 0, 2);
  lua_insert(L, -2);
  lua_setfield(L, -2, "message");
  asy_class_push(L, cls);
  lua_setmetatable(L, -2);
}

void asy_error_push(lua_State *L, ErrorClass cls, const char *fmt, ...) {
  va_list ap;
  luaL_checkstack(L, 8, NULL);
  va_start(ap, fmt);
  lua_pushvfstring(L, fmt, ap);
  va_end(ap);
  wrap_message(L, cls);
}

/* Made to be caught by who asks without waiting: they go without a traceback. */
static bool is_answer(ErrorClass cls) { return cls == ASY_QUEUE_EMPTY || cls == ASY_QUEUE_FULL; }

int asy_error(lua_State *L, ErrorClass cls, const char *fmt, ...) {
  va_list ap;
  luaL_checkstack(L, 8, NULL);
  if (cls == ASY_ERROR) asy_where(L); else lua_pushliteral(L, "");
  va_start(ap, fmt);
  lua_pushvfstring(L, fmt, ap);
  va_end(ap);
  lua_concat(L, 2);
  wrap_message(L, cls);
  if (!is_answer(cls)) asy_made_note(L, 0);
  lua_error(L);
#if defined(__GNUC__)
  __builtin_unreachable();
#endif
}

static bool is_gai(int status) { return status <= -3000 && status > -3100; } /* UV_EAI_* */

static ErrorClass os_class(int status) {
  if (is_gai(status)) return ASY_GAI;
  for (size_t i = 0; i < sizeof OS_CLASSES / sizeof *OS_CLASSES; i++)
    if (OS_CLASSES[i].status == status) return OS_CLASSES[i].cls;
  return ASY_OSERROR;
}

void asy_oserror_push(lua_State *L, int status, const char *syscall, const char *address) {
  char name[64], text[256];
  luaL_checkstack(L, 8, NULL);
  uv_err_name_r(status, name, sizeof name);
  uv_strerror_r(status, text, sizeof text);
  lua_createtable(L, 0, 5);
  lua_pushfstring(L, address ? "%s: %s %s" : "%s: %s", text, syscall, address);
  lua_setfield(L, -2, "message");
  lua_pushstring(L, name);
  lua_setfield(L, -2, "code");
  lua_pushinteger(L, -(lua_Integer)status);
  lua_setfield(L, -2, "errno");
  lua_pushstring(L, syscall);
  lua_setfield(L, -2, "syscall");
  if (address) {
    lua_pushstring(L, address);
    lua_setfield(L, -2, "address");
  }
  asy_class_push(L, os_class(status));
  lua_setmetatable(L, -2);
}

int asy_oserror(lua_State *L, int status, const char *syscall, const char *address) {
  asy_oserror_push(L, status, syscall, address);
  asy_made_note(L, 0);
  lua_error(L);
#if defined(__GNUC__)
  __builtin_unreachable();
#endif
}

void asy_error_keep(lua_State *L, int idx) {
  int traceback = lua_gettop(L);
  idx = lua_absindex(L, idx);
  if (!asy_isinstance(L, idx, ASY_ERROR)) return;
  lua_pushliteral(L, "traceback");
  if (lua_rawget(L, idx) == LUA_TNIL || asy_made_forget(L, idx)) {
    lua_pushliteral(L, "traceback");
    lua_pushvalue(L, traceback);
    lua_rawset(L, idx);
  }
  lua_settop(L, traceback);
}
