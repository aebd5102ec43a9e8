/*
** scopes.c - what a task should have closed and never did: it is reported, and let go.
*/
#include "core/scopes.h"

#include <stdio.h>
#include <string.h>

#include "core/report.h"
#include "core/shielded.h"

void asy_scope_place(lua_State *L, int *line, char *source) {
  lua_Debug ar;
  if (!lua_getstack(L, 1, &ar)) return;
  lua_getinfo(L, "Sl", &ar);
  if (ar.currentline <= 0) return;
  *line = ar.currentline;
  memcpy(source, ar.short_src, sizeof ar.short_src);
}

void asy_scope_report(lua_State *L, Loop *loop, const char *name, const char *source, int line) {
  char message[120], place[LUA_IDSIZE + 32];
  snprintf(message, sizeof message, "a scope was never closed (local _ <close> = ...): %s", name);
  snprintf(place, sizeof place, "made at %s:%d", source, line);
  asy_report(L, loop, (Report){.message = message, .key = "task", .object = -1, .source = line ? place : NULL});
}

bool asy_scope_withdraw(lua_State *L, Task *t, int task, int request) {
  bool undelivered = asy_task_withdraw(L, t, request);
  if (t->shields) asy_shield_unmark(L, task, request);
  if (t->cancelling) t->cancelling--;
  return undelivered;
}

/* args: loop (light), scope, its place, task, whether to be quiet; what a forgotten `<close>` leaves behind */
static int forget_scope(lua_State *L) {
  Loop *loop = lua_touserdata(L, 1);
  luaL_getmetafield(L, 2, "__name");
  lua_pushfstring(L, "a scope was never closed (local _ <close> = ...): %s", lua_tostring(L, -1));
  lua_pushfstring(L, "made at %s", lua_tostring(L, 3));
  if (!lua_toboolean(L, 5))
    asy_report(L, loop, (Report){.message = lua_tostring(L, -2), .key = "task", .object = 4,
                                 .source = lua_rawlen(L, 3) ? lua_tostring(L, -1) : NULL}); /* else: a tail call */
  lua_getfield(L, 2, "_forget");
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 5);
  lua_call(L, 2, 0);
  return 0;
}

/* args: loop (light), task, whether to be quiet */
static int forget_scopes(lua_State *L) {
  asy_future_extras(L, 2, true);
  lua_getfield(L, 4, "scopes");
  lua_pushnil(L);
  lua_setfield(L, 4, "scopes");
  for (lua_pushnil(L); lua_next(L, 5); lua_settop(L, 6)) {
    lua_pushcfunction(L, forget_scope);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 6);
    lua_pushvalue(L, 7);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    if (lua_pcall(L, 5, 0, 0) != LUA_OK)
      asy_report(L, lua_touserdata(L, 1), (Report){.message = "a scope could not be closed", .exception = -1});
  }
  return 0;
}

void asy_scopes_forget(lua_State *L, Loop *loop, Task *t) {
  for (ListNode *node; (node = list_take(&t->guards));) {
    Guard *g = asy_container(node, Guard, link);
    g->forgotten(L, loop, g, t->broken);
  }
  if (!t->scopes) return;
  t->scopes = 0;
  lua_pushcfunction(L, forget_scopes);
  lua_pushlightuserdata(L, loop);
  lua_pushvalue(L, -3);
  lua_pushboolean(L, t->broken); /* Ctrl-C let no <close> run */
  if (lua_pcall(L, 3, 0, 0) != LUA_OK) lua_pop(L, 1); /* out of memory */
}
