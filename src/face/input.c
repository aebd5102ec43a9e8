/*
** input.c - receive.
**
** What comes stays in the socket's buffer until a call returns: so a call that is cancelled has taken nothing, and one
** whose time is up hands out, and takes, all that is there.
*/
#include "face/input.h"

#include <string.h>

#include "face/io.h"
#include "face/moment.h"

#define SMALL ((size_t)8192)    /* what is read at once, unless more is wanted */
#define LARGE ((size_t)1 << 20) /* ... that much then, at most */
#define KEPT (2 * SMALL)        /* a larger buffer isn't kept while it is empty */

typedef enum Shape { LINE, ALL, COUNT } Shape;

typedef struct Wish {
  Shape shape;
  size_t count; /* bytes that are lacking, with what the caller had already */
} Wish;

/* stack: socket, pattern, prefix, ... */
static Wish read_wish(lua_State *L, size_t prefix) {
  Wish w = {LINE, 0};
  if (!lua_isnumber(L, 2)) {
    const char *pattern = luaL_optstring(L, 2, "*l");
    if (pattern[0] == '*' && pattern[1] == 'a') w.shape = ALL;
    else if (pattern[0] != '*' || pattern[1] != 'l') luaL_argerror(L, 2, "invalid receive pattern");
    return w;
  }
  double n = lua_tonumber(L, 2);
  if (!(n >= 0)) luaL_argerror(L, 2, "invalid receive pattern");
  size_t wanted = n < 9e15 ? (size_t)n : SIZE_MAX;
  w.shape = COUNT;
  w.count = wanted > prefix ? wanted - prefix : 0;
  return w;
}

/* Taking */

/* The string on the top loses its carriage returns. */
static void strip(lua_State *L) {
  size_t n, kept = 0;
  luaL_Buffer b;
  const char *bytes = lua_tolstring(L, -1, &n);
  char *to = luaL_buffinitsize(L, &b, n);
  for (size_t i = 0; i < n; i++)
    if (bytes[i] != '\r') to[kept++] = bytes[i];
  luaL_pushresultsize(&b, kept);
  lua_remove(L, -2);
}

/* Pushes bytes, of a line without a carriage return. */
static void push_bytes(lua_State *L, const FaceSocket *s, Shape shape, size_t n) {
  const char *bytes = buffer_bytes(&s->in), *cr = shape == LINE && n ? memchr(bytes, '\r', n) : NULL;
  bool last = cr && cr == bytes + n - 1;
  lua_pushlstring(L, bytes, last ? n - 1 : n);
  if (cr && !last) strip(L);
  if (!lua_rawlen(L, 3)) return;
  lua_pushvalue(L, 3);
  lua_insert(L, -2);
  lua_concat(L, 2);
}

/* Pushes the first n bytes of what has come after the prefix, and takes them, and `more` besides. False, and nothing
** was pushed: a finaliser that ran meanwhile has taken some itself. */
static bool take(lua_State *L, FaceSocket *s, Shape shape, size_t n, size_t more) {
  uint64_t takes = s->takes;
  push_bytes(L, s, shape, n);
  s->searched = 0;
  if (takes != s->takes) {
    lua_pop(L, 1);
    return false;
  }
  s->takes++;
  s->received += (double)(n + more);
  if (n + more) buffer_consume(&s->in, n + more);
  if (!buffer_length(&s->in) && s->in.size > KEPT) buffer_free(&s->in);
  return true;
}

/* Pushes what was wished if it is there. */
static bool granted(lua_State *L, FaceSocket *s, const Wish *w) {
  size_t length;
  while ((length = buffer_length(&s->in)) != 0 && w->shape != ALL) {
    if (w->shape == COUNT) {
      if (length < w->count) return false;
      if (take(L, s, COUNT, w->count, 0)) return true;
      continue;
    }
    const char *bytes = buffer_bytes(&s->in), *end = memchr(bytes + s->searched, '\n', length - s->searched);
    if (!end) {
      s->searched = length;
      return false;
    }
    if (take(L, s, LINE, (size_t)(end - bytes), 1)) return true;
  }
  return false;
}

