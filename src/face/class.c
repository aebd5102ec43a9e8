/*
** class.c - the classes of asyncio.socket: what state a socket is in is its metatable.
**
** They are private tables, not the registry's: there LuaSocket itself may have some of the same names.
*/
#include "face/face.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "face/dial.h"
#include "face/io.h"
#include "face/moment.h"
#include "face/secure.h"

static const char *const NAMES[FACE_CLASSES] = {
    [TCP_MASTER] = "tcp{master}",
    [TCP_CLIENT] = "tcp{client}",
    [TCP_SERVER] = "tcp{server}",
    [UDP_UNCONNECTED] = "udp{unconnected}",
    [UDP_CONNECTED] = "udp{connected}",
    [STREAM_MASTER] = "unixstream{master}",
    [STREAM_CLIENT] = "unixstream{client}",
    [STREAM_SERVER] = "unixstream{server}",
    [DGRAM_UNCONNECTED] = "unixdgram{unconnected}",
    [DGRAM_CONNECTED] = "unixdgram{connected}",
    [SECURE_CONNECTION] = "SSL:Connection",
};

static const char *const GROUPS[FACE_CLASSES] = {
    [TCP_MASTER] = "tcp{any}",
    [UDP_UNCONNECTED] = "udp{any}",
    [STREAM_MASTER] = "unixstream{any}",
    [DGRAM_UNCONNECTED] = "unixdgram{any}",
};

static const char class_key = 0;   /* metatable: its FaceClass */
static const char classes_key = 0; /* registry: FaceClass → metatable */

static FaceClass class_of(lua_State *L, int idx) {
  if (!lua_isuserdata(L, idx) || !lua_getmetatable(L, idx)) return FACE_NONE;
  lua_rawgetp(L, -1, &class_key);
  FaceClass cls = (FaceClass)lua_tointeger(L, -1);
  lua_pop(L, 2);
  return cls;
}

FaceSocket *asy_face_check_any(lua_State *L, FaceClass first, FaceClass last) {
  FaceClass cls = class_of(L, 1);
  if (cls >= first && cls <= last && cls != FACE_NONE) return lua_touserdata(L, 1);
  const char *name = first == last ? NAMES[first] : GROUPS[first];
  if (first == SECURE_CONNECTION) luaL_typeerror(L, 1, name);
  luaL_argerror(L, 1, lua_pushfstring(L, "%s expected", name));
  return NULL;
}

FaceSocket *asy_face_check(lua_State *L, FaceClass cls) { return asy_face_check_any(L, cls, cls); }

void asy_face_pushmeta(lua_State *L, FaceClass cls) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &classes_key);
  lua_rawgeti(L, -1, cls);
  lua_remove(L, -2);
}

void asy_face_become(lua_State *L, int idx, FaceClass cls) {
  idx = lua_absindex(L, idx);
  asy_face_pushmeta(L, cls);
  lua_setmetatable(L, idx);
}

FaceSocket *asy_face_new(lua_State *L, FaceClass cls, int fd, int family) {
  asy_checkalive(L);
  FaceSocket *s = lua_newuserdatauv(L, sizeof *s, cls == SECURE_CONNECTION);
  memset(s, 0, sizeof *s);
  spot_init(&s->spot, fd);
  s->io = &face_plain;
  s->family = family;
  s->block = s->total = -1;
  s->born = face_time(ASY_RUNTIME(L));
  asy_face_become(L, -1, cls);
  return s;
}

int asy_face_open(lua_State *L, FaceClass cls, int family, int type) {
  FaceSocket *s = asy_face_new(L, cls, -1, family);
  if (family == AF_UNSPEC) return 1;
  int fd = face_open_socket(family, type, 0);
  if (fd < 0) return asy_face_fail(L, -fd);
  s->spot.fd = fd;
  return 1;
}

void face_end(FaceSocket *s) {
  if (s->secure) s->secure->ops->end(s->secure, s->spot.fd);
  spot_close(&s->spot);
  s->ends++; /* a call that tries addresses finds that */
}

int asy_face_close(lua_State *L) {
  FaceClass cls = class_of(L, 1);
  FaceSocket *s = asy_face_check_any(L, cls ? cls : TCP_MASTER, cls ? cls : TCP_SERVER);
  face_end(s);
  lua_pushnumber(L, 1);
  return 1;
}

static int collected(lua_State *L) {
  if (class_of(L, 1) == FACE_NONE) return 0;
  FaceSocket *s = lua_touserdata(L, 1);
  face_end(s);
  dial_free(s);
  buffer_free(&s->in);
  return 0;
}

static int shown(lua_State *L) {
  FaceClass cls = class_of(L, 1);
  const FaceSocket *s = lua_touserdata(L, 1);
  if (cls == SECURE_CONNECTION)
    lua_pushfstring(L, "SSL connection: %p%s", s, s->secure->ops->ended(s->secure) ? " (closed)" : "");
  else
    lua_pushfstring(L, "%s: %p", cls ? NAMES[cls] : "socket", s);
  return 1;
}

static const luaL_Reg metamethods[] = {{"__gc", collected}, {"__tostring", shown}, {NULL, NULL}};

/* stack: ..., classes → ..., classes */
static void new_class(lua_State *L, FaceClass cls, FaceClass first, const luaL_Reg *methods) {
  lua_newtable(L);
  asy_setfuncs(L, metamethods);
  lua_pushstring(L, NAMES[cls]);
  lua_setfield(L, -2, "__name");
  lua_newtable(L);
  if (GROUPS[first]) { /* LuaSocket's have these */
    lua_pushboolean(L, 1);
    lua_setfield(L, -3, GROUPS[first]);
    lua_pushstring(L, NAMES[cls]);
    lua_setfield(L, -2, "class");
  }
  asy_setfuncs(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pushinteger(L, cls);
  lua_rawsetp(L, -2, &class_key);
  lua_rawseti(L, -2, cls);
}

void asy_face_classes(lua_State *L, FaceClass first, FaceClass last, const luaL_Reg *methods) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &classes_key) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &classes_key);
  }
  for (FaceClass cls = first; cls <= last; cls++) new_class(L, cls, first, methods);
  lua_pop(L, 1);
}
