/*
** ask.c - which context a client's name takes, asked of Lua: a context's `sni`.
**
** Lua may do anything meanwhile, so the context is held for so long.
*/
#include "tls/ask.h"

#include <string.h>

#include "tls/box.h"
#include "tls/sni.h"

/* stack: context, name as light userdata or nil → what a table or a function says to it */
static int look_up(lua_State *L) {
  Context *context = lua_touserdata(L, 1);
  const char *name = lua_touserdata(L, 2);
  asy_box_push(L, context);
  lua_getiuservalue(L, -1, BOX_SNI);
  if (lua_isnil(L, -1)) return 1;
  if (name)
    lua_pushstring(L, name);
  else
    lua_pushnil(L);
  if (!lua_istable(L, -2)) {
    lua_call(L, 1, 1);
  } else if (name) {
    lua_rawget(L, -2);
  }
  if (!lua_isnil(L, -1) && !asy_box_test(L, -1))
    return luaL_error(L, "sni: a context or nil expected, got %s", luaL_typename(L, -1));
  const Context *chosen = asy_box_test(L, -1);
  if (chosen && !chosen->server) return luaL_error(L, "sni: a server's context expected, got a client's");
  return 1;
}

static void refuse(lua_State *L, Engine *engine) {
  const char *why = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  sni_refuse(engine, why ? why : "its name is not known here (sni)");
}

void asy_tls_ask(lua_State *L, Engine *engine) {
  int top = lua_gettop(L);
  if (!lua_checkstack(L, LUA_MINSTACK)) {
    sni_refuse(engine, "not enough memory");
    return;
  }
  lua_pushcfunction(L, look_up);
  lua_pushlightuserdata(L, engine->context);
  if (engine->name)
    lua_pushlightuserdata(L, engine->name);
  else
    lua_pushnil(L);
  if (lua_pcall(L, 2, 1, 0) == LUA_OK)
    sni_choose(engine, asy_box_test(L, -1));
  else
    refuse(L, engine);
  lua_settop(L, top);
}
