/*
** interrupt.c - KeyboardInterrupt in the Lua code that runs: a hook that raises.
*/
#include "core/task.h"

#include <signal.h>

#include "base/signals.h"
#include "core/argument.h"
#include "core/error.h"

/* Pushes a new error. */
static void push_error(lua_State *L) {
  asy_place(L);
  const char *place = lua_tostring(L, -1);
  int signum = asy_runtime(L)->interrupted_by;
  if (!signum) signum = SIGINT;
  const char *name = signal_name(signum);
  if (!name) name = lua_pushfstring(L, "signal %d", signum);
  asy_error_push(L, ASY_KEYBOARD_INTERRUPT, "interrupted by %s%s%s", signum == SIGINT ? "Ctrl-C" : name,
                 *place ? " at " : "", place);
  asy_traceback(L, L, 0);
  lua_setfield(L, -2, "traceback");
  if (signal_name(signum)) lua_pushstring(L, name); else lua_pushinteger(L, signum);
  lua_setfield(L, -2, "signal");
}

/* A task's is the same each time: what says where it was broken is the first. */
int asy_interrupt_raise(lua_State *L) {
  Task *t = asy_runtime(L)->current;
  luaL_checkstack(L, 10, NULL);
  if (t) {
    asy_task_push(L, t);
    asy_future_extras(L, -1, true);
    int extras = lua_gettop(L);
    if (lua_getfield(L, extras, "interrupt") == LUA_TNIL) {
      push_error(L);
      lua_pushvalue(L, -1);
      lua_setfield(L, extras, "interrupt");
    }
  } else
    push_error(L);
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
