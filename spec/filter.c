/*
** filter.c - a filter for the specs of what carries one: frames of a type, a length and so many bytes, each bit of which
** is turned over. "h" shakes hands, the client first; "d" are data; "k" is answered by an "a" as long, which is taken
** without a word; "e" is the end.
**
** new{fail = "shake" | "pull" | "push", ask = function, half = boolean} gives a context.
*/
#include <stdlib.h>
#include <string.h>

#include "net/filter.h"

#define MOST 200 /* bytes in a frame */

typedef struct Context {
  FilterSource source;
  char fail[8];
  bool asks, half;
  int filters; /* that are alive */
  int retired; /* how often one was told that no step follows */
} Context;

typedef struct Toy {
  Filter filter;
  Context *context;
  bool server, greeted, asked, over;
  const char *failure;
  FilterFault fault;
} Toy;

static const char context_key = 0; /* registry: the last context's `ask` */

static FilterStep fail(Toy *t, FilterFault fault, const char *text) {
  t->fault = fault;
  t->failure = text;
  return FILTER_FAILED;
}

static bool put(FilterIo *io, char type, const char *bytes, size_t n) {
  char frame[MOST + 2] = {type, (char)n};
  for (size_t i = 0; i < n; i++) frame[i + 2] = (char)~bytes[i];
  return io->put(io->to, frame, n + 2);
}

/* The length of the frame at the front, with its head; 0: it isn't all there. */
static size_t frame(const FilterIo *io) {
  size_t n = io->n >= 2 ? (size_t)(unsigned char)io->bytes[1] + 2 : 0;
  return n && io->n >= n ? n : 0;
}

static void skip(FilterIo *io, size_t n) {
  io->bytes += n;
  io->n -= n;
}

static FilterStep more(Toy *t, const FilterIo *io) {
  return io->ended ? fail(t, FILTER_TRUNCATED, "the peer ended without a word") : FILTER_MORE;
}

static FilterStep greet(Toy *t, FilterIo *io) {
  t->greeted = true;
  return put(io, 'h', "hello", 5) ? FILTER_DONE : fail(t, FILTER_NO_MEMORY, NULL);
}

static FilterStep shake(Filter *f, FilterIo *io) {
  Toy *t = (Toy *)f;
  if (!t->server && !t->greeted && greet(t, io) == FILTER_FAILED) return FILTER_FAILED;
  size_t n = frame(io);
  if (!n) return io->n && *io->bytes != 'h' ? fail(t, FILTER_ERROR, "not a greeting") : more(t, io);
  if (*io->bytes != 'h') return fail(t, FILTER_ERROR, "not a greeting");
  if (t->context->asks && t->server && !t->asked) return FILTER_ASK;
  skip(io, n);
  if (!strcmp(t->context->fail, "shake")) {
    put(io, 'x', "no", 2);
    return fail(t, FILTER_UNVERIFIED, "the peer is not liked");
  }
  return t->server ? greet(t, io) : FILTER_DONE;
}

/* Answers what wants an answer, up to the next frame that is the user's; false: no memory. */
static bool answer(FilterIo *io) {
  for (size_t n; (n = frame(io)) && (*io->bytes == 'k' || *io->bytes == 'a'); skip(io, n))
    if (*io->bytes == 'k' && !put(io, 'a', io->bytes + 2, n - 2)) return false;
  return true;
}

static FilterStep pull(Filter *f, FilterIo *io, char *to, size_t room, size_t *got) {
  Toy *t = (Toy *)f;
  *got = 0;
  if (t->over) return FILTER_END;
  if (!answer(io)) return fail(t, FILTER_NO_MEMORY, NULL);
  size_t n = frame(io);
  if (!n) return more(t, io);
  if (!strcmp(t->context->fail, "pull")) return fail(t, FILTER_ERROR, "bad frame");
  if (*io->bytes == 'x') return fail(t, FILTER_ERROR, "the peer has refused");
  if (*io->bytes == 'e') {
    skip(io, n);
    t->over = true;
    return FILTER_END;
  }
  size_t length = n - 2 < room ? n - 2 : room;
  for (size_t i = 0; i < length; i++) to[i] = (char)~io->bytes[i + 2];
  if (length < n - 2) { /* the rest becomes a frame of its own, in place */
    char *rest = (char *)io->bytes + length;
    rest[0] = 'd';
    rest[1] = (char)(n - 2 - length);
    skip(io, length);
  } else
    skip(io, n);
  *got = length;
  return length ? FILTER_DONE : more(t, io);
}

