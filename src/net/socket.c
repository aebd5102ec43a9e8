/*
** socket.c - the options of TCP sockets; sockets that were made elsewhere.
*/
#include "net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <uv.h>
#if defined(__linux__)
#include <linux/sockios.h>
#endif

#include "core/error.h"
#include "open.h"

/* A dead peer is noticed after two minutes, where the system's own figures are two hours and more. */
#define IDLE 60
#define INTERVAL 10
#define COUNT 6

#if defined(TCP_KEEPIDLE)
#define KEEPIDLE TCP_KEEPIDLE
#elif defined(TCP_KEEPALIVE)
#define KEEPIDLE TCP_KEEPALIVE /* macOS */
#endif

/* Options */

TcpOptions asy_tcp_options(lua_State *L, int idx) {
  TcpOptions o = {asy_opt_bool(L, idx, "nodelay", true), asy_opt_bool(L, idx, "keepalive", false), IDLE, INTERVAL,
                  COUNT};
  if (lua_getfield(L, idx, "keepalive") == LUA_TTABLE) {
    int table = lua_gettop(L);
    o.idle = asy_opt_int(L, table, "idle", IDLE);
    o.interval = asy_opt_int(L, table, "interval", INTERVAL);
    o.count = asy_opt_int(L, table, "count", COUNT);
  }
  lua_pop(L, 1);
  return o;
}

static void set(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

void tcp_options_set(const TcpOptions *options, int fd) {
  if (options->nodelay) set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (!options->keepalive) return;
  set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#if defined(KEEPIDLE)
  set(fd, IPPROTO_TCP, KEEPIDLE, options->idle);
#endif
#if defined(TCP_KEEPINTVL)
  set(fd, IPPROTO_TCP, TCP_KEEPINTVL, options->interval);
  set(fd, IPPROTO_TCP, TCP_KEEPCNT, options->count);
#endif
}

int socket_unsent(int fd) {
  int n = 0;
#if defined(SIOCOUTQ)
  if (ioctl(fd, SIOCOUTQ, &n)) return 0;
#elif defined(SO_NWRITE)
  socklen_t len = sizeof n;
  if (getsockopt(fd, SOL_SOCKET, SO_NWRITE, &n, &len)) return 0;
#endif
  return n;
}

/* For other libraries */

static int socket_getfd(lua_State *L) {
  lua_getfield(L, 1, "fd");
  return 1;
}

void asy_socket_push(lua_State *L, int fd) {
  lua_createtable(L, 0, 2);
  lua_pushinteger(L, fd);
  lua_setfield(L, -2, "fd");
  lua_pushcfunction(L, socket_getfd);
  lua_setfield(L, -2, "getfd");
}

/* Made elsewhere */

/* An option that is a number; 0 when it isn't known. */
static int get(int fd, int name) {
  int value = 0;
  socklen_t n = sizeof value;
  return getsockopt(fd, SOL_SOCKET, name, &value, &n) ? 0 : value;
}

/* The address family of a socket that listens, or is connected, on a descriptor that somebody else made; a libuv
** status where it is none any more; 0, with what it is instead in *what. */
static int family_of(int fd, bool listens, const char **what) {
  struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
  socklen_t n = sizeof sa;
  *what = NULL;
  if (fcntl(fd, F_GETFD) < 0) return -errno;
  if (getsockname(fd, (struct sockaddr *)&sa, &n))
    *what = "no socket";
  else if (get(fd, SO_TYPE) != SOCK_STREAM)
    *what = "no stream socket";
  else if (sa.ss_family != AF_INET && sa.ss_family != AF_INET6 && sa.ss_family != AF_UNIX)
    *what = "a socket of another family";
  else if (get(fd, SO_ACCEPTCONN) && !listens)
    *what = "a socket that listens";
  else if (!get(fd, SO_ACCEPTCONN) && listens)
    *what = "a socket that doesn't listen";
  if (*what) return 0;
  n = sizeof(struct sockaddr_storage);
  struct sockaddr_storage peer;
  return !listens && getpeername(fd, (struct sockaddr *)&peer, &n) ? -errno : sa.ss_family;
}

/* socket_family(fd, listens) → "inet", "inet6" or "unix"; nil, what it is instead. Raises OSError when it is closed, or
** not connected (any more). */
static int socket_family(lua_State *L) {
  char name[40];
  const char *what;
  int fd = (int)luaL_checkinteger(L, 1), found = family_of(fd, lua_toboolean(L, 2), &what);
  if (found < 0) {
    snprintf(name, sizeof name, "descriptor %d", fd);
    return asy_oserror(L, found, "open", name);
  }
  if (found)
    lua_pushstring(L, found == AF_UNIX ? "unix" : found == AF_INET ? "inet" : "inet6");
  else
    lua_pushnil(L);
  lua_pushstring(L, what);
  return 2;
}

static const luaL_Reg functions[] = {{"socket_family", socket_family}, {NULL, NULL}};

/* stack: module */
void asy_open_socket(lua_State *L) { asy_setfuncs(L, functions); }
