/*
** spare.h - the coroutines of tasks: new ones, or ended ones that are used again, where the loop was told to.
*/
#ifndef ASY_SPARE_H
#define ASY_SPARE_H

#include "core/task.h"

ASY_HIDDEN

/* Keeps an ended coroutine for the next task; its place in the table was made with it. stack: ..., task */
void asy_spare_keep(lua_State *L, Loop *loop);

/* Pushes a new coroutine, and makes the place where it will be kept. */
lua_State *asy_spare_push_new(lua_State *L, Loop *loop, int held);

/* Pushes a coroutine to run a task in: an ended one, or a new one. Users may have had the ended one in their hands
** (coroutine.running), and may have put it to some use. held: index of the held table */
static inline lua_State *asy_spare_push(lua_State *L, Loop *loop, int held) {
  if (!loop->spare.n) return asy_spare_push_new(L, loop, held);
  lua_rawgeti(L, held, ASY_SLOT_SPARE);
  lua_rawgeti(L, -1, loop->spare.n);
  lua_pushboolean(L, 0);
  lua_rawseti(L, -3, loop->spare.n--);
  lua_replace(L, -2);
  lua_State *co = lua_tothread(L, -1);
  if (lua_status(co) != LUA_OK || lua_gettop(co) || asy_has_frames(co)) {
    lua_pop(L, 1);
    return asy_spare_push_new(L, loop, held);
  }
  if (lua_gethookmask(L) | lua_gethookmask(co))
    lua_sethook(co, lua_gethook(L), lua_gethookmask(L), lua_gethookcount(L));
  return co;
}

ASY_HIDDEN_END

#endif
