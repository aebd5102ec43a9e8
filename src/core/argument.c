/*
** argument.c - errors of arguments: whose, where, and what was meant.
*/
#include "core/argument.h"

#include <string.h>

#include "open.h"

static const char home_key = 0; /* registry: how the sources of the Lua layer begin, "@/usr/share/lua/5.4/asyncio/" */
static const char loop_key = 0; /* registry: the function that a loop runs in */

/* Where it was called */

void asy_called_within(lua_State *L) { lua_rawsetp(L, LUA_REGISTRYINDEX, &loop_key); }

const char *asy_home(lua_State *L, size_t *n) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &home_key);
  const char *home = lua_tolstring(L, -1, n);
  lua_pop(L, 1);
  return home;
}

static bool is_home(lua_State *L, lua_Debug *ar, const char *home, size_t n) {
  lua_getinfo(L, "Sl", ar);
  return home && !strncmp(ar->source, home, n);
}

/* Whether it is where a loop runs: what called that has called nothing of what the loop calls. */
static bool is_loop(lua_State *L, lua_Debug *ar) {
  lua_getinfo(L, "f", ar);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &loop_key);
  bool yes = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return yes;
}

/* The innermost level above this function that isn't the Lua layer's, nor what that calls in C (pcall). */
static int outer_level(lua_State *L, lua_Debug *ar) {
  size_t n = 0;
  int level = 1;
  const char *home = asy_home(L, &n);
  for (int i = 1; lua_getstack(L, i, ar); i++) {
    if (is_home(L, ar, home, n))
      level = i + 1;
    else if (*ar->what != 'C' || is_loop(L, ar))
      break;
  }
  return level;
}

bool asy_is_home(lua_State *L, const char *source) {
  size_t n = 0;
  const char *home = asy_home(L, &n);
  return home && !strncmp(source, home, n);
}

void asy_place(lua_State *L) {
  lua_Debug ar;
  size_t n = 0;
  const char *home = asy_home(L, &n);
  for (int i = 0; lua_getstack(L, i, &ar); i++)
    if (!is_home(L, &ar, home, n) && ar.currentline > 0) {
      lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
      return;
    }
  lua_pushliteral(L, "");
}

void asy_where(lua_State *L) {
  lua_Debug ar;
  luaL_checkstack(L, 8, NULL);
  luaL_where(L, outer_level(L, &ar));
}

/* The same for what the Lua layer was given, also through C: by pcall, or as a class that was called. */
static void push_place(lua_State *L) {
  lua_Debug ar;
  int level = outer_level(L, &ar);
  if (level > 1)
    while (lua_getstack(L, level, &ar) && lua_getinfo(L, "S", &ar) && *ar.what == 'C' && !is_loop(L, &ar)) level++;
  luaL_where(L, level);
}

void asy_called(lua_State *L, lua_Debug *ar) {
  luaL_checkstack(L, 8, NULL);
  push_place(L);
  if (lua_getstack(L, outer_level(L, ar) - 1, ar)) {
    lua_getinfo(L, "nf", ar);
    return;
  }
  ar->name = NULL;
  ar->namewhat = "";
  lua_pushnil(L);
}

/* place() → "file:line: " of who called the Lua layer, or "" */
static int argument_place(lua_State *L) {
  push_place(L);
  return 1;
}

/* note_home(): the caller is a file of the Lua layer, and the others stand beside it */
static int argument_note_home(lua_State *L) {
  lua_Debug ar;
  if (!lua_getstack(L, 1, &ar) || !lua_getinfo(L, "S", &ar) || *ar.source != '@') return 0;
  const char *slash = strrchr(ar.source, '/');
  if (!slash) return 0;
  lua_pushlstring(L, ar.source, (size_t)(slash - ar.source) + 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &home_key);
  return 0;
}

/* What is said */

/* stack: ..., text */
ASY_NORETURN static void raise(lua_State *L) {
  push_place(L);
  lua_insert(L, -2);
  lua_concat(L, 2);
  lua_error(L);
  for (;;) continue;
}

void asy_argerror_of(lua_State *L, const char *name, int arg, const char *text) {
  luaL_checkstack(L, 8, NULL);
  lua_pushfstring(L, "bad argument #%d to '%s' (%s)", arg, name, text);
  raise(L);
}