/* Reads what has come, once. There is room for it before it is taken from the kernel. */
static int fill(lua_State *L, FaceSocket *s, const Wish *w) {
  size_t got = 0, length = buffer_length(&s->in);
  size_t more = w->shape == COUNT && w->count > length ? w->count - length : w->shape == ALL ? length : 0;
  if (more < SMALL) more = SMALL;
  if (more > LARGE) more = LARGE;
  char *room = buffer_reserve(&s->in, more);
  if (!room) asy_nomemory(L);
  int result = s->io->recv(s, room, more, &got);
  buffer_added(&s->in, got);
  return result;
}

/* Receiving. stack: socket, pattern, prefix, when it began */

/* It fails with what has come, which is taken; but all until the end is no failure. */
static int receive_fail(lua_State *L, FaceSocket *s, const Wish *w, int result) {
  size_t length;
  do length = buffer_length(&s->in);
  while (!take(L, s, w->shape, length, 0));
  bool done = w->shape == ALL && result == FACE_CLOSED && length;
  if (done) {
    lua_pushnil(L);
    lua_pushnil(L);
    return 3;
  }
  lua_pushnil(L);
  lua_pushstring(L, s->io->words(s, result));
  lua_rotate(L, -3, 2);
  return 3;
}

static int receive_on_or_late(lua_State *L, bool late);
static int receive_on(lua_State *L);

static int receive_resumed(lua_State *L, Task *t) {
  FaceSocket *s = lua_touserdata(L, 1);
  spot_left(&s->spot, t);
  return receive_on_or_late(L, t->code == SPOT_LATE);
}

static Abort receive_abort(lua_State *L, Task *t) {
  (void)L;
  spot_left(t->on, t);
  return ASY_DETACHED;
}

static void receive_giveback(lua_State *L, Task *t) { receive_abort(L, t); }

static const WaitKind RECEIVE = {
    .name = "socket receive", .finish = receive_resumed, .abort = receive_abort, .giveback = receive_giveback};

static int receive_on_or_late(lua_State *L, bool late) {
  FaceSocket *s = lua_touserdata(L, 1);
  Wish w = read_wish(L, lua_rawlen(L, 3));
  Patience p = {.late = late};
  asy_spot_claim(L, &s->spot, SPOT_READ);
  for (;;) {
    Task *spent;
    if (granted(L, s, &w)) {
      lua_pushnil(L);
      lua_pushnil(L);
      return 3;
    }
    int result = fill(L, s, &w);
    if (result == FACE_DONE) {
      p.late = false;
      if ((spent = asy_face_spent(L))) return asy_give_way(L, spent, receive_on);
      continue;
    }
    if (result != FACE_WANTS_READ && result != FACE_WANTS_WRITE) return receive_fail(L, s, &w, result);
    SpotWay way = result == FACE_WANTS_READ ? SPOT_READ : SPOT_WRITE;
    switch (asy_face_wait(L, s, way, (uint64_t)lua_tointeger(L, 4), &p)) {
    case FACE_AGAIN: break;
    case FACE_LATE: return receive_fail(L, s, &w, s->io == &face_plain ? FACE_TIMEOUT : result);
    case FACE_PARKS:
      asy_spot_claim(L, &s->spot, way); /* it may be the other way than a call of this kind has */
      if (!buffer_length(&s->in)) buffer_free(&s->in); /* it may wait long */
      return asy_spot_park(L, p.task, &s->spot, way, p.deadline, &RECEIVE, 1);
    }
  }
}

static int receive_on(lua_State *L) { return receive_on_or_late(L, false); }

int asy_face_receive(lua_State *L, FaceSocket *s) {
  size_t prefix;
  luaL_optlstring(L, 3, "", &prefix);
  lua_settop(L, 3);
  if (lua_isnil(L, 3)) {
    lua_pushliteral(L, "");
    lua_replace(L, 3);
  }
  Wish w = read_wish(L, prefix);
  if (w.shape == COUNT && prefix && !w.count) { /* it has as much already */
    lua_pushnil(L);
    lua_pushnil(L);
    return 3;
  }
  lua_pushinteger(L, (lua_Integer)face_now(ASY_RUNTIME(L)));
  s->searched = 0;
  Task *spent = asy_face_spent(L);
  return spent ? asy_give_way(L, spent, receive_on) : receive_on(L);
}
