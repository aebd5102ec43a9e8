/*
** datagram.c - sockets of datagrams: one is sent, or received, whole.
*/
#include "face/datagram.h"

#include <errno.h>
#include <string.h>

#include "face/io.h"
#include "face/moment.h"

#if !defined(MSG_NOSIGNAL)
#define MSG_NOSIGNAL 0
#endif

#define SMALL 8192              /* LuaSocket's _DATAGRAMSIZE */
#define LARGE ((size_t)1 << 20) /* no datagram has more */

/* LuaSocket: an end of a socket of datagrams is that its peer refused. */
static int fail(lua_State *L, int result) {
  if (result != FACE_CLOSED) return asy_face_fail(L, result);
  lua_pushnil(L);
  lua_pushliteral(L, "refused");
  return 2;
}

static int errno_result(SpotWay way) {
  if (errno != EAGAIN && errno != EWOULDBLOCK) return errno == EPIPE ? FACE_CLOSED : errno;
  return way == SPOT_READ ? FACE_WANTS_READ : FACE_WANTS_WRITE;
}

/* Sending. stack: socket, string, to whom (a sockaddr's bytes, or nil), when it began */

static int send_on_or_late(lua_State *L, bool late);

static int send_resumed(lua_State *L, Task *t) {
  spot_left(t->on, t);
  return send_on_or_late(L, t->code == SPOT_LATE);
}

static Abort datagram_abort(lua_State *L, Task *t) {
  (void)L;
  spot_left(t->on, t);
  return ASY_DETACHED;
}

static void datagram_giveback(lua_State *L, Task *t) { datagram_abort(L, t); }

static const WaitKind SEND = {
    .name = "socket sendto", .finish = send_resumed, .abort = datagram_abort, .giveback = datagram_giveback};

/* → bytes, or a negative number and in *result what it has come to */
static ssize_t send_one(const FaceSocket *s, lua_State *L, int *result) {
  struct sockaddr_storage sa;
  size_t n, len = 0;
  const char *bytes = lua_tolstring(L, 2, &n), *to = lua_tolstring(L, 3, &len);
  ssize_t sent;
  if (to) {
    memcpy(&sa, to, len);
    ((char *)&sa)[len] = '\0'; /* valgrind reads a path to its end */
  }
  *result = FACE_CLOSED;
  if (s->spot.fd < 0) return -1;
  do sent = sendto(s->spot.fd, bytes, n, MSG_NOSIGNAL, to ? (struct sockaddr *)&sa : NULL, (socklen_t)len);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) *result = errno_result(SPOT_WRITE);
  return sent;
}

static int send_on_or_late(lua_State *L, bool late) {
  FaceSocket *s = lua_touserdata(L, 1);
  Patience p = {.late = late};
  asy_spot_claim(L, &s->spot, SPOT_WRITE);
  for (;;) {
    int result;
    ssize_t sent = send_one(s, L, &result);
    if (sent >= 0) {
      lua_pushnumber(L, (lua_Number)sent);
      return 1;
    }
    if (result != FACE_WANTS_WRITE) return fail(L, result);
    switch (asy_face_wait(L, s, SPOT_WRITE, (uint64_t)lua_tointeger(L, 4), &p)) {
    case FACE_AGAIN: break;
    case FACE_LATE: return fail(L, FACE_TIMEOUT);
    case FACE_PARKS: return asy_spot_park(L, p.task, &s->spot, SPOT_WRITE, p.deadline, &SEND, 1);
    }
  }
}

static int send_on(lua_State *L) { return send_on_or_late(L, false); }

int asy_datagram_send(lua_State *L, FaceSocket *s, const struct sockaddr *sa, socklen_t len) {
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  if (sa)
    lua_pushlstring(L, (const char *)sa, len);
  else
    lua_pushnil(L);
  lua_pushinteger(L, (lua_Integer)face_now(ASY_RUNTIME(L)));
  asy_spot_claim(L, &s->spot, SPOT_WRITE);
  Task *spent = asy_face_spent(L);
  return spent ? asy_give_way(L, spent, send_on) : send_on(L);
}

/* Receiving. stack: socket, size, when it began, what pushes the sender (light) or nil, room for a large one or nil */

static int receive_on_or_late(lua_State *L, bool late);

static int receive_resumed(lua_State *L, Task *t) {
  spot_left(t->on, t);
  return receive_on_or_late(L, t->code == SPOT_LATE);
}

static const WaitKind RECEIVE = {
    .name = "socket receivefrom", .finish = receive_resumed, .abort = datagram_abort, .giveback = datagram_giveback};

typedef struct Sender {
  DatagramSender *push; /* a function pointer must not become a void * */
} Sender;

static int received(lua_State *L, const char *bytes, size_t n, const struct sockaddr *sa, socklen_t len) {
  const Sender *sender = lua_touserdata(L, 4);
  if (!sender) {
    lua_pushlstring(L, bytes, n);
    return 1;
  }
  int more = sender->push(L, sa, len);
  if (more < 0) return -more;
  lua_pushlstring(L, bytes, n);
  lua_insert(L, -1 - more);
  return more + 1;
}

/* LuaSocket: a closed one gives an empty datagram. */
static int receive_on_or_late(lua_State *L, bool late) {
  FaceSocket *s = lua_touserdata(L, 1);
  struct sockaddr_storage sa;
  char small[SMALL], *to = lua_touserdata(L, 5);
  size_t room = (size_t)lua_tointeger(L, 2);
  Patience p = {.late = late};
  asy_spot_claim(L, &s->spot, SPOT_READ);
  for (;;) {
    socklen_t len = sizeof sa;
    memset(&sa, 0, sizeof sa);
    ssize_t n = s->spot.fd < 0 ? 0 : recvfrom(s->spot.fd, to ? to : small, room, 0, (struct sockaddr *)&sa, &len);
    if (n >= 0) return received(L, to ? to : small, (size_t)n, (struct sockaddr *)&sa, len);
    if (errno == EINTR) continue;
    int result = errno_result(SPOT_READ);
    if (result != FACE_WANTS_READ) return fail(L, result);
    switch (asy_face_wait(L, s, SPOT_READ, (uint64_t)lua_tointeger(L, 3), &p)) {
    case FACE_AGAIN: break;
    case FACE_LATE: return fail(L, FACE_TIMEOUT);
    case FACE_PARKS: return asy_spot_park(L, p.task, &s->spot, SPOT_READ, p.deadline, &RECEIVE, 1);
    }
  }
}

static int receive_on(lua_State *L) { return receive_on_or_late(L, false); }

int asy_datagram_receive(lua_State *L, FaceSocket *s, DatagramSender *sender) {
  double size = luaL_optnumber(L, 2, SMALL);
  size_t room = size > 0 ? size < (double)LARGE ? (size_t)size : LARGE : 0;
  lua_settop(L, 1);
  lua_pushinteger(L, (lua_Integer)room);
  lua_pushinteger(L, (lua_Integer)face_now(ASY_RUNTIME(L)));
  if (sender)
    *(Sender *)lua_newuserdatauv(L, sizeof(Sender), 0) = (Sender){sender};
  else
    lua_pushnil(L);
  if (room > SMALL)
    lua_newuserdatauv(L, room, 0);
  else
    lua_pushnil(L);
  asy_spot_claim(L, &s->spot, SPOT_READ);
  Task *spent = asy_face_spent(L);
  return spent ? asy_give_way(L, spent, receive_on) : receive_on(L);
}