/* How the function was called that the user has called: ours in C, or one of the Lua layer's above it. passed_on: that
** one. NULL: it has no name. */
static const char *called_name(lua_State *L, lua_Debug *ar, bool *passed_on) {
  int level = outer_level(L, ar);
  *passed_on = level > 1;
  return lua_getstack(L, level - 1, ar) && lua_getinfo(L, "n", ar) ? ar->name : NULL;
}

/* A function that was called without a name, by pcall: what the module calls it, and not the core or another file.
** stack: ..., function; pushes it, or nothing. */
static const char *public_name(lua_State *L) {
  int fn = lua_gettop(L);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "asyncio") != LUA_TTABLE) return NULL;
  for (lua_pushnil(L); lua_next(L, fn + 2); lua_pop(L, 1))
    if (lua_rawequal(L, -1, fn) && lua_type(L, -2) == LUA_TSTRING)
      return lua_pushfstring(L, "asyncio.%s", lua_tostring(L, -2));
  return NULL;
}

/* Its name among the methods on top. stack: ..., function at fn, ..., methods */
static const char *name_among(lua_State *L, int fn) {
  int methods = lua_gettop(L);
  if (!lua_istable(L, methods)) return NULL;
  for (lua_pushnil(L); lua_next(L, methods); lua_pop(L, 1))
    if (lua_rawequal(L, -1, fn) && lua_type(L, -2) == LUA_TSTRING) return lua_tostring(L, -2);
  return NULL;
}

/* The same for a method: its name in the class of the object at 1. stack: ..., function */
static const char *method_name(lua_State *L) {
  int fn = lua_gettop(L);
  if (!lua_getmetatable(L, 1)) return NULL;
  if (lua_getfield(L, -1, "__index") == LUA_TFUNCTION && lua_getupvalue(L, -1, 2)) lua_replace(L, -2);
  return name_among(L, fn);
}

void asy_argerror(lua_State *L, int arg, const char *text) {
  lua_Debug own, outer;
  bool passed_on;
  luaL_checkstack(L, 20, NULL);
  const char *name = called_name(L, &outer, &passed_on);
  if (passed_on && name && lua_getstack(L, 0, &own) && lua_getinfo(L, "n", &own))
    asy_argerror_of(L, name, arg - (own.name && !strcmp(own.namewhat, "method")), text);
  if (!name && lua_getinfo(L, "f", &outer)) {
    int fn = lua_gettop(L);
    name = public_name(L);
    if (!name) {
      lua_settop(L, fn);
      name = method_name(L);
    }
    if (name) asy_argerror_of(L, name, arg, text);
  }
  luaL_argerror(L, arg, text);
  for (;;) continue;
}

const char *asy_kindof(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 4, NULL);
  if (lua_isnone(L, idx)) return lua_pushliteral(L, "no value");
  if (luaL_getmetafield(L, idx, "__name") == LUA_TSTRING) return lua_tostring(L, -1);
  if (lua_type(L, idx) == LUA_TNUMBER && lua_tonumber(L, idx) != lua_tonumber(L, idx))
    return lua_pushliteral(L, "NaN");
  return lua_pushstring(L, lua_type(L, idx) == LUA_TLIGHTUSERDATA ? "light userdata" : luaL_typename(L, idx));
}

void asy_typeerror(lua_State *L, int arg, int idx, const char *expected, const char *more) {
  const char *kind = asy_kindof(L, idx);
  asy_argerror(L, arg, lua_pushfstring(L, "%s expected, got %s%s", expected, kind, more));
}

/* A method that was called without a name, by pcall, on what isn't of its class. stack: ..., function */
static const char *name_in_class(lua_State *L, const char *cls) {
  int fn = lua_gettop(L);
  return luaL_getmetatable(L, cls) == LUA_TTABLE && lua_getfield(L, -1, "methods") ? name_among(L, fn) : NULL;
}

