/*
** spare.c - ended coroutines, to be used again by the next tasks.
*/
#include "core/spare.h"

#define MAX_SPARE 1024 /* ended coroutines kept for the next tasks (about 1 KB each) */

/* Keeps an ended coroutine to be used again; its place in the table was made with it. stack: ..., task */
void asy_spare_keep(lua_State *L, Loop *loop, Task *t) {
  lua_settop(t->co, 0);
  if (!t->own_coro || loop->spare.n >= loop->spare.size) return;
  lua_rawgeti(L, ASY_HELD, ASY_SLOT_SPARE);
  lua_getiuservalue(L, -2, TASK_UV_CORO);
  lua_rawseti(L, -2, ++loop->spare.n);
  lua_pop(L, 1);
}

/* Pushes a new coroutine, and makes the place where it will be kept. */
static lua_State *push_new_coroutine(lua_State *L, Loop *loop, int held) {
  lua_State *co = lua_newthread(L);
  asy_loop_checkopen(L, loop);
  if (loop->spare.size >= MAX_SPARE) return co;
  lua_rawgeti(L, held, ASY_SLOT_SPARE);
  lua_pushboolean(L, 0);
  lua_rawseti(L, -2, loop->spare.size + 1);
  loop->spare.size++;
  lua_pop(L, 1);
  return co;
}

/* Pushes a coroutine to run a task in: an ended one, or a new one. Users may have had the ended one in
** their hands (coroutine.running), and may have put it to some use. */
lua_State *asy_spare_push(lua_State *L, Loop *loop, int held) {
  if (!loop->spare.n) return push_new_coroutine(L, loop, held);
  lua_rawgeti(L, held, ASY_SLOT_SPARE);
  lua_rawgeti(L, -1, loop->spare.n);
  lua_pushboolean(L, 0);
  lua_rawseti(L, -3, loop->spare.n--);
  lua_replace(L, -2);
  lua_State *co = lua_tothread(L, -1);
  if (lua_status(co) != LUA_OK || lua_gettop(co) || asy_has_frames(co)) {
    lua_pop(L, 1);
    return push_new_coroutine(L, loop, held);
  }
  if (lua_gethookmask(L) | lua_gethookmask(co))
    lua_sethook(co, lua_gethook(L), lua_gethookmask(L), lua_gethookcount(L));
  return co;
}
