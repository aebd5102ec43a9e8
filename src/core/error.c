/*
** error.c - how C raises errors, and libuv's codes as OSError. Everything raised on purpose is made here.
*/
#include "core/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

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
    {UV_ESHUTDOWN, ASY_BROKEN_PIPE},           {UV_EEXIST, ASY_FILE_EXISTS},
    {UV_EISDIR, ASY_IS_A_DIRECTORY},           {UV_ENOTDIR, ASY_NOT_A_DIRECTORY},
    {UV_ESRCH, ASY_PROCESS_LOOKUP},            {-ECHILD, ASY_CHILD_PROCESS},
};

/* Codes that libuv has no words for, and processes and files meet. */
static const struct {
  int status;
  const char *name, *text;
} MORE_CODES[] = {
    {-ECHILD, "ECHILD", "no child process"},
    {-ENOEXEC, "ENOEXEC", "not a program of this machine, nor a script that names its interpreter"},
    {-EDQUOT, "EDQUOT", "disk quota exceeded"},
    {-ESTALE, "ESTALE", "the file is gone from its server"},
    {-EDEADLK, "EDEADLK", "resource deadlock avoided"},
    {-ENOLCK, "ENOLCK", "no locks available"},
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

typedef struct CodeWords {
  char name[64], text[256];
} CodeWords;

static void code_words(int status, CodeWords *words) {
  for (size_t i = 0; i < sizeof MORE_CODES / sizeof *MORE_CODES; i++)
    if (MORE_CODES[i].status == status) {
      snprintf(words->name, sizeof words->name, "%s", MORE_CODES[i].name);
      snprintf(words->text, sizeof words->text, "%s", MORE_CODES[i].text);
      return;
    }
  uv_err_name_r(status, words->name, sizeof words->name);
  uv_strerror_r(status, words->text, sizeof words->text);
}

/* All but the class. stack: ... → ..., error; `whom` is the call's object in words, or NULL */
static void push_oserror(lua_State *L, int status, const char *syscall, const char *whom) {
  CodeWords words;
  luaL_checkstack(L, 8, NULL);
  code_words(status, &words);
  lua_createtable(L, 0, 6);
  lua_pushfstring(L, whom ? "%s: %s %s" : "%s: %s", words.text, syscall, whom);
  lua_setfield(L, -2, "message");
  lua_pushstring(L, words.name);
  lua_setfield(L, -2, "code");
  lua_pushinteger(L, -(lua_Integer)status);
  lua_setfield(L, -2, "errno");
  lua_pushstring(L, syscall);
  lua_setfield(L, -2, "syscall");
}

void asy_oserror_push(lua_State *L, int status, const char *syscall, const char *address) {
  push_oserror(L, status, syscall, address);
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

/* stack: ..., error → ..., error */
static void set_path(lua_State *L, const char *field, const char *path) {
  lua_pushstring(L, path);
  lua_setfield(L, -2, field);
}

void asy_patherror_push(lua_State *L, int status, const char *syscall, const char *path, const char *path2) {
  luaL_checkstack(L, 10, NULL);
  lua_pushstring(L, path);
  if (path2) lua_pushfstring(L, "%s to %s", path, path2);
  push_oserror(L, status, syscall, lua_tostring(L, -1));
  lua_replace(L, path2 ? -3 : -2);
  if (path2) lua_pop(L, 1);
  set_path(L, "path", path);
  if (path2) set_path(L, "path2", path2);
  asy_class_push(L, os_class(status));
  lua_setmetatable(L, -2);
}

int asy_patherror(lua_State *L, int status, const char *syscall, const char *path, const char *path2) {
  asy_patherror_push(L, status, syscall, path, path2);
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