static FilterStep push(Filter *f, FilterIo *io, const char *bytes, size_t n) {
  Toy *t = (Toy *)f;
  if (!strcmp(t->context->fail, "push")) return fail(t, FILTER_ERROR, "cannot seal");
  for (size_t part; n; bytes += part, n -= part) {
    part = n < MOST ? n : MOST;
    if (!put(io, 'd', bytes, part)) return fail(t, FILTER_NO_MEMORY, NULL);
  }
  return FILTER_DONE;
}

static FilterStep finish(Filter *f, FilterIo *io) {
  return put(io, 'e', "", 0) ? FILTER_DONE : fail((Toy *)f, FILTER_NO_MEMORY, NULL);
}

static size_t held(const Filter *f) {
  (void)f;
  return 0;
}

static bool can_half(const Filter *f) { return ((const Toy *)f)->context->half; }

static void failure(const Filter *f, FilterFailure *failure) {
  const Toy *t = (const Toy *)f;
  *failure = (FilterFailure){.fault = t->fault, .library = "TOY", .reason = "TOY_REASON", .text = t->failure,
                             .verify_code = 18, .verify_message = "toy"};
}

static int ask(lua_State *L, Filter *f, int handler) {
  ((Toy *)f)->asked = true;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &context_key);
  return lua_pcall(L, 0, 0, handler) == LUA_OK ? 0 : 1;
}

static int info(lua_State *L, Filter *f, const char *name) {
  if (strcmp(name, "toy")) return 0;
  lua_pushboolean(L, ((Toy *)f)->server);
  return 1;
}

static void retire(Filter *f) { ((Toy *)f)->context->retired++; }

static void toy_free(Filter *f) {
  ((Toy *)f)->context->filters--;
  free(f);
}

static const FilterOps OPS = {FILTER_ABI, "toy", shake, pull, push, finish, held, can_half, failure, ask, info,
                              retire, toy_free};

static Filter *make(FilterSource *source, const FilterOrder *order) {
  Context *context = (Context *)source;
  Toy *t = calloc(1, sizeof *t);
  if (!t) return NULL;
  t->filter.ops = &OPS;
  t->context = context;
  t->server = order->server;
  context->filters++;
  return &t->filter;
}

static int context_source(lua_State *L) {
  lua_pushlightuserdata(L, luaL_checkudata(L, 1, "toy context"));
  return 1;
}

static int context_filters(lua_State *L) {
  lua_pushinteger(L, ((Context *)luaL_checkudata(L, 1, "toy context"))->filters);
  return 1;
}

static int context_retired(lua_State *L) {
  lua_pushinteger(L, ((Context *)luaL_checkudata(L, 1, "toy context"))->retired);
  return 1;
}

static int context_new(lua_State *L) {
  Context *c = lua_newuserdatauv(L, sizeof *c, 0);
  memset(c, 0, sizeof *c);
  c->source = (FilterSource){FILTER_ABI, make};
  lua_getfield(L, 1, "fail");
  strncpy(c->fail, luaL_optstring(L, -1, ""), sizeof c->fail - 1);
  lua_getfield(L, 1, "half");
  c->half = lua_toboolean(L, -1);
  lua_getfield(L, 1, "ask");
  c->asks = !lua_isnil(L, -1);
  if (c->asks) lua_rawsetp(L, LUA_REGISTRYINDEX, &context_key);
  lua_settop(L, 2);
  if (luaL_newmetatable(L, "toy context")) {
    lua_pushcfunction(L, context_source);
    lua_setfield(L, -2, "_source");
    lua_pushcfunction(L, context_filters);
    lua_setfield(L, -2, "filters");
    lua_pushcfunction(L, context_retired);
    lua_setfield(L, -2, "retired");
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "methods");
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_setmetatable(L, 2);
  return 1;
}

ASY_EXPORT int luaopen_filter(lua_State *L);

ASY_EXPORT int luaopen_filter(lua_State *L) {
  lua_pushcfunction(L, context_new);
  return 1;
}
