/*
** hold.c - what a loop keeps: finding it by its id, its fields, the table of values that it holds.
*/
#include "core/loop.h"

#include "core/error.h"

static const char loops_key = 0; /* registry: id → loop, weak */

/* Finding loops */

Loop *asy_running(lua_State *L, Runtime *rt) {
  if (!rt->running)
    asy_error(L, ASY_ERROR, "no event loop is running: start one with asyncio.run");
  return rt->running;
}

Loop *asy_checkopenloop(lua_State *L, int idx) {
  Loop *loop = asy_checkloop(L, idx);
  asy_loop_checkopen(L, loop);
  return loop;
}

Loop *loop_find(const Runtime *rt, uint64_t id) {
  if (rt->running && rt->running->id == id) return rt->running;
  list_each(node, &rt->loops) {
    Loop *loop = asy_container(node, Loop, link);
    if (loop->id == id) return loop;
  }
  return NULL;
}

void asy_loop_push(lua_State *L, const Loop *loop) {
  if (loop->rt->running == loop) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, loop->rt->loop_ref);
    return;
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &loops_key);
  lua_rawgeti(L, -1, (lua_Integer)loop->id);
  lua_remove(L, -2);
}

void asy_loop_enrol(lua_State *L, const Loop *loop, int idx) {
  idx = lua_absindex(L, idx);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &loops_key);
  lua_pushvalue(L, idx);
  lua_rawseti(L, -2, (lua_Integer)loop->id);
  lua_pop(L, 1);
}

int asy_loop_closed(lua_State *L) { asy_error(L, ASY_CLOSED, "the event loop is closed"); }

/* Its fields */

/* Pushes the table of its fields; false: it has none any more. */
static bool push_fields(lua_State *L, const Loop *loop) {
  asy_loop_push(L, loop);
  if (lua_isnil(L, -1)) return false;
  int type = lua_getiuservalue(L, -1, ASY_UV_FIELDS);
  lua_replace(L, -2);
  return type == LUA_TTABLE;
}

void asy_loop_getfield(lua_State *L, const Loop *loop, const char *name) {
  if (push_fields(L, loop)) lua_getfield(L, -1, name); else lua_pushnil(L);
  lua_replace(L, -2);
}

void asy_loop_setfield(lua_State *L, const Loop *loop, const char *name) {
  if (!push_fields(L, loop)) asy_loop_closed(L);
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, name);
  lua_pop(L, 2);
}

void asy_loop_subtable(lua_State *L, const Loop *loop, const char *key) {
  if (!push_fields(L, loop)) asy_loop_closed(L);
  asy_subtable(L, -1, key, 0, 0);
  lua_replace(L, -2);
}

/* The held table */

void asy_held_table(lua_State *L, const Loop *loop) {
  if (loop->rt->running == loop) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, loop->rt->held_ref);
    return;
  }
  if (loop->rt->closing == loop) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, loop->rt->closing_ref);
    return;
  }
  asy_loop_push(L, loop);
  if (lua_isnil(L, -1)) return;
  lua_getiuservalue(L, -1, ASY_UV_HELD);
  lua_replace(L, -2);
}

uint32_t asy_hold_in(lua_State *L, Loop *loop, int held) {
  uint32_t slot = loop->held.free;
  if (!slot) {
    lua_rawseti(L, held, loop->held.n + 1); /* may raise: counted after it */
    return ++loop->held.n;
  }
  lua_rawgeti(L, held, slot);
  loop->held.free = (uint32_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  lua_rawseti(L, held, slot);
  return slot;
}

uint32_t asy_hold(lua_State *L, Loop *loop) {
  int held = lua_gettop(L);
  asy_loop_checkopen(L, loop);
  asy_held_table(L, loop);
  if (lua_isnil(L, -1)) asy_loop_closed(L);
  lua_insert(L, held);
  uint32_t slot = asy_hold_in(L, loop, held);
  lua_pop(L, 1);
  return slot;
}

void asy_held_push(lua_State *L, Loop *loop, uint32_t slot) {
  asy_held_table(L, loop);
  if (lua_isnil(L, -1)) return;
  lua_rawgeti(L, -1, slot);
  lua_replace(L, -2);
}

void asy_release_in(lua_State *L, Loop *loop, int held, uint32_t slot) {
  asy_assert(slot >= ASY_SLOT_FIRST && slot <= loop->held.n && loop->held.free <= loop->held.n);
  lua_pushinteger(L, loop->held.free);
  lua_rawseti(L, held, slot);
  loop->held.free = slot;
}

void asy_release(lua_State *L, Loop *loop, uint32_t slot) {
  if (!loop->open) return; /* the table went as a whole */
  asy_held_table(L, loop);
  if (!lua_isnil(L, -1)) asy_release_in(L, loop, lua_gettop(L), slot);
  lua_pop(L, 1);
}

/* stack: ... */
void asy_open_hold(lua_State *L) {
  asy_newweak(L, "v");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &loops_key);
}
