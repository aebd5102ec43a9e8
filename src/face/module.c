/*
** module.c - the functions of LuaSocket's modules in C, made when asyncio.socket is first asked for.
*/
#include <sys/select.h>

#include "face/face.h"
#include "face/kinds.h"
#include "face/moment.h"
#include "face/names.h"
#include "open.h"

static int skip(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  int left = lua_gettop(L) - 1;
  return n < 0 ? left : n < left ? left - (int)n : 0;
}

static int nothing(lua_State *L) {
  (void)L;
  return 0;
}

static const luaL_Reg socket_functions[] = {{"gettime", asy_face_gettime},
                                            {"sleep", asy_face_sleep},
                                            {"skip", skip},
                                            {"__unload", nothing},
                                            {NULL, NULL}};

static void push_constants(lua_State *L) {
  lua_pushliteral(L, "LuaSocket 3.0.0");
  lua_setfield(L, -2, "_VERSION");
  lua_pushinteger(L, FD_SETSIZE);
  lua_setfield(L, -2, "_SETSIZE");
  lua_pushinteger(L, -1);
  lua_setfield(L, -2, "_SOCKETINVALID");
  lua_pushinteger(L, 8192);
  lua_setfield(L, -2, "_DATAGRAMSIZE");
}

/* socket_core() → LuaSocket's socket.core, its socket.unix */
static int socket_core(lua_State *L) {
  lua_settop(L, 0);
  lua_newtable(L);
  asy_setfuncs(L, socket_functions);
  push_constants(L);
  asy_names_dns(L);
  lua_setfield(L, 1, "dns");
  asy_kinds_tcp(L);
  asy_kinds_udp(L);
  asy_kinds_select(L);
  lua_newtable(L);
  asy_kinds_unix(L);
  return 2;
}

static const luaL_Reg functions[] = {{"secure_core", asy_kinds_secure}, {"socket_core", socket_core}, {NULL, NULL}};

/* stack: module */
void asy_open_face(lua_State *L) { asy_setfuncs(L, functions); }
