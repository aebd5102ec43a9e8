/*
** unix.c - LuaSocket's socket.unix: unixstream{...} and unixdgram{...}.
*/
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "face/accept.h"
#include "face/datagram.h"
#include "face/dial.h"
#include "face/input.h"
#include "face/io.h"
#include "face/kinds.h"
#include "face/moment.h"
#include "face/option.h"
#include "face/output.h"
#include "face/sockname.h"

static FaceSocket *stream(lua_State *L) { return asy_face_check_any(L, STREAM_ANY); }
static FaceSocket *client(lua_State *L) { return asy_face_check(L, STREAM_CLIENT); }
static FaceSocket *dgram(lua_State *L) { return asy_face_check_any(L, DGRAM_ANY); }
static FaceSocket *unconnected(lua_State *L) { return asy_face_check(L, DGRAM_UNCONNECTED); }

/* The address of the path at idx; 0: it is too long, which is pushed. */
static socklen_t check_path(lua_State *L, int idx, struct sockaddr_un *sa) {
  size_t n;
  const char *path = luaL_checklstring(L, idx, &n);
  *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (n >= sizeof sa->sun_path) {
    lua_pushnil(L);
    lua_pushliteral(L, "path too long");
    return 0;
  }
  memcpy(sa->sun_path, path, n);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
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

/* As LuaSocket has it, who can't be bound or connected is closed. */
static int bind_path(lua_State *L, FaceSocket *s) {
  struct sockaddr_un sa;
  socklen_t len = check_path(L, 2, &sa);
  if (!len) return 2;
  int err = bind(s->spot.fd, (struct sockaddr *)&sa, len) ? errno : 0;
  if (err) spot_close(&s->spot);
  return said(L, face_words(err));
}

static int connect_path(lua_State *L, FaceSocket *s, DialEnd *end) {
  struct sockaddr_un sa;
  socklen_t len = check_path(L, 2, &sa);
  return len ? asy_dial_connect_to(L, s, (struct sockaddr *)&sa, len, end) : 2;
}

static int connected(lua_State *L, FaceSocket *s, const char *error) {
  if (error)
    spot_close(&s->spot);
  else
    asy_face_become(L, 1, STREAM_CLIENT);
  return said(L, error);
}

static int dgram_connected(lua_State *L, FaceSocket *s, const char *error) {
  if (error)
    spot_close(&s->spot);
  else
    asy_face_become(L, 1, DGRAM_CONNECTED);
  return said(L, error);
}

static int push_path(lua_State *L, const struct sockaddr *sa, socklen_t len) {
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  memcpy(&un, sa, len < sizeof un ? len : sizeof un);
  lua_pushlstring(L, un.sun_path, strnlen(un.sun_path, sizeof un.sun_path));
  return 1;
}

static int getsockname_of(lua_State *L, const FaceSocket *s) {
  struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
  socklen_t len = sizeof sa;
  if (getsockname(s->spot.fd, (struct sockaddr *)&sa, &len) < 0) return asy_face_fail(L, errno);
  return push_path(L, (struct sockaddr *)&sa, len);
}

/* Streams */

static int stream_accept(lua_State *L) { return asy_face_accept(L, asy_face_check(L, STREAM_SERVER), STREAM_CLIENT); }
static int stream_bind(lua_State *L) { return bind_path(L, asy_face_check(L, STREAM_MASTER)); }
static int stream_connect(lua_State *L) { return connect_path(L, asy_face_check(L, STREAM_MASTER), connected); }
static int stream_dirty(lua_State *L) { return asy_face_dirty(L, stream(L)); }
static int stream_getfd(lua_State *L) { return asy_face_getfd(L, stream(L)); }
static int stream_setfd(lua_State *L) { return asy_face_setfd(L, stream(L)); }
static int stream_getstats(lua_State *L) { return asy_face_getstats(L, client(L)); }
static int stream_setstats(lua_State *L) { return asy_face_setstats(L, client(L)); }
static int stream_listen(lua_State *L) { return asy_face_listen(L, asy_face_check(L, STREAM_MASTER), STREAM_SERVER); }
static int stream_receive(lua_State *L) { return asy_face_receive(L, client(L)); }
static int stream_send(lua_State *L) { return asy_face_send(L, client(L)); }
static int stream_setoption(lua_State *L) { return asy_option_set(L, stream(L), OPTIONS_STREAM); }
static int stream_getsockname(lua_State *L) { return getsockname_of(L, stream(L)); }
static int stream_settimeout(lua_State *L) { return asy_face_settimeout(L, stream(L)); }
static int stream_shutdown(lua_State *L) { return asy_face_shutdown(L, client(L)); }

static const luaL_Reg stream_methods[] = {{"accept", stream_accept},
                                          {"bind", stream_bind},
                                          {"close", asy_face_close},
                                          {"connect", stream_connect},
                                          {"dirty", stream_dirty},
                                          {"getfd", stream_getfd},
                                          {"getstats", stream_getstats},
                                          {"setstats", stream_setstats},
                                          {"listen", stream_listen},
                                          {"receive", stream_receive},
                                          {"send", stream_send},
                                          {"setfd", stream_setfd},
                                          {"setoption", stream_setoption},
                                          {"setpeername", stream_connect},
                                          {"setsockname", stream_bind},
                                          {"getsockname", stream_getsockname},
                                          {"settimeout", stream_settimeout},
                                          {"shutdown", stream_shutdown},
                                          {NULL, NULL}};

/* Datagrams */

static int dgram_bind(lua_State *L) { return bind_path(L, unconnected(L)); }
static int dgram_connect(lua_State *L) { return connect_path(L, dgram(L), dgram_connected); }
static int dgram_dirty(lua_State *L) { return asy_face_dirty(L, dgram(L)); }
static int dgram_getfd(lua_State *L) { return asy_face_getfd(L, dgram(L)); }
static int dgram_setfd(lua_State *L) { return asy_face_setfd(L, dgram(L)); }
static int dgram_send(lua_State *L) { return asy_datagram_send(L, asy_face_check(L, DGRAM_CONNECTED), NULL, 0); }
static int dgram_receive(lua_State *L) { return asy_datagram_receive(L, dgram(L), NULL); }
static int dgram_receivefrom(lua_State *L) { return asy_datagram_receive(L, unconnected(L), push_path); }
static int dgram_setoption(lua_State *L) { return asy_option_set(L, dgram(L), OPTIONS_DGRAM); }
static int dgram_getsockname(lua_State *L) { return getsockname_of(L, dgram(L)); }
static int dgram_settimeout(lua_State *L) { return asy_face_settimeout(L, dgram(L)); }
static int dgram_gettimeout(lua_State *L) { return asy_face_gettimeout(L, dgram(L)); }

static int dgram_sendto(lua_State *L) {
  FaceSocket *s = unconnected(L);
  struct sockaddr_un sa;
  luaL_checkstring(L, 2);
  socklen_t len = check_path(L, 3, &sa);
  return len ? asy_datagram_send(L, s, (struct sockaddr *)&sa, len) : 2;
}

static const luaL_Reg dgram_methods[] = {{"bind", dgram_bind},
                                         {"close", asy_face_close},
                                         {"connect", dgram_connect},
                                         {"dirty", dgram_dirty},
                                         {"getfd", dgram_getfd},
                                         {"send", dgram_send},
                                         {"sendto", dgram_sendto},
                                         {"receive", dgram_receive},
                                         {"receivefrom", dgram_receivefrom},
                                         {"setfd", dgram_setfd},
                                         {"setoption", dgram_setoption},
                                         {"setpeername", dgram_connect},
                                         {"setsockname", dgram_bind},
                                         {"getsockname", dgram_getsockname},
                                         {"settimeout", dgram_settimeout},
                                         {"gettimeout", dgram_gettimeout},
                                         {NULL, NULL}};

/* Functions */

static int unix_stream(lua_State *L) { return asy_face_open(L, STREAM_MASTER, AF_UNIX, SOCK_STREAM); }
static int unix_dgram(lua_State *L) { return asy_face_open(L, DGRAM_UNCONNECTED, AF_UNIX, SOCK_DGRAM); }

/* The module itself can be called. */
static int unix_call(lua_State *L) {
  lua_getfield(L, 1, "stream");
  lua_replace(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

static const luaL_Reg functions[] = {{"stream", unix_stream}, {"dgram", unix_dgram}, {"tcp", unix_stream},
                                     {"udp", unix_dgram},     {"__call", unix_call}, {NULL, NULL}};

void asy_kinds_unix(lua_State *L) {
  asy_face_classes(L, STREAM_ANY, stream_methods);
  asy_face_classes(L, DGRAM_ANY, dgram_methods);
  asy_setfuncs(L, functions);
  lua_pushvalue(L, -1);
  lua_setmetatable(L, -2);
}
