/*
** tcp.c - LuaSocket's tcp{master}, tcp{client} and tcp{server}, and what makes them.
*/
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "face/accept.h"
#include "face/dial.h"
#include "face/input.h"
#include "face/io.h"
#include "face/kinds.h"
#include "face/moment.h"
#include "face/option.h"
#include "face/output.h"
#include "face/sockname.h"

static FaceSocket *any(lua_State *L) { return asy_face_check_any(L, TCP_ANY); }
static FaceSocket *client(lua_State *L) { return asy_face_check(L, TCP_CLIENT); }

static int tcp_receive(lua_State *L) { return asy_face_receive(L, client(L)); }
static int tcp_send(lua_State *L) { return asy_face_send(L, client(L)); }
static int tcp_getstats(lua_State *L) { return asy_face_getstats(L, client(L)); }
static int tcp_setstats(lua_State *L) { return asy_face_setstats(L, client(L)); }
static int tcp_shutdown(lua_State *L) { return asy_face_shutdown(L, client(L)); }
static int tcp_accept(lua_State *L) { return asy_face_accept(L, asy_face_check(L, TCP_SERVER), TCP_CLIENT); }
static int tcp_listen(lua_State *L) { return asy_face_listen(L, asy_face_check(L, TCP_MASTER), TCP_SERVER); }
static int tcp_dirty(lua_State *L) { return asy_face_dirty(L, any(L)); }
static int tcp_getfamily(lua_State *L) { return asy_face_getfamily(L, any(L)); }
static int tcp_getfd(lua_State *L) { return asy_face_getfd(L, any(L)); }
static int tcp_setfd(lua_State *L) { return asy_face_setfd(L, any(L)); }
static int tcp_getoption(lua_State *L) { return asy_option_get(L, any(L), OPTIONS_TCP); }
static int tcp_setoption(lua_State *L) { return asy_option_set(L, any(L), OPTIONS_TCP); }
static int tcp_getpeername(lua_State *L) { return asy_face_getpeername(L, any(L)); }
static int tcp_getsockname(lua_State *L) { return asy_face_getsockname(L, any(L)); }
static int tcp_settimeout(lua_State *L) { return asy_face_settimeout(L, any(L)); }
static int tcp_gettimeout(lua_State *L) { return asy_face_gettimeout(L, any(L)); }

/* Pushes what a method says that gives 1. */
static int said(lua_State *L, const char *error) {
  if (!error) {
    lua_pushnumber(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, error);
  return 2;
}

static int bound(lua_State *L, FaceSocket *s, const char *error) {
  (void)s;
  return said(L, error);
}

/* It is a client even then, since the attempt may go on. */
static int connected(lua_State *L, FaceSocket *s, const char *error) {
  (void)s;
  asy_face_become(L, 1, TCP_CLIENT);
  return said(L, error);
}

static int tcp_bind(lua_State *L) {
  FaceSocket *s = asy_face_check(L, TCP_MASTER);
  luaL_checkstring(L, 2);
  luaL_checkstring(L, 3);
  lua_settop(L, 3);
  return asy_dial_bind(L, s, 1, SOCK_STREAM, s->family, bound);
}

static int tcp_connect(lua_State *L) {
  FaceSocket *s = any(L);
  luaL_checkstring(L, 2);
  luaL_checkstring(L, 3);
  lua_settop(L, 3);
  return asy_dial_connect(L, s, 1, SOCK_STREAM, connected);
}

static const luaL_Reg methods[] = {{"accept", tcp_accept},
                                   {"bind", tcp_bind},
                                   {"close", asy_face_close},
                                   {"connect", tcp_connect},
                                   {"dirty", tcp_dirty},
                                   {"getfamily", tcp_getfamily},
                                   {"getfd", tcp_getfd},
                                   {"getoption", tcp_getoption},
                                   {"getpeername", tcp_getpeername},
                                   {"getsockname", tcp_getsockname},
                                   {"getstats", tcp_getstats},
                                   {"setstats", tcp_setstats},
                                   {"listen", tcp_listen},
                                   {"receive", tcp_receive},
                                   {"send", tcp_send},
                                   {"setfd", tcp_setfd},
                                   {"setoption", tcp_setoption},
                                   {"setpeername", tcp_connect},
                                   {"setsockname", tcp_bind},
                                   {"settimeout", tcp_settimeout},
                                   {"gettimeout", tcp_gettimeout},
                                   {"shutdown", tcp_shutdown},
                                   {NULL, NULL}};

/* Functions */

static int face_tcp(lua_State *L) { return asy_face_open(L, TCP_MASTER, AF_UNSPEC, SOCK_STREAM); }
static int face_tcp4(lua_State *L) { return asy_face_open(L, TCP_MASTER, AF_INET, SOCK_STREAM); }
static int face_tcp6(lua_State *L) { return asy_face_open(L, TCP_MASTER, AF_INET6, SOCK_STREAM); }

/* connect. stack: address, port, local address, local port, family, [6] socket, host, port of what is under way */

static int connect_over(lua_State *L, FaceSocket *s, const char *error) {
  if (!error) {
    asy_face_become(L, 6, TCP_CLIENT);
    lua_pushvalue(L, 6);
    return 1;
  }
  spot_close(&s->spot);
  return said(L, error);
}

static int connect_from(lua_State *L, FaceSocket *s) {
  lua_settop(L, 6);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  return asy_dial_connect(L, s, 6, SOCK_STREAM, connect_over);
}

static int local_bound(lua_State *L, FaceSocket *s, const char *error) {
  return error ? said(L, error) : connect_from(L, s);
}

static int face_connect(lua_State *L) {
  static const char *const FAMILIES[] = {"unspec", "inet", "inet6", NULL};
  static const int VALUES[] = {AF_UNSPEC, AF_INET, AF_INET6};
  luaL_checkstring(L, 1);
  luaL_checkstring(L, 2);
  const char *host = luaL_optstring(L, 3, NULL), *port = luaL_optstring(L, 4, "0");
  int family = VALUES[luaL_checkoption(L, 5, "unspec", FAMILIES)];
  lua_settop(L, 5);
  FaceSocket *s = asy_face_new(L, TCP_MASTER, -1, AF_UNSPEC);
  if (!host) return connect_from(L, s);
  lua_pushvalue(L, 3);
  lua_pushstring(L, port);
  return asy_dial_bind(L, s, 6, SOCK_STREAM, family, local_bound);
}

static const luaL_Reg functions[] = {
    {"tcp", face_tcp}, {"tcp4", face_tcp4}, {"tcp6", face_tcp6}, {"connect", face_connect}, {NULL, NULL}};

void asy_kinds_tcp(lua_State *L) {
  asy_face_classes(L, TCP_ANY, methods);
  asy_setfuncs(L, functions);
}
