/*
** peer.c - the addresses of a connection: noted, or the kernel's word; and the errors that its peer makes.
*/
#include "net/peer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>
#include <sys/un.h>

#include "core/error.h"
#include "core/made.h"
#include "open.h"

void peer_note(Stream *s, const struct sockaddr *sa) {
  if (sa->sa_family == AF_INET) memcpy(&s->peer, sa, sizeof s->peer.in);
  if (sa->sa_family == AF_INET6) memcpy(&s->peer, sa, sizeof s->peer.in6);
}

/* What the user knows as the connection's: libuv may have a copy, or the end of a pipe to a thread. */
static bool get_descriptor(const Stream *s, int *fd) {
  if (!s->handle.open) return false;
  if (!s->backing) return uv_fileno(&s->uv.handle, fd) == 0;
  *fd = s->backing->fd;
  return *fd >= 0;
}

bool peer_socket(const Stream *s, int *fd) {
  int type;
  socklen_t n = sizeof type;
  return get_descriptor(s, fd) && (!s->backing || getsockopt(*fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0);
}

/* Asks the kernel. */
static bool get_name(const Stream *s, bool peer, struct sockaddr_storage *sa, socklen_t *n) {
  int fd;
  return get_descriptor(s, &fd) && (peer ? getpeername : getsockname)(fd, (struct sockaddr *)sa, n) == 0;
}

void peer_text(const Stream *s, char *text) {
  struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
  socklen_t n = sizeof sa;
  *text = 0;
  if (s->peer.any.sa_family)
    address_text(&s->peer.any, sizeof s->peer, text);
  else if (get_name(s, true, &sa, &n))
    address_text((struct sockaddr *)&sa, n, text);
}

void stream_name(const Stream *s, char *text) {
  if (s->backing)
    snprintf(text, ASY_ADDRESS_TEXT, "%s", s->backing->name);
  else if (s->carrier)
    snprintf(text, ASY_ADDRESS_TEXT, "%s", s->carrier->name);
  else
    peer_text(s, text);
}

_Static_assert(ASY_ADDRESS_TEXT <= ASY_WAIT_TEXT, "an address is what a task waits on");

void peer_words(const Stream *s, char *text) {
  struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
  socklen_t n = sizeof sa;
  stream_name(s, text);
  if (!*text && get_name(s, false, &sa, &n) && sa.ss_family == AF_UNIX)
    address_text((struct sockaddr *)&sa, n, text);
}

void peer_describe(const Task *t, char *text) {
  const Stream *s = t->on;
  if (s) peer_words(s, text); /* else a stranger has closed the task's coroutine */
}

bool peer_may_come(const Task *t) {
  const Stream *s = t->on;
  return !s || !s->carrier;
}

/* Errors. Those of connections that a server has accepted, limits of time too, are known again, by their identity: a
** handler that fails with one of its own connection is no failure of the program. */

static const char broke_key = 0; /* registry: error → number of the handler of the connection it is of; weak */

void asy_peer_made(lua_State *L, const Stream *s) {
  if (!s->client.handler) return;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &broke_key);
  lua_pushvalue(L, -2);
  lua_pushinteger(L, (lua_Integer)s->client.handler->number);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

int asy_peer_oserror(lua_State *L, const Stream *s, int status, const char *syscall) {
  char name[ASY_ADDRESS_TEXT];
  stream_name(s, name);
  asy_oserror_push(L, status, syscall, *name ? name : NULL);
  if (status != UV_ENOMEM) asy_peer_made(L, s);
  lua_error(L);
#if defined(__GNUC__)
  __builtin_unreachable();
#endif
}

int asy_peer_closed(lua_State *L, const Stream *s, const char *text) {
  asy_error_push(L, ASY_CLOSED, "%s", text);
  asy_made_note(L, 0);
  if (stream_ended_by_server(s)) asy_peer_made(L, s);
  lua_error(L);
#if defined(__GNUC__)
  __builtin_unreachable();
#endif
}

static bool broke(lua_State *L, int idx, uint64_t handler, int depth);

/* Whether the group at idx holds nothing else. */
static bool all_broke(lua_State *L, int idx, uint64_t handler, int depth) {
  int top = lua_gettop(L);
  bool all = false;
  lua_pushliteral(L, "errors");
  if (lua_rawget(L, idx) == LUA_TTABLE) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, top + 1);
    lua_pushliteral(L, "n");
    if (lua_rawget(L, top + 1) == LUA_TNUMBER) n = lua_tointeger(L, -1);
    all = n > 0;
    for (lua_Integer i = 1; all && i <= n; i++) {
      lua_rawgeti(L, top + 1, i);
      all = broke(L, lua_gettop(L), handler, depth + 1);
      lua_settop(L, top + 1);
    }
  }
  lua_settop(L, top);
  return all;
}

