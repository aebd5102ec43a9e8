/*
** address.c - socket addresses as Lua tables, and in words.
*/
#include "net/address.h"
#include "core/argument.h"
#include "open.h"

#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <uv.h>

#define CLASS "asyncio.Address"

static size_t path_length(const struct sockaddr_un *un, socklen_t len) {
  size_t n = len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;
  return n && !*un->sun_path ? n : strnlen(un->sun_path, n); /* an abstract name is all that there is */
}

/* Writes a number and what follows it; the place behind. A trace asks for an address at each wait: printf takes 20 times
** as long. */
static char *put_number(char *to, unsigned n, char after) {
  char digits[10];
  int i = 0;
  do digits[i++] = (char)('0' + n % 10);
  while (n /= 10);
  while (i > 0) *to++ = digits[--i];
  *to++ = after;
  return to;
}

void address_text(const struct sockaddr *sa, socklen_t len, char *text) {
  char host[INET6_ADDRSTRLEN] = "";
  if (sa->sa_family == AF_INET) {
    const struct sockaddr_in *in = (const void *)sa;
    const unsigned char *byte = (const void *)&in->sin_addr;
    for (int i = 0; i < 4; i++) text = put_number(text, byte[i], i < 3 ? '.' : ':');
    *put_number(text, ntohs(in->sin_port), '\0') = '\0';
  } else if (sa->sa_family == AF_INET6) {
    const struct sockaddr_in6 *in6 = (const void *)sa;
    uv_ip6_name(in6, host, sizeof host);
    snprintf(text, ASY_ADDRESS_TEXT, "[%s]:%d", host, ntohs(in6->sin6_port));
  } else if (sa->sa_family == AF_UNIX) {
    const struct sockaddr_un *un = (const void *)sa;
    int n = (int)path_length(un, len);
    bool abstract = n && !*un->sun_path; /* shown as other programs do: @name */
    snprintf(text, ASY_ADDRESS_TEXT, "%s%.*s", abstract ? "@" : "", n - abstract, un->sun_path + abstract);
  } else
    snprintf(text, ASY_ADDRESS_TEXT, "address of family %d", sa->sa_family);
}

static void push_ip(lua_State *L, const char *family, const char *host, int port) {
  lua_createtable(L, 0, 4);
  lua_pushstring(L, family);
  lua_setfield(L, -2, "family");
  lua_pushstring(L, host);
  lua_setfield(L, -2, "host");
  lua_pushinteger(L, port);
  lua_setfield(L, -2, "port");
}

void asy_address_push(lua_State *L, const struct sockaddr *sa, socklen_t len) {
  char host[INET6_ADDRSTRLEN] = "";
  if (sa->sa_family == AF_INET) {
    const struct sockaddr_in *in = (const void *)sa;
    uv_ip4_name(in, host, sizeof host);
    push_ip(L, "inet", host, ntohs(in->sin_port));
  } else if (sa->sa_family == AF_INET6) {
    const struct sockaddr_in6 *in6 = (const void *)sa;
    uv_ip6_name(in6, host, sizeof host);
    push_ip(L, "inet6", host, ntohs(in6->sin6_port));
    if (in6->sin6_scope_id) {
      lua_pushinteger(L, in6->sin6_scope_id);
      lua_setfield(L, -2, "scope_id");
    }
  } else if (sa->sa_family == AF_UNIX) {
    const struct sockaddr_un *un = (const void *)sa;
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "unix");
    lua_setfield(L, -2, "family");
    lua_pushlstring(L, un->sun_path, path_length(un, len));
    lua_setfield(L, -2, "path");
  } else {
    lua_pushnil(L);
    return;
  }
  luaL_setmetatable(L, CLASS);
}

/* What came in place of a port: a number as it is. */
static const char *push_got(lua_State *L, int idx) {
  return lua_type(L, idx) == LUA_TNUMBER ? luaL_tolstring(L, idx, NULL) : asy_kindof(L, idx);
}

/* stack: ..., host, port; the table at idx */
static socklen_t check_ip(lua_State *L, int idx, struct sockaddr_storage *sa) {
  size_t n;
  const char *host = lua_tolstring(L, -2, &n);
  int isint;
  lua_Integer port = lua_tointegerx(L, -1, &isint), scope;
  if (lua_type(L, -1) != LUA_TNUMBER || !isint || port < 0 || port > 65535)
    asy_argerror(L, idx, lua_pushfstring(L, "an address needs a port, 0 to 65535, got %s",
                                         push_got(L, -1)));
  if (!n || strlen(host) != n)
    asy_argerror(L, idx, lua_pushfstring(L, "an address needs a numeric host, got %s", n ? "one with a zero byte" : "\"\""));
  if (uv_ip4_addr(host, (int)port, (struct sockaddr_in *)sa) == 0) return sizeof(struct sockaddr_in);
  if (uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)sa) != 0)
    asy_argerror(L, idx, lua_pushfstring(L, "an address needs a numeric host, got %s", host));
  if (lua_getfield(L, idx, "scope_id") != LUA_TNIL && (scope = lua_tointeger(L, -1)) > 0)
    ((struct sockaddr_in6 *)sa)->sin6_scope_id = (uint32_t)scope;
  lua_pop(L, 1);
  return sizeof(struct sockaddr_in6);
}

socklen_t asy_address_check(lua_State *L, int idx, struct sockaddr_storage *sa) {
  if (!lua_istable(L, idx)) asy_typeerror(L, idx, idx, "table", "");
  memset(sa, 0, sizeof *sa);
  socklen_t len = 0;
  if (lua_getfield(L, idx, "path") == LUA_TSTRING) {
    struct sockaddr_un *un = (struct sockaddr_un *)sa;
    size_t n;
    const char *path = lua_tolstring(L, -1, &n);
    if (n >= sizeof un->sun_path) asy_argerror(L, idx, "the path of a unix socket is too long");
    if (*path && strlen(path) != n) asy_argerror(L, idx, "the path of a unix socket has a zero byte");
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, n + 1);
    len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (*path != 0)); /* abstract: exact */
  }
  lua_pop(L, 1);
  if (len) return len;
  if (lua_getfield(L, idx, "host") != LUA_TSTRING) asy_argerror(L, idx, lua_pushfstring(L, "an address needs a host, got %s", asy_kindof(L, -1)));
  lua_getfield(L, idx, "port");
  len = check_ip(L, idx, sa);
  lua_pop(L, 2);
  return len;
}

static int address__tostring(lua_State *L) {
  struct sockaddr_storage sa;
  char text[ASY_ADDRESS_TEXT];
  socklen_t len = asy_address_check(L, 1, &sa);
  address_text((struct sockaddr *)&sa, len, text);
  lua_pushstring(L, text);
  return 1;
}

/* stack: module */
void asy_open_address(lua_State *L) {
  lua_pushinteger(L, sizeof ((struct sockaddr_un *)0)->sun_path - 1);
  lua_setfield(L, -2, "longest_path");
  luaL_newmetatable(L, CLASS);
  lua_pushcfunction(L, address__tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pop(L, 1);
}
