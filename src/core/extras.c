/*
** extras.c - what few futures have, in a table of its own.
*/
#include "core/task.h"

#include <stdio.h>

#include "core/error.h"
#include "open.h"

Future *asy_tofuture(lua_State *L, const Runtime *rt, int idx) {
  void *p = lua_touserdata(L, idx);
  if (!p || !lua_getmetatable(L, idx)) return NULL;
  const void *meta = lua_topointer(L, -1);
  lua_pop(L, 1);
  return meta == rt->meta[ASY_TASK] || meta == rt->meta[ASY_FUTURE] || meta == rt->meta[ASY_FIELDED] ? p : NULL;
}

void asy_future_extras(lua_State *L, int idx, bool make) {
  idx = lua_absindex(L, idx);
  if (lua_getiuservalue(L, idx, FUTURE_UV_EXTRAS) != LUA_TNIL || !make) return;
  lua_createtable(L, 0, 2);
  if (lua_getiuservalue(L, idx, FUTURE_UV_EXTRAS) == LUA_TNIL) { /* as in asy_subtable */
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, idx, FUTURE_UV_EXTRAS);
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
}

void asy_future_subtable(lua_State *L, int idx, const char *key, int narray, int nrecord) {
  idx = lua_absindex(L, idx);
  if (lua_getiuservalue(L, idx, FUTURE_UV_EXTRAS) == LUA_TNIL) { /* nearly always: one look for both */
    lua_createtable(L, 0, 2);
    lua_createtable(L, narray, nrecord);
    if (lua_getiuservalue(L, idx, FUTURE_UV_EXTRAS) == LUA_TNIL) {
      lua_pop(L, 1);
      lua_pushvalue(L, -1);
      lua_setfield(L, -3, key);
      lua_pushvalue(L, -2);
      lua_setiuservalue(L, idx, FUTURE_UV_EXTRAS);
      lua_remove(L, -3);
      return;
    }
    lua_replace(L, -4);
    lua_pop(L, 2);
  }
  asy_subtable(L, -1, key, narray, nrecord);
}

int asy_future_extra(lua_State *L, int idx, const char *key) {
  asy_future_extras(L, idx, false);
  int type = lua_istable(L, -1) ? lua_getfield(L, -1, key) : (lua_pushnil(L), LUA_TNIL);
  lua_remove(L, -2);
  return type;
}

void asy_debug_note(lua_State *L, int idx, const char *key, int level) {
  luaL_checkstack(L, 5, NULL);
  idx = lua_absindex(L, idx);
  asy_traceback(L, L, level);
  asy_future_extras(L, idx, true);
  lua_insert(L, -2);
  lua_setfield(L, -2, key);
  lua_pop(L, 1);
}

void task_default_name(const Task *t, char *text) {
  if (t->role && t->role->name)
    t->role->name(t, text);
  else
    snprintf(text, ASY_TASK_TEXT, "Task-%llu", (unsigned long long)t->number);
}

void asy_task_name(lua_State *L, Task *t, int idx) {
  if (asy_future_extra(L, idx, "name") == LUA_TSTRING) return;
  char text[ASY_TASK_TEXT];
  task_default_name(t, text);
  lua_pushstring(L, text);
  lua_replace(L, -2);
}

/* Futures with fields. They have a class of their own: the others' methods are found without a function. */

/* upvalue 2: the methods */
static int fielded__index(lua_State *L) {
  if (!asy_tofuture(L, ASY_RUNTIME(L), 1)) asy_badself(L, "asyncio.Future");
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) return 1;
  if (asy_future_extra(L, 1, "fields") != LUA_TTABLE) return 1;
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  return 1;
}

/* stack: ... → ..., the class of futures, but for how it looks names up */
static void push_copy(lua_State *L, const Runtime *rt) {
  lua_createtable(L, 0, 4);
  asy_pushmeta(L, rt, ASY_FUTURE);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, -6);
  }
  lua_getfield(L, -1, "__index");
  lua_remove(L, -2);
  asy_pushclosure(L, fielded__index, 1);
  lua_setfield(L, -2, "__index");
}

static void push_fielded(lua_State *L, Runtime *rt) {
  if (!rt->meta[ASY_FIELDED]) {
    push_copy(L, rt);
    const void *meta = lua_topointer(L, -1);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    if (rt->meta[ASY_FIELDED]) { /* a finaliser was quicker */
      luaL_unref(L, LUA_REGISTRYINDEX, ref);
    } else {
      rt->meta[ASY_FIELDED] = meta;
      rt->meta_ref[ASY_FIELDED] = ref;
    }
  }
  asy_pushmeta(L, rt, ASY_FIELDED);
}

/* args: future, table: what it has besides its methods, for the Lua layer */
static int future_fields(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  const Future *f = asy_tofuture(L, rt, 1);
  if (!f || f->task) asy_badself(L, "asyncio.Future");
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  push_fielded(L, rt);
  asy_future_extras(L, 1, true);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "fields");
  lua_pop(L, 1);
  lua_setmetatable(L, 1);
  return 0;
}

static const luaL_Reg methods[] = {{"_fields", future_fields}, {NULL, NULL}};

void asy_open_extras(lua_State *L) { asy_newclass(L, ASY_FUTURE, "asyncio.Future", methods, NULL); }