static bool broke(lua_State *L, int idx, uint64_t handler, int depth) {
  if (!lua_istable(L, idx) || depth > 20 || !lua_checkstack(L, 10)) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &broke_key);
  lua_pushvalue(L, idx);
  bool own = lua_rawget(L, -2) == LUA_TNUMBER && (uint64_t)lua_tointeger(L, -1) == handler;
  lua_pop(L, 2);
  return own || (asy_isinstance(L, idx, ASY_EXCEPTION_GROUP) && all_broke(L, idx, handler, depth));
}

bool asy_peer_broke(lua_State *L, int idx, uint64_t handler) {
  return broke(L, lua_absindex(L, idx), handler, 0);
}

/* Addresses to Lua */

bool asy_peer_push(lua_State *L, const Stream *s, bool peer) {
  struct sockaddr_storage sa;
  socklen_t n = sizeof sa;
  if (peer && s->peer.any.sa_family)
    asy_address_push(L, &s->peer.any, sizeof s->peer);
  else if (get_name(s, peer, &sa, &n))
    asy_address_push(L, (struct sockaddr *)&sa, n);
  else
    return false;
  return true;
}

/* Credentials: of the other process, as the kernel noted them. pid: 0 when it isn't known */

#if defined(SO_PEERCRED)
static bool get_credentials(int fd, lua_Integer *pid, lua_Integer *uid, lua_Integer *gid) {
#if defined(__OpenBSD__)
  struct sockpeercred cred;
#else
  struct ucred cred;
#endif
  socklen_t n = sizeof cred;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n)) return false;
  *pid = cred.pid;
  *uid = cred.uid;
  *gid = cred.gid;
  return true;
}
#else
static bool get_credentials(int fd, lua_Integer *pid, lua_Integer *uid, lua_Integer *gid) {
  uid_t user;
  gid_t group;
  if (getpeereid(fd, &user, &group)) return false;
  *uid = user;
  *gid = group;
#if defined(LOCAL_PEERPID)
  pid_t process;
  socklen_t n = sizeof process;
  if (getsockopt(fd, SOL_LOCAL, LOCAL_PEERPID, &process, &n) == 0) *pid = process;
#endif
  return true;
}
#endif

static void set_number(lua_State *L, const char *key, lua_Integer n) {
  lua_pushinteger(L, n);
  lua_setfield(L, -2, key);
}

bool asy_peer_push_credentials(lua_State *L, const Stream *s) {
  struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
  socklen_t n = sizeof sa;
  lua_Integer pid = 0, uid = 0, gid = 0;
  int fd;
  bool is_unix = get_name(s, false, &sa, &n) && sa.ss_family == AF_UNIX;
  if (!is_unix || !get_descriptor(s, &fd) || !get_credentials(fd, &pid, &uid, &gid)) return false;
  lua_createtable(L, 0, 3);
  if (pid) set_number(L, "pid", pid);
  set_number(L, "uid", uid);
  set_number(L, "gid", gid);
  return true;
}

void asy_open_peer(lua_State *L) {
  asy_newweak(L, "k");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &broke_key);
}
