/*
** spare.c - ended coroutines that are used again by the next tasks, in a loop that was told to (see `reuse`).
*/
#include "core/spare.h"

#define MAX_SPARE 1024 /* ended coroutines kept for the next tasks (about 1 KB each) */

void asy_spare_keep(lua_State *L, Loop *loop) {
  if (loop->spare.n >= loop->spare.size) return;
  lua_rawgeti(L, ASY_HELD, ASY_SLOT_SPARE);
  lua_getiuservalue(L, -2, TASK_UV_CORO);
  lua_rawseti(L, -2, ++loop->spare.n);
  lua_pop(L, 1);
}

lua_State *asy_spare_push_new(lua_State *L, Loop *loop, int held) {
  lua_State *co = lua_newthread(L);
  asy_loop_checkopen(L, loop);
  if (!loop->reuse || loop->spare.size >= MAX_SPARE) return co;
  lua_rawgeti(L, held, ASY_SLOT_SPARE);
  lua_pushboolean(L, 0);
  lua_rawseti(L, -2, loop->spare.size + 1);
  loop->spare.size++;
  lua_pop(L, 1);
  return co;
}
