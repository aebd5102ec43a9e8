/*
** module.c - what LuaSec's modules in C hold, made when it is first asked for.
*/
#include "open.h"
#include "sec/certclass.h"
#include "sec/configure.h"
#include "sec/curve.h"
#include "sec/hold.h"
#include "sec/link.h"
#include "sec/option.h"
#include "sec/peer.h"

static void name(lua_State *L, const char *key) {
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, key);
}

static void push_config(lua_State *L) {
  lua_newtable(L);
  lua_newtable(L);
  name(L, "tlsv1");
  name(L, "tlsv1_1");
  name(L, "tlsv1_2");
  name(L, "tlsv1_3");
  lua_setfield(L, -2, "protocols");
  asy_option_push(L);
  lua_setfield(L, -2, "options");
  lua_newtable(L);
  name(L, "ec");
  lua_setfield(L, -2, "algorithms");
  asy_curve_push(L);
  lua_setfield(L, -2, "curves");
  lua_newtable(L);
  name(L, "alpn");
  name(L, "curves_list");
  name(L, "ecdh_auto");
  lua_newtable(L);
  name(L, "no_ee_namechecks");
  lua_setfield(L, -2, "dane");
  lua_setfield(L, -2, "capabilities");
}

/* luasec() → { context =, x509 =, config =, create =, functions =, methods = } */
static int luasec(lua_State *L) {
  lua_settop(L, 0);
  asy_hold_open(L);
  asy_link_open_class(L);
  lua_newtable(L);
  asy_configure_open(L);
  lua_setfield(L, 1, "context");
  asy_certclass_open(L);
  lua_setfield(L, 1, "x509");
  push_config(L);
  lua_setfield(L, 1, "config");
  lua_pushcfunction(L, asy_link_create);
  lua_setfield(L, 1, "create");
  asy_peer_functions(L);
  lua_setfield(L, 1, "functions");
  asy_peer_methods(L);
  lua_setfield(L, 1, "methods");
  return 1;
}

/* stack: module */
void asy_open_sec(lua_State *L) {
  lua_pushcfunction(L, luasec);
  lua_setfield(L, -2, "luasec");
}
