/*
** box.c - asyncio.SSLContext as Lua has it: a userdata that holds a Context.
*/
#include "tls/box.h"

static const char boxes_key = 0; /* registry: Context as light userdata → its box, weak */

Context **asy_box_new(lua_State *L) {
  Context **box = lua_newuserdatauv(L, sizeof *box, 1);
  *box = NULL;
  luaL_setmetatable(L, SSL_CONTEXT);
  return box;
}

void asy_box_fill(lua_State *L, Context **box, Context *context) {
  *box = context;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &boxes_key);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, context);
  lua_pop(L, 1);
}

Context *asy_box_test(lua_State *L, int idx) {
  Context **box = luaL_testudata(L, idx, SSL_CONTEXT);
  return box ? *box : NULL;
}

void asy_box_push(lua_State *L, Context *context) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &boxes_key);
  if (lua_rawgetp(L, -1, context) == LUA_TUSERDATA) {
    lua_remove(L, -2);
    return;
  }
  lua_pop(L, 2);
  Context **box = asy_box_new(L); /* an engine that somebody has holds the context for so long */
  asy_box_fill(L, box, context_hold(context));
}

static int box__gc(lua_State *L) {
  Context **box = luaL_checkudata(L, 1, SSL_CONTEXT);
  context_release(*box);
  *box = NULL;
  return 0;
}

static int box__tostring(lua_State *L) {
  const Context *context = asy_box_test(L, 1);
  lua_pushfstring(L, SSL_CONTEXT ": %s (%p)", !context ? "gone" : context->server ? "server" : "client",
                  lua_topointer(L, 1));
  return 1;
}

void asy_box_class(lua_State *L, const luaL_Reg *methods) {
  luaL_newmetatable(L, SSL_CONTEXT);
  lua_pushcfunction(L, box__gc);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, box__tostring);
  lua_setfield(L, -2, "__tostring");
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "methods"); /* where the core looks for them */
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &boxes_key);
}
