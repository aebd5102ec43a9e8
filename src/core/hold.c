/*
** hold.c - what a loop keeps: finding it by its id, its fields, the table of values that it holds.
*/
#include "core/loop.h"

#include "base/alloc.h"
#include "core/error.h"

static const char loops_key = 0; /* registry: id → loop, weak */
static const char dying_key = 0; /* registry: loop → true, weak: there it is until its own finaliser has run */

/* Finding loops */

Loop *asy_running(lua_State *L, Runtime *rt) {
  if (!rt->running)
    asy_error(L, ASY_ERROR, rt->forked ? "no event loop is running in this process, which was forked from the one "
                                         "that has it: start one with asyncio.run"
                                       : "no event loop is running: start one with asyncio.run");
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

/* stack: ..., nil → ..., the userdata of a loop that is being collected, or nil. A finaliser that runs before the
** loop's may have its tasks, and do with them what it likes. */
static void push_dying(lua_State *L, const Loop *loop) {
  if (!lua_checkstack(L, 3)) return;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &dying_key);
  lua_insert(L, -2);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    if (lua_touserdata(L, -1) == loop) {
      lua_remove(L, -2);
      return;
    }
  }
  lua_pop(L, 1);
  lua_pushnil(L);
}

void asy_loop_push(lua_State *L, const Loop *loop) {
  if (loop->rt->running == loop) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, loop->rt->loop_ref);
    return;
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &loops_key);
  lua_rawgeti(L, -1, (lua_Integer)loop->id);
  lua_remove(L, -2);
  if (lua_isnil(L, -1) && loop->open) push_dying(L, loop);
}

bool asy_loop_dies(lua_State *L, const Loop *loop) {
  if (loop->rt->running == loop) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &loops_key);
  bool dies = lua_rawgeti(L, -1, (lua_Integer)loop->id) == LUA_TNIL;
  lua_pop(L, 2);
  return dies;
}

void asy_loop_enrol(lua_State *L, const Loop *loop, int idx) {
  idx = lua_absindex(L, idx);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &loops_key);
  lua_pushvalue(L, idx);
  lua_rawseti(L, -2, (lua_Integer)loop->id);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &dying_key);
  lua_pushvalue(L, idx);
  lua_pushboolean(L, true);
  lua_rawset(L, -3);
  lua_pop(L, 2);
}

int asy_loop_closed(lua_State *L, const Loop *loop) {
  asy_error(L, ASY_CLOSED, loop->copied ? "the event loop is the parent's: this process was forked from it"
                                        : "the event loop is closed");
}

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
  if (!push_fields(L, loop)) asy_loop_closed(L, loop);
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, name);
  lua_pop(L, 2);
}

void asy_loop_fatal(lua_State *L, Loop *loop) {
  asy_loop_setfield(L, loop, "fatal");
  loop->fatal = true;
}

void asy_loop_subtable(lua_State *L, const Loop *loop, const char *key) {
  if (!push_fields(L, loop)) asy_loop_closed(L, loop);
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

/* Room for one slot more among the free ones, so that a release allocates nothing. */
static void reserve(lua_State *L, Held *h) {
  if (h->n < h->size) return;
  uint32_t size = h->size ? 2 * h->size : 64;
  uint32_t *slots = mem_realloc(h->free, size * sizeof *slots);
  if (!slots) asy_nomemory(L);
  h->free = slots;
  h->size = size;
}

uint32_t asy_hold_in(lua_State *L, Loop *loop, int held) {
  Held *h = &loop->held;
  uint32_t slot;
  if (h->nfree)
    slot = h->free[--h->nfree];
  else {
    reserve(L, h);
    slot = h->n + 1;
  }
  lua_rawseti(L, held, slot); /* a new one may raise: counted after it */
  if (slot > h->n) h->n = slot;
  return slot;
}

uint32_t asy_hold(lua_State *L, Loop *loop) {
  int held = lua_gettop(L);
  asy_loop_checkopen(L, loop);
  asy_held_table(L, loop);
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
  Held *h = &loop->held;
  asy_assert(slot >= ASY_SLOT_FIRST && slot <= h->n && h->nfree < h->n);
  lua_pushboolean(L, 0); /* not nil: the table keeps its size */
  lua_rawseti(L, held, slot);
  h->free[h->nfree++] = slot;
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
  asy_newweak(L, "k");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &dying_key);
}
