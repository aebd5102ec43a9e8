/*
** context.c - LuaSec's contexts: a userdata with an SSL_CTX.
*/
#include "sec/context.h"

#include <string.h>

SecContext *asy_seccontext_test(lua_State *L, int idx) {
  SecContext *c = luaL_testudata(L, idx, SEC_CONTEXT);
  return c && c->ctx ? c : NULL;
}

SecContext *asy_seccontext_check(lua_State *L, int idx) {
  SecContext *c = luaL_testudata(L, idx, SEC_CONTEXT);
  if (!c) luaL_typeerror(L, idx, "SSL:Context");
  if (!c->ctx) luaL_argerror(L, idx, "the context is closed");
  return c;
}

SecContext *asy_seccontext_new(lua_State *L) {
  SecContext *c = lua_newuserdatauv(L, sizeof *c, 1);
  memset(c, 0, sizeof *c);
  luaL_setmetatable(L, SEC_CONTEXT);
  return c;
}

static int context__gc(lua_State *L) {
  SecContext *c = luaL_checkudata(L, 1, SEC_CONTEXT);
  if (c->ctx) SSL_CTX_set_app_data(c->ctx, NULL); /* a connection may keep it a little longer */
  SSL_CTX_free(c->ctx);
  c->ctx = NULL;
  return 0;
}

static int context__tostring(lua_State *L) {
  lua_pushfstring(L, "SSL context: %p", luaL_checkudata(L, 1, SEC_CONTEXT));
  return 1;
}

static const luaL_Reg metamethods[] = {
    {"__gc", context__gc}, {"__close", context__gc}, {"__tostring", context__tostring}, {NULL, NULL}};

void asy_seccontext_class(lua_State *L) {
  luaL_newmetatable(L, SEC_CONTEXT);
  luaL_setfuncs(L, metamethods, 0);
  lua_pushliteral(L, "SSL:Context");
  lua_setfield(L, -2, "__name");
}
