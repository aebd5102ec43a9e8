/*
** interrupt.c - KeyboardInterrupt in the Lua code that runs: a hook that raises.
*/
#include "core/loop.h"

#include "core/error.h"

static void break_hook(lua_State *L, lua_Debug *ar) {
  (void)ar;
  if (asy_runtime(L)->armed != L) { /* a coroutine that was made while another was armed */
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  asy_error_push(L, ASY_KEYBOARD_INTERRUPT, "interrupted by Ctrl-C");
  lua_error(L);
}

void asy_interrupt_arm(Runtime *rt, lua_State *L) {
  rt->old_hook = lua_gethook(L);
  rt->old_mask = lua_gethookmask(L);
  rt->old_count = lua_gethookcount(L);
  rt->armed = L;
  lua_sethook(L, break_hook, LUA_MASKCOUNT, 1);
}

void interrupt_disarm(Runtime *rt) {
  lua_State *L = rt->armed;
  asy_assert(L);
  rt->armed = NULL;
  lua_sethook(L, rt->old_hook, rt->old_mask, rt->old_count);
}
