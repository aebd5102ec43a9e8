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

/* stack: error; its text, or its field */
static void refuse(lua_State *L, Engine *engine) {
  const char *why = NULL;
  int error = lua_gettop(L);
  if (lua_istable(L, error)) {
    lua_pushliteral(L, "message");
    lua_rawget(L, error);
  }
  if (lua_type(L, -1) == LUA_TSTRING) why = lua_tostring(L, -1);
  sni_refuse(engine, why ? why : "its name is not known here (sni)");
  lua_settop(L, error);
}

int asy_tls_ask(lua_State *L, Engine *engine, int handler) {
  int top = lua_gettop(L);
  if (!lua_checkstack(L, LUA_MINSTACK)) {
    sni_refuse(engine, "not enough memory");
    return 0;
  }
  lua_pushcfunction(L, look_up);
  lua_pushlightuserdata(L, engine->context);
  if (engine->name)
    lua_pushlightuserdata(L, engine->name);
  else
    lua_pushnil(L);
  if (lua_pcall(L, 2, 1, handler) == LUA_OK) {
    sni_choose(engine, asy_box_test(L, -1));
    lua_settop(L, top);
    return 0;
  }
  refuse(L, engine);
  return 1;
}
