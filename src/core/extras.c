/*
** extras.c - what few futures have, in a table of its own.
*/
#include "core/task.h"

#include <stdio.h>

#include "core/error.h"

Future *asy_tofuture(lua_State *L, const Runtime *rt, int idx) {
  void *p = lua_touserdata(L, idx);
  if (!p || !lua_getmetatable(L, idx)) return NULL;
  const void *meta = lua_topointer(L, -1);
  lua_pop(L, 1);
  return meta == rt->meta[ASY_TASK] || meta == rt->meta[ASY_FUTURE] ? p : NULL;
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
