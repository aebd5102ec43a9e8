/*
** option.c - setoption and getoption, by LuaSocket's names.
*/
#include "face/option.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "face/io.h"

typedef struct FaceOption {
  const char *name;
  int sets, gets; /* whose */
  int level, key;
  int (*set)(lua_State *L, int fd, const struct FaceOption *o);
  int (*get)(lua_State *L, int fd, const struct FaceOption *o);
} FaceOption;

static int type_error(lua_State *L, const char *expected) {
  return luaL_argerror(L, 3, lua_pushfstring(L, "%s expected, got %s", expected, luaL_typename(L, 3)));
}

static int set_value(lua_State *L, int fd, const FaceOption *o, const void *value, socklen_t size) {
  if (setsockopt(fd, o->level, o->key, value, size) < 0) {
    lua_pushnil(L);
    lua_pushliteral(L, "setsockopt failed");
    return 2;
  }
  lua_pushnumber(L, 1);
  return 1;
}

static bool got_value(int fd, const FaceOption *o, void *value, socklen_t size) {
  return getsockopt(fd, o->level, o->key, value, &size) == 0;
}

static int get_failed(lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "getsockopt failed");
  return 2;
}

static int set_boolean(lua_State *L, int fd, const FaceOption *o) {
  if (!lua_isboolean(L, 3)) return type_error(L, "boolean");
  int value = lua_toboolean(L, 3);
  return set_value(L, fd, o, &value, sizeof value);
}

static int get_boolean(lua_State *L, int fd, const FaceOption *o) {
  int value = 0;
  if (!got_value(fd, o, &value, sizeof value)) return get_failed(L);
  lua_pushboolean(L, value);
  return 1;
}

static int set_number(lua_State *L, int fd, const FaceOption *o) {
  double n = lua_tonumber(L, 3);
  int value = n >= INT32_MIN && n <= INT32_MAX ? (int)n : 0;
  return set_value(L, fd, o, &value, sizeof value);
}

static int get_number(lua_State *L, int fd, const FaceOption *o) {
  int value = 0;
  if (!got_value(fd, o, &value, sizeof value)) return get_failed(L);
  lua_pushnumber(L, value);
  return 1;
}

static int get_error(lua_State *L, int fd, const FaceOption *o) {
  int value = 0;
  if (!got_value(fd, o, &value, sizeof value)) return get_failed(L);
  lua_pushstring(L, face_words(value));
  return 1;
}

static int set_linger(lua_State *L, int fd, const FaceOption *o) {
  struct linger value;
  if (!lua_istable(L, 3)) return type_error(L, "table");
  if (lua_getfield(L, 3, "on") != LUA_TBOOLEAN) return luaL_argerror(L, 3, "boolean 'on' field expected");
  value.l_onoff = lua_toboolean(L, -1);
  lua_getfield(L, 3, "timeout");
  if (!lua_isnumber(L, -1)) return luaL_argerror(L, 3, "number 'timeout' field expected");
  value.l_linger = (unsigned short)lua_tointeger(L, -1);
  return set_value(L, fd, o, &value, sizeof value);
}

static int get_linger(lua_State *L, int fd, const FaceOption *o) {
  struct linger value;
  if (!got_value(fd, o, &value, sizeof value)) return get_failed(L);
  lua_createtable(L, 0, 2);
  lua_pushboolean(L, value.l_onoff);
  lua_setfield(L, -2, "on");
  lua_pushinteger(L, value.l_linger);
  lua_setfield(L, -2, "timeout");
  return 1;
}

static int set_interface(lua_State *L, int fd, const FaceOption *o) {
  struct in_addr value = {.s_addr = htonl(INADDR_ANY)};
  const char *address = luaL_checkstring(L, 3);
  if (strcmp(address, "*") && !inet_aton(address, &value)) return luaL_argerror(L, 3, "ip expected");
  return set_value(L, fd, o, &value, sizeof value);
}

static int get_interface(lua_State *L, int fd, const FaceOption *o) {
  struct in_addr value;
  char text[INET_ADDRSTRLEN];
  if (!got_value(fd, o, &value, sizeof value)) return get_failed(L);
  lua_pushstring(L, inet_ntop(AF_INET, &value, text, sizeof text));
  return 1;
}

/* Pushes a field of the table at 3 that has to be a string. */
static const char *get_text(lua_State *L, const char *field) {
  lua_getfield(L, 3, field);
  if (!lua_isstring(L, -1)) luaL_argerror(L, 3, lua_pushfstring(L, "string '%s' field expected", field));
  return lua_tostring(L, -1);
}

static int set_membership(lua_State *L, int fd, const FaceOption *o) {
  struct ip_mreq value = {.imr_interface.s_addr = htonl(INADDR_ANY)};
  if (!lua_istable(L, 3)) return type_error(L, "table");
  if (!inet_aton(get_text(L, "multiaddr"), &value.imr_multiaddr))
    return luaL_argerror(L, 3, "invalid 'multiaddr' ip address");
  const char *interface = get_text(L, "interface");
  if (strcmp(interface, "*") && !inet_aton(interface, &value.imr_interface))
    return luaL_argerror(L, 3, "invalid 'interface' ip address");
  return set_value(L, fd, o, &value, sizeof value);
}

static int set_membership6(lua_State *L, int fd, const FaceOption *o) {
  struct ipv6_mreq value = {.ipv6mr_interface = 0};
  if (!lua_istable(L, 3)) return type_error(L, "table");
  if (inet_pton(AF_INET6, get_text(L, "multiaddr"), &value.ipv6mr_multiaddr) != 1)
    return luaL_argerror(L, 3, "invalid 'multiaddr' ip address");
  if (lua_getfield(L, 3, "interface") != LUA_TNIL) {
    if (!lua_isnumber(L, -1)) return luaL_argerror(L, 3, "number 'interface' field expected");
    value.ipv6mr_interface = (unsigned)lua_tointeger(L, -1);
  }
  return set_value(L, fd, o, &value, sizeof value);
}