void asy_badself(lua_State *L, const char *cls) {
  lua_Debug ar;
  luaL_checkstack(L, 20, NULL);
  const char *kind = asy_kindof(L, 1);
  if (lua_getstack(L, 0, &ar) && lua_getinfo(L, "nf", &ar) && !ar.name) {
    const char *name = name_in_class(L, cls);
    if (name) asy_argerror_of(L, name, 1, lua_pushfstring(L, "%s expected, got %s", cls, kind));
  }
  if (!lua_getstack(L, 0, &ar) || !lua_getinfo(L, "n", &ar) || !ar.name || strcmp(ar.namewhat, "field"))
    asy_typeerror(L, 1, 1, cls, "");
  asy_argerror_of(L, ar.name, 1, lua_pushfstring(L, "%s expected, got %s; use a colon: object:%s(...)", cls, kind,
                                                        ar.name));
}

void asy_notfunction(lua_State *L, int arg, int idx, const char *expected, const char *right, const char *wrong) {
  lua_Debug ar;
  bool passed_on;
  const char *name = called_name(L, &ar, &passed_on);
  if (!name) asy_typeerror(L, arg, idx, expected, "");
  const char *kind = asy_kindof(L, idx); /* first: where nothing was passed, idx is above the top */
  asy_argerror(L, arg, lua_pushfstring(L, "%s expected, got %s; write %s(%s), not %s(%s)", expected, kind, name, right,
                                       name, wrong));
}

bool asy_checkboolean(lua_State *L, int arg) {
  if (!lua_isnoneornil(L, arg) && !lua_isboolean(L, arg)) asy_typeerror(L, arg, arg, "boolean", "");
  return lua_toboolean(L, arg);
}

lua_Integer asy_checkinteger(lua_State *L, int arg) {
  int isint;
  if (lua_type(L, arg) != LUA_TNUMBER) asy_typeerror(L, arg, arg, "number", "");
  lua_Integer n = lua_tointegerx(L, arg, &isint);
  if (!isint) asy_argerror(L, arg, "number has no integer representation");
  return n;
}

bool asy_callable(lua_State *L, int idx) {
  if (lua_isfunction(L, idx)) return true;
  if (luaL_getmetafield(L, idx, "__call") == LUA_TNIL) return false;
  lua_pop(L, 1);
  return true;
}

/* For the Lua layer. argument_error(n, name, text) */
static int argument_error(lua_State *L) {
  asy_argerror_of(L, luaL_checkstring(L, 2), (int)luaL_checkinteger(L, 1), luaL_checkstring(L, 3));
}

/* The value at 1 is no object of that class. level: the method's */
ASY_NORETURN static void bad_self(lua_State *L, const char *cls, const char *name, int level) {
  lua_Debug ar;
  const char *kind = asy_kindof(L, 1);
  const char *how = lua_getstack(L, level, &ar) && lua_getinfo(L, "n", &ar) && ar.name ? ar.namewhat : "";
  if (!strcmp(how, "method")) {
    lua_pushfstring(L, "calling '%s' on bad self (%s expected, got %s)", name, cls, kind);
    raise(L);
  }
  const char *hint = strcmp(how, "field") ? "" : lua_pushfstring(L, "; use a colon: object:%s(...)", name);
  asy_argerror_of(L, name, 1, lua_pushfstring(L, "%s expected, got %s%s", cls, kind, hint));
}

void asy_badself_of(lua_State *L, const char *cls, const char *name) { bad_self(L, cls, name, 0); }

/* check_self(value, metatable, name): called by the method */
static int argument_check_self(lua_State *L) {
  if (lua_getmetatable(L, 1) && lua_rawequal(L, -1, 2)) return 0;
  lua_settop(L, 3);
  lua_getfield(L, 2, "__name");
  bad_self(L, luaL_checkstring(L, 4), luaL_checkstring(L, 3), 1);
}

/* bad_self(value, class, name): called by a function that the method has called */
static int argument_bad_self(lua_State *L) {
  bad_self(L, luaL_checkstring(L, 2), luaL_checkstring(L, 3), 2);
}

/* kind_of(value) → a word */
static int argument_kind_of(lua_State *L) {
  asy_kindof(L, 1);
  return 1;
}

static const luaL_Reg functions[] = {{"argument_error", argument_error},
                                     {"bad_self", argument_bad_self},
                                     {"check_self", argument_check_self},
                                     {"kind_of", argument_kind_of},
                                     {"note_home", argument_note_home},
                                     {"place", argument_place},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_argument(lua_State *L) { luaL_setfuncs(L, functions, 0); }
