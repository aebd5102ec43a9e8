/*
** interrupt.c - KeyboardInterrupt in the Lua code that runs: a hook that raises.
*/
#include "core/loop.h"

#include "core/error.h"

int asy_interrupt_raise(lua_State *L) {
  luaL_checkstack(L, 5, NULL);
  lua_Debug ar = {.currentline = -1};
  for (int level = 0; ar.currentline < 0 && lua_getstack(L, level, &ar); level++) lua_getinfo(L, "Sl", &ar);
  if (ar.currentline < 0)
    asy_error_push(L, ASY_KEYBOARD_INTERRUPT, "interrupted by Ctrl-C");
  else
    asy_error_push(L, ASY_KEYBOARD_INTERRUPT, "interrupted by Ctrl-C at %s:%d", ar.short_src, ar.currentline);
  luaL_traceback(L, L, NULL, 0);
  lua_setfield(L, -2, "traceback");
  lua_error(L);
  for (;;) continue;
}

static void break_hook(lua_State *L, lua_Debug *ar) {
  (void)ar;
  if (asy_runtime(L)->armed != L) { /* a coroutine that was made while another was armed */
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  asy_interrupt_raise(L);
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
