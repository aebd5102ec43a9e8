/*
** shielded.c - what holds requests back: the shields of asyncio.shielded, for cancel.c.
**
** A task counts the shields that it opens, so that each has a number; extras.shields lists the open ones in order. A
** scope's mark is that count at the time when it is made: a request of its is held back by the open shields with
** a higher number. What comes from outside has the mark 0. So a request is due where its mark is at least `shield`, the
** number of the innermost. The marks of requests stand in the same table, under the request: to look needs no memory.
*/
#include "core/shielded.h"

static const char SHIELDS = 0; /* its address is the table's key, which so can be asked for without memory */

/* Pushes the table of a task's shields, or nil. idx: its userdata */
static void push_shields(lua_State *L, int idx) {
  asy_future_extras(L, idx, false);
  if (lua_istable(L, -1))
    lua_rawgetp(L, -1, &SHIELDS);
  else
    lua_pushnil(L);
  lua_remove(L, -2);
}

/* The same, and makes it where there is none. */
static void make_shields(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  asy_future_extras(L, idx, true);
  lua_newtable(L);
  if (lua_rawgetp(L, -2, &SHIELDS) == LUA_TNIL) { /* as in asy_subtable */
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, -3, &SHIELDS);
  }
  lua_replace(L, -3);
  lua_settop(L, -2);
}

void asy_shield_mark(lua_State *L, uint64_t mark) {
  make_shields(L, -2);
  lua_pushvalue(L, -2);
  lua_pushinteger(L, (lua_Integer)mark);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

uint32_t asy_shield_due(lua_State *L, Task *t) {
  if (!t->shield) return t->requests > 0;
  uint32_t due = 0;
  if (!lua_checkstack(L, 8)) return 0; /* where a task is about to be suspended nothing may raise */
  int top = lua_gettop(L);
  asy_task_push(L, t);
  push_shields(L, top + 1);
  asy_future_extras(L, top + 1, false);
  lua_getfield(L, top + 3, "requests");
  for (uint32_t i = 1; !due && i <= t->requests; i++) {
    lua_rawgeti(L, top + 4, i);
    lua_rawget(L, top + 2);
    if ((uint64_t)lua_tointeger(L, -1) >= t->shield) due = i;
    lua_pop(L, 1);
  }
  lua_settop(L, top);
  return due;
}

void asy_shield_unmark(lua_State *L, int idx, int request) {
  request = lua_absindex(L, request);
  push_shields(L, idx);
  if (lua_istable(L, -1)) {
    lua_pushvalue(L, request);
    lua_pushnil(L);
    lua_rawset(L, -3);
  }
  lua_pop(L, 1);
}

uint64_t asy_shield_open(lua_State *L, Task *t, int idx) {
  make_shields(L, idx);
  lua_pushinteger(L, (lua_Integer)t->shields + 1);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
  return t->shield = ++t->shields;
}

void asy_shield_close(lua_State *L, Task *t, int idx, lua_Integer number) {
  lua_Integer kept = 0, n;
  push_shields(L, idx);
  if (lua_istable(L, -1)) {
    n = (lua_Integer)lua_rawlen(L, -1);
    t->shield = 0;
    for (lua_Integer i = 1; i <= n; i++) {
      lua_rawgeti(L, -1, i);
      lua_Integer open = lua_tointeger(L, -1);
      if (open == number) {
        lua_pop(L, 1);
      } else {
        lua_rawseti(L, -2, ++kept);
        t->shield = (uint64_t)open;
      }
    }
    for (; n > kept; n--) {
      lua_pushnil(L);
      lua_rawseti(L, -2, n);
    }
  }
  lua_pop(L, 1);
}
