/*
** sockname.c - what a socket is called, by numbers: its addresses, its family, its descriptor.
*/
#include "face/sockname.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "face/io.h"

static const char *family_name(int family) {
  return family == AF_INET ? "inet" : family == AF_INET6 ? "inet6" : family == AF_UNSPEC ? "unspec" : "unknown";
}

typedef int Asker(int fd, struct sockaddr *sa, socklen_t *len);

/* LuaSocket gives its own port as a string, its peer's as a number. */
static int push_address(lua_State *L, const FaceSocket *s, Asker *asks, bool peer) {
  struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
  socklen_t len = sizeof sa;
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (asks(s->spot.fd, (struct sockaddr *)&sa, &len) < 0) return asy_face_fail(L, errno);
  int status = getnameinfo((struct sockaddr *)&sa, len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  if (status) {
    lua_pushnil(L);
    lua_pushstring(L, gai_strerror(status));
    return 2;
  }
  lua_pushstring(L, host);
  if (peer)
    lua_pushinteger(L, strtol(port, NULL, 10));
  else
    lua_pushstring(L, port);
  lua_pushstring(L, family_name(s->family));
  return 3;
}

int asy_face_getsockname(lua_State *L, const FaceSocket *s) { return push_address(L, s, getsockname, false); }
int asy_face_getpeername(lua_State *L, const FaceSocket *s) { return push_address(L, s, getpeername, true); }

int asy_face_getfamily(lua_State *L, const FaceSocket *s) {
  lua_pushstring(L, s->family == AF_INET6 ? "inet6" : "inet4");
  return 1;
}

int asy_face_getfd(lua_State *L, const FaceSocket *s) {
  lua_pushnumber(L, s->spot.fd);
  return 1;
}

int asy_face_setfd(lua_State *L, FaceSocket *s) {
  double fd = luaL_checknumber(L, 2);
  spot_release(&s->spot);
  spot_init(&s->spot, fd >= 0 && fd <= INT32_MAX ? (int)fd : -1);
  return 0;
}

int asy_face_dirty(lua_State *L, const FaceSocket *s) {
  lua_pushboolean(L, buffer_length(&s->in) != 0);
  return 1;
}