#if defined(SO_BINDTODEVICE)
static int set_device(lua_State *L, int fd, const FaceOption *o) {
  const char *name = luaL_checkstring(L, 3);
  return set_value(L, fd, o, name, (socklen_t)strlen(name) + 1);
}

static int get_device(lua_State *L, int fd, const FaceOption *o) {
  char name[IFNAMSIZ] = "";
  if (!got_value(fd, o, name, sizeof name)) return get_failed(L);
  lua_pushstring(L, name);
  return 1;
}
#endif

#define T OPTIONS_TCP
#define U OPTIONS_UDP
#define S OPTIONS_STREAM
#define D OPTIONS_DGRAM

static const FaceOption OPTIONS[] = {
    {"keepalive", T | S, T, SOL_SOCKET, SO_KEEPALIVE, set_boolean, get_boolean},
    {"reuseaddr", T | U | S | D, T | U, SOL_SOCKET, SO_REUSEADDR, set_boolean, get_boolean},
    {"reuseport", T | U, T | U, SOL_SOCKET, SO_REUSEPORT, set_boolean, get_boolean},
    {"linger", T | S, T, SOL_SOCKET, SO_LINGER, set_linger, get_linger},
    {"error", 0, T | U, SOL_SOCKET, SO_ERROR, NULL, get_error},
    {"recv-buffer-size", T | U, T | U, SOL_SOCKET, SO_RCVBUF, set_number, get_number},
    {"send-buffer-size", T | U, T | U, SOL_SOCKET, SO_SNDBUF, set_number, get_number},
    {"tcp-nodelay", T, T, IPPROTO_TCP, TCP_NODELAY, set_boolean, get_boolean},
    {"ipv6-v6only", T | U, U, IPPROTO_IPV6, IPV6_V6ONLY, set_boolean, get_boolean},
#if defined(SO_BINDTODEVICE)
    {"bindtodevice", T, T, SOL_SOCKET, SO_BINDTODEVICE, set_device, get_device},
#endif
#if defined(TCP_KEEPIDLE)
    {"tcp-keepidle", T, T, IPPROTO_TCP, TCP_KEEPIDLE, set_number, get_number},
#endif
#if defined(TCP_KEEPCNT)
    {"tcp-keepcnt", T, T, IPPROTO_TCP, TCP_KEEPCNT, set_number, get_number},
#endif
#if defined(TCP_KEEPINTVL)
    {"tcp-keepintvl", T, T, IPPROTO_TCP, TCP_KEEPINTVL, set_number, get_number},
#endif
#if defined(TCP_DEFER_ACCEPT)
    {"tcp-defer-accept", T, 0, IPPROTO_TCP, TCP_DEFER_ACCEPT, set_number, NULL},
#endif
#if defined(TCP_FASTOPEN)
    {"tcp-fastopen", T, 0, IPPROTO_TCP, TCP_FASTOPEN, set_number, NULL},
#endif
#if defined(TCP_FASTOPEN_CONNECT)
    {"tcp-fastopen-connect", T, 0, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, set_number, NULL},
#endif
    {"dontroute", U, U, SOL_SOCKET, SO_DONTROUTE, set_boolean, get_boolean},
    {"broadcast", U, U, SOL_SOCKET, SO_BROADCAST, set_boolean, get_boolean},
    {"ip-multicast-if", U, U, IPPROTO_IP, IP_MULTICAST_IF, set_interface, get_interface},
    {"ip-multicast-ttl", U, 0, IPPROTO_IP, IP_MULTICAST_TTL, set_number, NULL},
    {"ip-multicast-loop", U, U, IPPROTO_IP, IP_MULTICAST_LOOP, set_boolean, get_boolean},
    {"ip-add-membership", U, 0, IPPROTO_IP, IP_ADD_MEMBERSHIP, set_membership, NULL},
    {"ip-drop-membership", U, 0, IPPROTO_IP, IP_DROP_MEMBERSHIP, set_membership, NULL},
    {"ipv6-unicast-hops", U, U, IPPROTO_IPV6, IPV6_UNICAST_HOPS, set_number, get_number},
    {"ipv6-multicast-hops", U, U, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, set_number, get_number},
    {"ipv6-multicast-loop", U, U, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, set_boolean, get_boolean},
    {"ipv6-add-membership", U, 0, IPPROTO_IPV6, IPV6_JOIN_GROUP, set_membership6, NULL},
    {"ipv6-drop-membership", U, 0, IPPROTO_IPV6, IPV6_LEAVE_GROUP, set_membership6, NULL},
    {NULL, 0, 0, 0, 0, NULL, NULL}};

static const FaceOption *find(lua_State *L, bool sets, int whose) {
  const char *name = luaL_checkstring(L, 2);
  for (const FaceOption *o = OPTIONS; o->name; o++)
    if ((sets ? o->sets : o->gets) & whose && !strcmp(o->name, name)) return o;
  lua_pushlstring(L, name, strnlen(name, 35));
  luaL_argerror(L, 2, lua_pushfstring(L, "unsupported option `%s'", lua_tostring(L, -1)));
  return NULL;
}

int asy_option_set(lua_State *L, FaceSocket *s, int whose) {
  const FaceOption *o = find(L, true, whose);
  return o->set(L, s->spot.fd, o);
}

int asy_option_get(lua_State *L, FaceSocket *s, int whose) {
  const FaceOption *o = find(L, false, whose);
  return o->get(L, s->spot.fd, o);
}
