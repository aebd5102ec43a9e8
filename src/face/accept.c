/*
** accept.c - listening sockets: listen, accept; and what connections have but their bytes.
*/
#include "face/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "face/io.h"
#include "face/moment.h"

/* stack: socket, class of what is accepted, when it began */

static int accept_on_or_late(lua_State *L, bool late);

static int accept_resumed(lua_State *L, Task *t) {
  spot_left(t->on, t);
  return accept_on_or_late(L, t->code == SPOT_LATE);
}

static Abort accept_abort(lua_State *L, Task *t) {
  (void)L;
  spot_left(t->on, t);
  return ASY_DETACHED;
}

static void accept_giveback(lua_State *L, Task *t) { accept_abort(L, t); }

static const WaitKind ACCEPT = {
    .name = "socket accept", .finish = accept_resumed, .abort = accept_abort, .giveback = accept_giveback};

/* A descriptor, or a negative errno. */
static int accept_one(int fd) {
#if defined(__linux__)
  int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return got < 0 ? -errno : got;
#else
  int got = accept(fd, NULL, NULL);
  if (got < 0) return -errno;
  fcntl(got, F_SETFD, FD_CLOEXEC);
  fcntl(got, F_SETFL, O_NONBLOCK);
  return got;
#endif
}

/* stack: ..., [4] a socket without a descriptor, for the one that will come */
static int accept_on_or_late(lua_State *L, bool late) {
  FaceSocket *s = lua_touserdata(L, 1), *client = lua_touserdata(L, 4);
  Patience p = {.late = late};
  asy_spot_claim(L, &s->spot, SPOT_READ);
  for (;;) {
    if (s->spot.fd < 0) return asy_face_fail(L, FACE_CLOSED);
    int fd = accept_one(s->spot.fd);
    if (fd >= 0) {
      client->spot.fd = fd;
      client->family = s->family;
      client->born = face_time(ASY_RUNTIME(L));
      return 1;
    }
    if (fd == -EINTR) continue;
    if (fd != -EAGAIN && fd != -EWOULDBLOCK && fd != -ECONNABORTED) return asy_face_fail(L, -fd);
    switch (asy_face_wait(L, s, SPOT_READ, (uint64_t)lua_tointeger(L, 3), &p)) {
    case FACE_AGAIN: break;
    case FACE_LATE: return asy_face_fail(L, FACE_TIMEOUT);
    case FACE_PARKS: return asy_spot_park(L, p.task, &s->spot, SPOT_READ, p.deadline, &ACCEPT, 1);
    }
  }
}

static int accept_on(lua_State *L) { return accept_on_or_late(L, false); }

int asy_face_accept(lua_State *L, FaceSocket *s, FaceClass client) {
  lua_settop(L, 1);
  asy_spot_claim(L, &s->spot, SPOT_READ);
  lua_pushinteger(L, client);
  lua_pushinteger(L, (lua_Integer)face_now(ASY_RUNTIME(L)));
  asy_face_new(L, client, -1, s->family);
  Task *spent = asy_face_spent(L);
  return spent ? asy_give_way(L, spent, accept_on) : accept_on(L);
}

int asy_face_listen(lua_State *L, FaceSocket *s, FaceClass server) {
  int backlog = (int)luaL_optnumber(L, 2, 32);
  if (listen(s->spot.fd, backlog)) return asy_face_fail(L, errno);
  asy_face_become(L, 1, server);
  lua_pushnumber(L, 1);
  return 1;
}

int asy_face_shutdown(lua_State *L, const FaceSocket *s) {
  static const char *const HOW[] = {"receive", "send", "both", NULL};
  static const int VALUES[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};
  shutdown(s->spot.fd, VALUES[luaL_checkoption(L, 2, "both", HOW)]);
  lua_pushnumber(L, 1);
  return 1;
}

int asy_face_getstats(lua_State *L, const FaceSocket *s) {
  lua_pushnumber(L, s->received);
  lua_pushnumber(L, s->sent);
  lua_pushnumber(L, face_time(ASY_RUNTIME(L)) - s->born);
  return 3;
}

int asy_face_setstats(lua_State *L, FaceSocket *s) {
  s->received = luaL_optnumber(L, 2, s->received);
  s->sent = luaL_optnumber(L, 3, s->sent);
  if (lua_isnumber(L, 4)) s->born = face_time(ASY_RUNTIME(L)) - lua_tonumber(L, 4);
  lua_pushnumber(L, 1);
  return 1;
}
