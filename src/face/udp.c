/*
** udp.c - LuaSocket's udp{unconnected} and udp{connected}, and what makes them.
*/
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "face/datagram.h"
#include "face/dial.h"
#include "face/io.h"
#include "face/kinds.h"
#include "face/moment.h"
#include "face/option.h"
#include "face/sockname.h"

static FaceSocket *any(lua_State *L) { return asy_face_check_any(L, UDP_ANY); }
static FaceSocket *unconnected(lua_State *L) { return asy_face_check(L, UDP_UNCONNECTED); }

static int udp_getfamily(lua_State *L) { return asy_face_getfamily(L, any(L)); }
static int udp_getfd(lua_State *L) { return asy_face_getfd(L, any(L)); }
static int udp_setfd(lua_State *L) { return asy_face_setfd(L, any(L)); }
static int udp_dirty(lua_State *L) { return asy_face_dirty(L, any(L)); }
static int udp_getoption(lua_State *L) { return asy_option_get(L, any(L), OPTIONS_UDP); }
static int udp_setoption(lua_State *L) { return asy_option_set(L, any(L), OPTIONS_UDP); }
static int udp_getpeername(lua_State *L) { return asy_face_getpeername(L, asy_face_check(L, UDP_CONNECTED)); }
static int udp_getsockname(lua_State *L) { return asy_face_getsockname(L, any(L)); }
static int udp_settimeout(lua_State *L) { return asy_face_settimeout(L, any(L)); }
static int udp_gettimeout(lua_State *L) { return asy_face_gettimeout(L, any(L)); }
static int udp_receive(lua_State *L) { return asy_datagram_receive(L, any(L), NULL); }
static int udp_send(lua_State *L) { return asy_datagram_send(L, asy_face_check(L, UDP_CONNECTED), NULL, 0); }

static int push_sender(lua_State *L, const struct sockaddr *sa, socklen_t len) {
  char host[NI_MAXHOST], port[NI_MAXSERV];
  int status = getnameinfo(sa, len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  if (status) {
    lua_pushnil(L);
    lua_pushstring(L, gai_strerror(status));
    return -2;
  }
  lua_pushstring(L, host);
  lua_pushinteger(L, strtol(port, NULL, 10));
  return 2;
}

static int udp_receivefrom(lua_State *L) { return asy_datagram_receive(L, unconnected(L), push_sender); }

/* A descriptor of the first family that can be had, for a socket that has none yet. */
static int fit(FaceSocket *s, const struct addrinfo *list) {
  int fd = -1, on = 1;
  if (s->family != AF_UNSPEC || s->spot.fd >= 0) return 0;
  for (const struct addrinfo *a = list; a; a = a->ai_next) {
    fd = face_open_socket(a->ai_family, SOCK_DGRAM, 0);
    if (fd < 0) continue;
    if (a->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    s->spot.fd = fd;
    s->family = a->ai_family;
    return 0;
  }
  return -fd;
}

static int udp_sendto(lua_State *L) {
  FaceSocket *s = unconnected(L);
  luaL_checkstring(L, 2);
  const char *host = luaL_checkstring(L, 3), *port = luaL_checkstring(L, 4);
  struct addrinfo hints = {.ai_family = s->family, .ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
  struct addrinfo *list;
  struct sockaddr_storage sa;
  int status = getaddrinfo(host, port, &hints, &list);
  if (status) {
    lua_pushnil(L);
    lua_pushstring(L, gai_strerror(status));
    return 2;
  }
  int err = fit(s, list);
  socklen_t len = list->ai_addrlen;
  memcpy(&sa, list->ai_addr, len);
  freeaddrinfo(list);
  return err ? asy_face_fail(L, err) : asy_datagram_send(L, s, (struct sockaddr *)&sa, len);
}

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

static int connected(lua_State *L, FaceSocket *s, const char *error) {
  (void)s;
  if (!error) asy_face_become(L, 1, UDP_CONNECTED);
  return said(L, error);
}

static int udp_setsockname(lua_State *L) {
  FaceSocket *s = unconnected(L);
  luaL_checkstring(L, 2);
  luaL_checkstring(L, 3);
  lua_settop(L, 3);
  return asy_dial_bind(L, s, 1, SOCK_DGRAM, s->family, bound);
}

static int udp_setpeername(lua_State *L) {
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  FaceSocket *s = any(L);
  if (strcmp(luaL_checkstring(L, 2), "*")) {
    luaL_checkstring(L, 3);
    lua_settop(L, 3);
    return asy_dial_connect(L, s, 1, SOCK_DGRAM, connected);
  }
  if (s->spot.fd >= 0) (void)connect(s->spot.fd, &none, sizeof none);
  asy_face_become(L, 1, UDP_UNCONNECTED);
  lua_pushnumber(L, 1);
  return 1;
}

static const luaL_Reg methods[] = {{"close", asy_face_close},
                                   {"dirty", udp_dirty},
                                   {"getfamily", udp_getfamily},
                                   {"getfd", udp_getfd},
                                   {"getpeername", udp_getpeername},
                                   {"getsockname", udp_getsockname},
                                   {"receive", udp_receive},
                                   {"receivefrom", udp_receivefrom},
                                   {"send", udp_send},
                                   {"sendto", udp_sendto},
                                   {"setfd", udp_setfd},
                                   {"setoption", udp_setoption},
                                   {"getoption", udp_getoption},
                                   {"setpeername", udp_setpeername},
                                   {"setsockname", udp_setsockname},
                                   {"settimeout", udp_settimeout},
                                   {"gettimeout", udp_gettimeout},
                                   {NULL, NULL}};

/* Functions */

static int face_udp(lua_State *L) { return asy_face_open(L, UDP_UNCONNECTED, AF_UNSPEC, SOCK_DGRAM); }
static int face_udp4(lua_State *L) { return asy_face_open(L, UDP_UNCONNECTED, AF_INET, SOCK_DGRAM); }
static int face_udp6(lua_State *L) { return asy_face_open(L, UDP_UNCONNECTED, AF_INET6, SOCK_DGRAM); }

static const luaL_Reg functions[] = {{"udp", face_udp}, {"udp4", face_udp4}, {"udp6", face_udp6}, {NULL, NULL}};

void asy_kinds_udp(lua_State *L) {
  asy_face_classes(L, UDP_ANY, methods);
  asy_setfuncs(L, functions);
}
