/*
** unclosed.c - reports of what nobody closed.
*/
#include "net/unclosed.h"

#include "core/callback.h"
#include "core/report.h"

static const char report_later_key = 0; /* registry: report_later, as a finaliser should make no function */

void asy_unclosed_report(lua_State *L, Loop *loop, const char *text, const char *how, const char *site) {
  if (site)
    lua_pushfstring(L, "%s:\n%s", how, site);
  else
    lua_pushnil(L);
  asy_report(L, loop, (Report){.message = text, .source = lua_tostring(L, -1)});
  lua_pop(L, 1);
}

/* args: text, site; called by the loop */
static int report_later(lua_State *L) {
  Loop *loop = ASY_RUNTIME(L)->running;
  if (loop) asy_unclosed_report(L, loop, lua_tostring(L, 1), "opened at", lua_tostring(L, 2));
  return 0;
}

void asy_unclosed_report_later(lua_State *L, Loop *loop, const char *site) {
  if (asy_loop_dies(L, loop)) {
    asy_unclosed_report(L, loop, lua_tostring(L, -1), "opened at", site);
    return;
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &report_later_key);
  lua_pushvalue(L, -2);
  lua_pushstring(L, site);
  Callback *cb = asy_callback_new(L, loop, 2);
  asy_callback_hold(L, loop, cb, -1);
  callback_schedule(loop, cb);
  lua_pop(L, 1);
}

void asy_open_unclosed(lua_State *L) {
  asy_pushfunction(L, report_later);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &report_later_key);
}
