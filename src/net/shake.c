/*
** shake.c - a stream's filter is begun with: start_filter, the mechanism of start_tls and of connections that begin so.
**
** The task that waits for the handshake stands as the stream's reader, and no output is taken meanwhile. Given up, or
** failed, the connection is dead: what its peer believes of it nobody knows.
*/
#include "net/shake.h"

#include "core/error.h"
#include "net/input.h"
#include "net/life.h"
#include "net/limit.h"
#include "net/output.h"
#include "net/peer.h"
#include "net/reader.h"
#include "net/writer.h"
#include "open.h"

static const char contexts_key = 0; /* registry: writer → the context of its filter, weak keys */

FilterSource *asy_filter_source(lua_State *L, int idx) {
  FilterSource *source = NULL;
  int top = lua_gettop(L);
  idx = lua_absindex(L, idx);
  if (lua_type(L, idx) == LUA_TUSERDATA && luaL_getmetafield(L, idx, "methods") == LUA_TTABLE &&
      lua_getfield(L, -1, "_source") == LUA_TFUNCTION) {
    lua_pushvalue(L, idx);
    lua_call(L, 1, 1);
    source = lua_touserdata(L, -1);
  }
  lua_settop(L, top);
  if (!source || source->abi != FILTER_ABI) asy_argerror(L, idx, "a context of this release's asyncio.ssl expected");
  return source;
}

Filtered *asy_filter_stream(lua_State *L, Stream *s, int writer, int idx, const FilterOrder *order) {
  writer = lua_absindex(L, writer);
  idx = lua_absindex(L, idx);
  FilterSource *source = asy_filter_source(L, idx);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &contexts_key);
  lua_pushvalue(L, writer);
  lua_pushvalue(L, idx);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  Filter *filter = source->make(source, order);
  Filtered *f = filter ? filtered_attach(s, filter) : NULL;
  if (filter && !f) filter->ops->free(filter);
  if (!f) asy_nomemory(L);
  return f;
}

static void shaken(Filtered *f) { input_wake(f->stream, 0); }

/* The handshake has failed, or the stream was closed meanwhile. */
static int fail(lua_State *L, Stream *s) {
  int status = s->in.error;
  if (stream_closing(s) || !s->handle.open) return asy_stream_closed(L, s);
  asy_stream_close(L, s, limit_linger(s, STREAM_LINGER * NS_PER_S)); /* what it has to say of it is sent */
  if (status == UV_EPROTO) return asy_filtered_raise(L, s, s->filtered->step);
  return asy_peer_oserror(L, s, status ? status : UV_ECONNABORTED, s->filtered->step);
}

static int wait(lua_State *L, Task *t, Stream *s);

static int look_again(lua_State *L, Task *t) {
  Stream *s = t->on;
  s->in.reader = NULL;
  return wait(L, t, s);
}

static Abort shake_abort(lua_State *L, Task *t) {
  Stream *s = t->on;
  if (!s) return ASY_DETACHED;
  s->in.reader = NULL;
  asy_stream_abort(L, s);
  return ASY_DETACHED;
}

static void shake_giveback(lua_State *L, Task *t) { shake_abort(L, t); }

static const WaitKind SHAKE = {.name = "start_tls", .finish = look_again, .abort = shake_abort,
                               .giveback = shake_giveback, .describe = peer_describe, .may_come = peer_may_come};

static int wait(lua_State *L, Task *t, Stream *s) {
  const Filtered *f = s->filtered;
  if (f->failed || stream_closing(s) || !s->handle.open) return fail(L, s);
  if (!f->shaking) {
    input_let_go(s);
    return 0;
  }
  limit_read_not(s);
  s->in.want = 1; /* any byte for the user comes after the handshake; what comes with its end has the usual limit */
  s->in.want_byte = -1;
  s->in.direct = false;
  s->in.reader = t;
  return asy_park(L, t, &SHAKE, s);
}

/* Whether it can have one. */
static void check_stream(lua_State *L, Stream *s) {
  if (stream_closing(s) || !s->handle.open) asy_stream_closed(L, s);
  if (s->filtered && s->filtered->shaking) asy_error(L, ASY_BUSY, "the stream is shaking hands already (start_tls)");
  if (s->filtered) asy_error(L, ASY_ERROR, "the stream is one of TLS already: TLS in TLS is not supported");
  if (s->handle.kept || s->backing || s->in.file >= 0 || s->out.file >= 0 || s->uv.handle.type == UV_TTY)
    asy_error(L, ASY_ERROR, "TLS needs a connection: a socket's, or one in memory");
  asy_reader_claim(L, s);
  asy_writer_claim(L, s);
}

/* start_filter(writer, context, server_side, name or nil, key or nil, what errors call it or nil): shakes hands; a task
** waits */
static int start_filter(lua_State *L) {
  static const char *const STEPS[] = {"connect", "start_tls", NULL};
  const WriterBox *box = asy_stream_test(L, 1, &stream_writer_kind);
  if (!box) asy_badself(L, "asyncio.StreamWriter");
  Stream *s = box->stream;
  if (!s) return asy_error(L, ASY_CLOSED, "the stream is closed");
  FilterOrder order = {.server = lua_toboolean(L, 3), .name = luaL_optstring(L, 4, NULL), .key = luaL_optstring(L, 5, NULL)};
  const char *step = STEPS[luaL_checkoption(L, 6, "connect", STEPS)];
  lua_settop(L, 5);
  check_stream(L, s);
  Task *t = asy_stream_waiting_task(L, s);
  asy_filter_source(L, 2);
  check_stream(L, s); /* that was Lua's */
  Filtered *f = asy_filter_stream(L, s, 1, 2, &order);
  f->over = shaken;
  f->step = step;
  input_pause(s);
  input_resume(s);
  asy_stream_flush(L, s);
  return wait(L, t, s);
}

static const luaL_Reg functions[] = {{"start_filter", start_filter}, {NULL, NULL}};

/* stack: module */
void asy_open_shake(lua_State *L) {
  asy_newweak(L, "k");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &contexts_key);
  asy_setfuncs(L, functions);
  lua_pushinteger(L, FILTER_ABI);
  lua_setfield(L, -2, "filter_abi");
}
