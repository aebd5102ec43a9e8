/*
** secure.c - LuaSec's connections: a socket whose bytes a Secure encrypts. What only needs that stands with it.
*/
#include "face/secure.h"

#include "face/accept.h"
#include "face/input.h"
#include "face/io.h"
#include "face/kinds.h"
#include "face/moment.h"
#include "face/output.h"
#include "face/sockname.h"

/* Its bytes */

static int secure_recv(FaceSocket *s, char *to, size_t room, size_t *got) {
  return s->secure->ops->recv(s->secure, s->spot.fd, to, room, got);
}

static int secure_send(FaceSocket *s, const char *bytes, size_t n, size_t *put) {
  return s->secure->ops->send(s->secure, s->spot.fd, bytes, n, put);
}

static const char *secure_words(FaceSocket *s, int result) {
  switch (result) {
  case FACE_WANTS_READ: return "wantread";
  case FACE_WANTS_WRITE: return "wantwrite";
  case FACE_FAILED: return s->secure->ops->words(s->secure);
  default: return face_words(result);
  }
}

static const FaceIo face_secure = {secure_recv, secure_send, secure_words};

/* Shaking hands. A call that is cancelled may be made again. stack: socket, when it began */

static int shake_on_or_late(lua_State *L, bool late);

static int shake_resumed(lua_State *L, Task *t) {
  FaceSocket *s = lua_touserdata(L, 1);
  spot_left(&s->spot, t);
  return shake_on_or_late(L, t->code == SPOT_LATE);
}

static Abort shake_abort(lua_State *L, Task *t) {
  (void)L;
  spot_left(t->on, t);
  return ASY_DETACHED;
}

static void shake_giveback(lua_State *L, Task *t) { shake_abort(L, t); }

static const WaitKind SHAKE = {
    .name = "socket dohandshake", .finish = shake_resumed, .abort = shake_abort, .giveback = shake_giveback};

static int shaken(lua_State *L, FaceSocket *s, int result) {
  lua_pushboolean(L, result == FACE_DONE);
  if (result == FACE_DONE) return 1;
  lua_pushstring(L, secure_words(s, result));
  return 2;
}

static int shake_on_or_late(lua_State *L, bool late) {
  FaceSocket *s = lua_touserdata(L, 1);
  Patience p = {.late = late};
  for (;;) {
    int result = s->secure->ops->shake(L, s->secure, s->spot.fd);
    if (result != FACE_WANTS_READ && result != FACE_WANTS_WRITE) return shaken(L, s, result);
    SpotWay way = result == FACE_WANTS_READ ? SPOT_READ : SPOT_WRITE;
    switch (asy_face_wait(L, s, way, (uint64_t)lua_tointeger(L, 2), &p)) {
    case FACE_AGAIN: break;
    case FACE_LATE: return shaken(L, s, result);
    case FACE_PARKS:
      asy_spot_claim(L, &s->spot, way);
      return asy_spot_park(L, p.task, &s->spot, way, p.deadline, &SHAKE, 1);
    }
  }
}

static int shake_on(lua_State *L) { return shake_on_or_late(L, false); }

/* Methods */

static FaceSocket *check(lua_State *L) { return asy_face_check(L, SECURE_CONNECTION); }

static int secure_dohandshake(lua_State *L) {
  FaceSocket *s = check(L);
  lua_settop(L, 1);
  lua_pushinteger(L, (lua_Integer)face_now(ASY_RUNTIME(L)));
  asy_spot_claim(L, &s->spot, SPOT_READ);
  asy_spot_claim(L, &s->spot, SPOT_WRITE);
  Task *spent = asy_face_spent(L);
  return spent ? asy_give_way(L, spent, shake_on) : shake_on(L);
}

static int secure_receive(lua_State *L) { return asy_face_receive(L, check(L)); }
static int secure_transmit(lua_State *L) { return asy_face_send(L, check(L)); }
static int secure_settimeout(lua_State *L) { return asy_face_settimeout(L, check(L)); }
static int secure_getstats(lua_State *L) { return asy_face_getstats(L, check(L)); }
static int secure_setstats(lua_State *L) { return asy_face_setstats(L, check(L)); }
static int secure_getfd(lua_State *L) { return asy_face_getfd(L, check(L)); }

static int secure_close(lua_State *L) {
  face_end(check(L));
  return 0;
}

static int secure_want(lua_State *L) {
  const FaceSocket *s = check(L);
  lua_pushstring(L, s->secure->ops->wants(s->secure));
  return 1;
}

static int secure_dirty(lua_State *L) {
  const FaceSocket *s = check(L);
  bool ended = s->secure->ops->ended(s->secure);
  lua_pushboolean(L, !ended && (buffer_length(&s->in) || s->secure->ops->holds(s->secure)));
  return 1;
}

static const luaL_Reg methods[] = {{"close", secure_close},
                                   {"dirty", secure_dirty},
                                   {"dohandshake", secure_dohandshake},
                                   {"getfd", secure_getfd},
                                   {"getstats", secure_getstats},
                                   {"receive", secure_receive},
                                   {"send", secure_transmit},
                                   {"setstats", secure_setstats},
                                   {"settimeout", secure_settimeout},
                                   {"want", secure_want},
                                   {NULL, NULL}};

/* Functions */

/* secure(secure) → a connection without a descriptor */
static int secure_new(lua_State *L) {
  Secure *secure = luaL_checkudata(L, 1, SECURE);
  if (secure->ops->abi != SECURE_ABI) return luaL_error(L, "the module asyncio.openssl is of another release than asyncio.core");
  FaceSocket *s = asy_face_new(L, SECURE_CONNECTION, -1, 0);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  s->secure = secure;
  s->io = &face_secure;
  return 1;
}

/* setfd(connection, fd): the descriptor is the connection's. */
static int secure_setfd(lua_State *L) { return asy_face_setfd(L, check(L)); }

static const luaL_Reg functions[] = {{"secure", secure_new}, {"setfd", secure_setfd}, {NULL, NULL}};

/* secure_core() → its functions, a connection's metatable */
int asy_kinds_secure(lua_State *L) {
  lua_settop(L, 0);
  lua_newtable(L);
  asy_setfuncs(L, functions);
  asy_face_classes(L, SECURE_CONNECTION, SECURE_CONNECTION, methods);
  asy_face_pushmeta(L, SECURE_CONNECTION);
  lua_pushcclosure(L, secure_close, 0);
  lua_setfield(L, -2, "__close");
  return 2;
}
