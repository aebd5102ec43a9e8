/*
** runtime.c - what one Lua state knows: its Runtime, the classes, and helpers that everybody uses.
*/
#include "core/runtime.h"

#include <string.h>

#include "core/error.h"

static const char runtime_key = 0; /* registry: the Runtime */

Runtime *asy_runtime(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &runtime_key);
  Runtime *rt = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return rt;
}

Runtime *asy_open_runtime(lua_State *L) {
  Runtime *rt = lua_newuserdatauv(L, sizeof *rt, 0);
  memset(rt, 0, sizeof *rt);
  list_init(&rt->loops);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &runtime_key);
  return rt;
}

void runtime_on_loop(Runtime *rt, const LoopHooks *hooks) {
  asy_assert(rt->nhooks < ASY_MAX_HOOKS);
  rt->hooks[rt->nhooks++] = hooks;
}

/* Classes */

void asy_setfuncs(lua_State *L, const luaL_Reg *functions) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &runtime_key);
  luaL_setfuncs(L, functions, 1);
}

void asy_pushfunction(lua_State *L, lua_CFunction fn) { asy_pushclosure(L, fn, 0); }

void asy_pushclosure(lua_State *L, lua_CFunction fn, int n) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &runtime_key);
  lua_insert(L, -n - 1);
  lua_pushcclosure(L, fn, n + 1);
}

void asy_newclass(lua_State *L, Kind kind, const char *name, const luaL_Reg *methods,
                  const luaL_Reg *metamethods) {
  Runtime *rt = asy_runtime(L);
  if (luaL_newmetatable(L, name)) {
    lua_createtable(L, 0, 16);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "methods");
    lua_setfield(L, -2, "__index");
    rt->meta[kind] = lua_topointer(L, -1);
    lua_pushvalue(L, -1);
    rt->meta_ref[kind] = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  if (metamethods) asy_setfuncs(L, metamethods);
  if (methods) {
    lua_getfield(L, -1, "methods");
    asy_setfuncs(L, methods);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

void asy_pushmeta(lua_State *L, const Runtime *rt, Kind kind) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->meta_ref[kind]);
}

void *asy_test(lua_State *L, const Runtime *rt, int idx, Kind kind) {
  void *p = lua_touserdata(L, idx);
  if (!p || !lua_getmetatable(L, idx)) return NULL;
  bool same = lua_topointer(L, -1) == rt->meta[kind];
  lua_pop(L, 1);
  return same ? p : NULL;
}

void *asy_check(lua_State *L, const Runtime *rt, int idx, Kind kind, const char *name) {
  void *p = asy_test(L, rt, idx, kind);
  if (p) return p;
  if (idx == 1) asy_badself(L, name);
  asy_typeerror(L, idx, idx, name, "");
}

/* Tables */

void asy_subtable(lua_State *L, int idx, const char *key, int narray, int nrecord) {
  idx = lua_absindex(L, idx);
  if (lua_getfield(L, idx, key) == LUA_TTABLE) return;
  lua_createtable(L, narray, nrecord);
  if (lua_getfield(L, idx, key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushvalue(L, -1);
    lua_setfield(L, idx, key);
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/* Values */

void asy_newweak(lua_State *L, const char *mode) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushstring(L, mode);
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
}

int asy_nomemory(lua_State *L) {
  luaL_error(L, "not enough memory");
  for (;;) continue;
}

bool asy_outermost(lua_State *co, lua_Debug *ar) {
  int low = 0, high = 1;
  while (lua_getstack(co, high, ar)) low = high, high *= 2;
  while (high - low > 1) {
    int middle = low + (high - low) / 2;
    if (lua_getstack(co, middle, ar)) low = middle; else high = middle;
  }
  return lua_getstack(co, low, ar);
}

/* A state that is being closed */

/* Lua calls those finalisers with nothing beneath. (So does a host that collects where it isn't in a call.) */
bool asy_is_dying(lua_State *L) {
  lua_Debug ar;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  lua_State *main = lua_tothread(L, -1);
  lua_pop(L, 1);
  return asy_outermost(main, &ar) && lua_getinfo(main, "n", &ar) && ar.name && !strcmp(ar.name, "__gc") &&
         !strcmp(ar.namewhat, "metamethod");
}

void asy_checkalive(lua_State *L) {
  if (asy_is_dying(L)) asy_error(L, ASY_CLOSED, "the Lua state is being closed: this cannot be made any more");
}
