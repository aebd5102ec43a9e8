/*
** output.c - send.
**
** Nobody knows how much of a message a cancelled call has sent, nor does its peer: so that closes the socket.
*/
#include "face/output.h"

#include "face/io.h"
#include "face/moment.h"

/* stack: socket, string, start, end, when it began, how much is sent */

static int send_over(lua_State *L, FaceSocket *s, size_t sent, int result) {
  double last = (double)sent + (double)lua_tointeger(L, 3) - 1;
  s->sent += (double)sent;
  if (result) {
    lua_pushnil(L);
    lua_pushstring(L, s->io->words(s, result));
    lua_pushnumber(L, last);
  } else {
    lua_pushnumber(L, last);
    lua_pushnil(L);
    lua_pushnil(L);
  }
  return 3;
}

static int send_on_or_late(lua_State *L, bool late);

static int send_resumed(lua_State *L, Task *t) {
  FaceSocket *s = lua_touserdata(L, 1);
  spot_left(&s->spot, t);
  return send_on_or_late(L, t->code == SPOT_LATE);
}

static Abort send_abort(lua_State *L, Task *t) {
  Spot *spot = t->on;
  (void)L;
  if (spot_left(spot, t)) face_end(asy_container(spot, FaceSocket, spot));
  return ASY_DETACHED;
}

static void send_giveback(lua_State *L, Task *t) { send_abort(L, t); }

static const WaitKind SEND = {
    .name = "socket send", .finish = send_resumed, .abort = send_abort, .giveback = send_giveback};

static int send_on_or_late(lua_State *L, bool late) {
  FaceSocket *s = lua_touserdata(L, 1);
  size_t length, first = (size_t)lua_tointeger(L, 3), end = (size_t)lua_tointeger(L, 4);
  size_t sent = (size_t)lua_tointeger(L, 6), total = end - first + 1;
  const char *bytes = lua_tolstring(L, 2, &length) + first - 1;
  Patience p = {.late = late};
  asy_spot_claim(L, &s->spot, SPOT_WRITE);
  for (;;) {
    size_t put = 0;
    if (sent == total) return send_over(L, s, sent, FACE_DONE);
    int result = s->io->send(s, bytes + sent, total - sent, &put);
    sent += put;
    if (result == FACE_DONE) {
      p.late = false;
      continue;
    }
    if (result != FACE_WANTS_READ && result != FACE_WANTS_WRITE) return send_over(L, s, sent, result);
    SpotWay way = result == FACE_WANTS_READ ? SPOT_READ : SPOT_WRITE;
    switch (asy_face_wait(L, s, way, (uint64_t)lua_tointeger(L, 5), &p)) {
    case FACE_AGAIN: break;
    case FACE_LATE: return send_over(L, s, sent, s->io == &face_plain ? FACE_TIMEOUT : result);
    case FACE_PARKS:
      asy_spot_claim(L, &s->spot, way); /* it may be the other way than a call of this kind has */
      lua_pushinteger(L, (lua_Integer)sent);
      lua_replace(L, 6);
      return asy_spot_park(L, p.task, &s->spot, way, p.deadline, &SEND, 1);
    }
  }
}

static int send_on(lua_State *L) { return send_on_or_late(L, false); }

/* The argument at idx as LuaSocket reads it: from the end if negative. */
static lua_Integer check_place(lua_State *L, int idx, lua_Integer place, size_t size) {
  double n = luaL_optnumber(L, idx, (lua_Number)place);
  if (n > 9e15) return INT64_MAX / 2;
  if (!(n > -9e15)) return INT64_MIN / 2;
  return n < 0 ? (lua_Integer)size + (lua_Integer)n + 1 : (lua_Integer)n;
}

int asy_face_send(lua_State *L, FaceSocket *s) {
  size_t size;
  luaL_checklstring(L, 2, &size);
  lua_Integer first = check_place(L, 3, 1, size), end = check_place(L, 4, -1, size);
  if (first < 1) first = 1;
  if (end > (lua_Integer)size) end = (lua_Integer)size;
  if (end < first) end = first - 1;
  lua_settop(L, 2);
  lua_pushinteger(L, first);
  lua_pushinteger(L, end);
  lua_pushinteger(L, (lua_Integer)face_now(ASY_RUNTIME(L)));
  lua_pushinteger(L, 0);
  asy_spot_claim(L, &s->spot, SPOT_WRITE);
  Task *spent = asy_face_spent(L);
  return spent ? asy_give_way(L, spent, send_on) : send_on(L);
}
