/*
** writer.c - asyncio.StreamWriter: output and the stream's end, to Lua.
*/
#include <string.h>

#include "base/alloc.h"
#include "core/error.h"
#include "core/options.h"
#include "net/filtered.h"
#include "net/life.h"
#include "net/limit.h"
#include "net/output.h"
#include "net/socket.h"
#include "net/peer.h"
#include "net/writer.h"

#include "net/socket.h"
#include "open.h"

static WriterBox *check_box(lua_State *L) {
  WriterBox *box = asy_stream_test(L, 1, &stream_writer_kind);
  if (!box) asy_badself(L, "asyncio.StreamWriter");
  return box;
}

static Stream *check_writer(lua_State *L) {
  Stream *s = check_box(L)->stream;
  if (!s) asy_error(L, ASY_CLOSED, "the stream is closed");
  return s;
}

int asy_writer_raise(lua_State *L, Stream *s, int status) {
  s->out.told = true;
  if (s->filtered && s->filtered->failed && status == UV_EPROTO) asy_filtered_raise(L, s->filtered->stream, "write");
  asy_peer_oserror(L, s, status, "write");
}

void asy_writer_claim(lua_State *L, Stream *s) {
  if (stream_closing(s) || !s->handle.open) asy_stream_closed(L, s);
  if (output_error(s)) asy_writer_raise(L, s, output_error(s));
  if (s->out.none) asy_peer_oserror(L, s, UV_EBADF, "write");
  if (s->out.eof_wanted) asy_error(L, ASY_CLOSED, "the stream is closed for writing (write_eof)");
  if (s->in.error == UV_ECONNRESET) asy_writer_raise(L, s, s->in.error);
  if (s->filtered && s->filtered->shaking) asy_error(L, ASY_BUSY, "the stream is shaking hands (start_tls)");
}

/// Writes strings; they leave together at the end of the turn. Never waits: see `drain`.
// Raises ClosedError after `close`, BrokenPipeError or ConnectionResetError once the peer is known
// to be gone.
// @function StreamWriter:write
// @tparam string ...
static int writer_write(lua_State *L) {
  Stream *s = check_writer(L);
  int n = lua_gettop(L);
  for (int i = 2; i <= n; i++)
    if (lua_type(L, i) != LUA_TSTRING && !lua_tostring(L, i)) asy_typeerror(L, i, i, "string", "");
  asy_writer_claim(L, s);
  output_schedule(s);
  for (int i = 2; i <= n; i++) asy_output_write(L, s, i);
  return 0;
}

/// Writes the strings of a list.
// @function StreamWriter:writelines
// @tparam {string,...} list
static int writer_writelines(lua_State *L) {
  Stream *s = check_writer(L);
  if (!lua_istable(L, 2)) asy_typeerror(L, 2, 2, "table", "");
  lua_Integer n = luaL_len(L, 2);
  lua_settop(L, 2);
  for (lua_Integer i = 1; i <= n; i++) {
    if (lua_geti(L, 2, i) != LUA_TSTRING && !lua_isnumber(L, -1))
      asy_argerror(L, 2, "a list of strings expected");
    lua_settop(L, 2);
  }
  for (lua_Integer i = 1; i <= n; i++) {
    lua_geti(L, 2, i); /* may call a metamethod, and a number's text is made: others may close the stream */
    if (!lua_tostring(L, 3)) asy_argerror(L, 2, "a list of strings expected");
    asy_writer_claim(L, s);
    output_schedule(s);
    asy_output_write(L, s, 3);
    lua_settop(L, 2);
  }
  return 0;
}

static int wait_for_room(lua_State *L, Stream *s);

static int drained(lua_State *L, Task *t) {
  Stream *s = ((WriterBox *)lua_touserdata(L, 1))->stream;
  if (output_error(s)) return asy_writer_raise(L, s, output_error(s));
  if (stream_aborted(s)) return asy_peer_closed(L, s, "the stream was aborted");
  return t->code == LIMIT_LOOK && output_pending(s) > s->out.low ? wait_for_room(L, s) : 0;
}

static const WaitKind DRAIN = {.name = "drain", .finish = drained, .abort = asy_waitq_abort,
                               .describe = peer_describe, .may_come = peer_may_come};

/* stack: writer */
static int wait_for_room(lua_State *L, Stream *s) {
  Task *t = asy_stream_waiting_task(L, s);
  asy_limit_write(L, s);
  return asy_waitq_park(L, t, &s->out.drainers, &DRAIN, s);
}

/* What fills the buffer leaves at once, not together with the next that comes: the kernel copies 64 KiB from one
** cache to another, twice that much through memory (432 µs for each MB instead of 185). What is for a file
** need not wait for anything. */
static bool full(const Stream *s) {
  size_t pending = output_pending(s);
  return pending && (pending >= s->out.high || s->out.file >= 0);
}

/// Waits while more is pending than the high-water mark, until it is below the low one.
// Raises the error that a write met. Output to a file is written.
// @function StreamWriter:drain
int asy_writer_drain(lua_State *L) {
  Stream *s = check_writer(L);
  lua_settop(L, 1);
  if (output_error(s)) return asy_writer_raise(L, s, output_error(s));
  if (full(s)) {
    asy_stream_flush(L, s);
    if (output_error(s)) return asy_writer_raise(L, s, output_error(s));
    if (output_pending(s) > s->out.high)
      return wait_for_room(L, s);
  }
  Task *t = asy_stream_task_or_null(L, s);
  if (t && task_spent(t)) return asy_give_way(L, t, asy_writer_drain);
  return 0;
}

/// How many bytes are written and not with the kernel yet.
// @function StreamWriter:pending
// @treturn integer
static int writer_pending(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)output_pending(check_writer(L)));
  return 1;
}

/// `write` and `drain` in one.
// @function StreamWriter:send
// @tparam string ...
static int writer_send(lua_State *L) {
  writer_write(L);
  return asy_writer_drain(L);
}

/* A terminal has no end that could be sent. */
static bool can_end(const Stream *s) {
  return s->uv.handle.type != UV_TTY && !s->out.endless && (!s->filtered || filtered_can_half(s->filtered));
}

static const char *why_endless(const Stream *s) {
  return s->filtered ? "a TLS 1.2 connection" : s->out.endless ? "it" : "a terminal";
}

/// Closes the sending half, after what has been written: the peer reads the end of the stream.
// Standard output, which has no other half, is closed.
// @function StreamWriter:write_eof
static int writer_write_eof(lua_State *L) {
  Stream *s = check_writer(L);
  if (s->out.eof_wanted) return 0;
  asy_writer_claim(L, s);
  if (!can_end(s)) return asy_error(L, ASY_ERROR, "%s has no half to close", why_endless(s));
  if (s->out.one_way) {
    s->out.eof_wanted = true;
    asy_stream_close(L, s, 0);
    return 0;
  }
  if (!(s->out.ending = mem_alloc(sizeof *s->out.ending))) return asy_nomemory(L);
  s->out.eof_wanted = true;
  if (!list_linked(&s->out.send.link)) list_append(&s->handle.loop->turn_end, &s->out.send.link);
  return 0;
}

/// Whether `write_eof` works on this kind of stream.
// @function StreamWriter:can_write_eof
// @treturn boolean
static int writer_can_write_eof(lua_State *L) {
  lua_pushboolean(L, can_end(check_writer(L)));
  return 1;
}

/// Closes the stream, once what has been written is sent. Closing again does nothing.
// A connection whose objects are collected is closed likewise, with a warning. Where what was written cannot be sent
// any more the peer sees a reset, never an ordinary end.
// @function StreamWriter:close
static int writer_close(lua_State *L) {
  asy_stream_close(L, check_writer(L), 0);
  return 0;
}

/// Closes the stream at once; what is not sent is dropped. To the peer that looks like an ordinary end after what has
// left.
// @function StreamWriter:abort
static int writer_abort(lua_State *L) {
  asy_stream_abort(L, check_writer(L));
  return 0;
}

/// Whether it has been closed, or is being closed.
// @function StreamWriter:is_closing
// @treturn boolean
static int writer_is_closing(lua_State *L) {
  Stream *s = check_writer(L);
  lua_pushboolean(L, stream_closing(s) || !s->handle.open);
  return 1;
}

/* What it stood on has refused output: its end is an error. */
static int closed(lua_State *L, Stream *s) {
  int status = output_device_error(s);
  return status ? asy_writer_raise(L, s, status) : 0;
}

static int wait_for_end(lua_State *L, Stream *s);

static int closed_finish(lua_State *L, Task *t) {
  Stream *s = ((WriterBox *)lua_touserdata(L, 1))->stream;
  return t->code == LIMIT_LOOK && !s->handle.closed ? wait_for_end(L, s) : closed(L, s);
}

static const WaitKind CLOSED = {.name = "wait_closed", .finish = closed_finish, .abort = asy_waitq_abort,
                                .describe = peer_describe, .may_come = peer_may_come};

/* stack: writer */
static int wait_for_end(lua_State *L, Stream *s) {
  Task *t = asy_stream_waiting_task(L, s);
  if (stream_closing(s)) asy_limit_write(L, s);
  return asy_waitq_park(L, t, &s->life.closers, &CLOSED, s);
}

/// Waits until the stream is closed. Never raises for a dead peer; an error of the device that the output was for, as a
// full disk, it does.
// @function StreamWriter:wait_closed
static int writer_wait_closed(lua_State *L) {
  Stream *s = check_writer(L);
  lua_settop(L, 1);
  if (s->handle.closed) {
    closed(L, s);
    return asy_spend(L);
  }
  return wait_for_end(L, s);
}

static Abort close_abort(lua_State *L, Task *t) {
  stream_lose_pending(t->on);
  asy_stream_abort(L, t->on);
  return asy_waitq_abort(L, t);
}

/* stack: writer, the error that leaves the block, or nil. An error of the device's is raised unless somebody knows of
** it, or another is on its way; then it is reported later. */
static int scope_left(lua_State *L, Stream *s) { return s->out.told || !lua_isnil(L, 2) ? 0 : closed(L, s); }

static int close_finish(lua_State *L, Task *t);

static const WaitKind CLOSING = {.name = "close", .finish = close_finish, .abort = close_abort,
                                 .describe = peer_describe, .may_come = peer_may_come};

static int close_finish(lua_State *L, Task *t) {
  Stream *s = ((WriterBox *)lua_touserdata(L, 1))->stream;
  bool early = t->code == LIMIT_LOOK && !s->handle.closed; /* it has a limit of its own */
  return early ? asy_waitq_park(L, t, &s->life.closers, &CLOSING, s) : scope_left(L, s);
}

/* local writer <close>: closes and waits; a peer that takes nothing for 30 s is given up, but no standard stream's. */
static int writer__close(lua_State *L) {
  Stream *s = check_writer(L);
  Task *t = asy_current_or_null(L);
  asy_stream_close(L, s, limit_linger(s, STREAM_LINGER * NS_PER_S));
  lua_settop(L, 2);
  if (s->handle.closed) {
    scope_left(L, s);
    return asy_spend(L);
  }
  if (!t || t->loop != s->handle.loop) return 0;
  return asy_waitq_park(L, t, &s->life.closers, &CLOSING, s);
}

static const OptSpec LIMITS[] = {{.key = "high", .kind = OPT_INTEGER, .least = 0, .most = LUA_MAXINTEGER},
                                 {.key = "low", .kind = OPT_INTEGER, .least = 0, .most = LUA_MAXINTEGER}};
static const Options LIMIT_OPTIONS = {"set_write_buffer_limits", 1, OPT_NAMED, OPT_SPECS(LIMITS)};

static lua_Integer get_size(lua_State *L, const char *key, lua_Integer fallback) {
  return lua_getfield(L, 2, key) == LUA_TNIL ? fallback : lua_tointeger(L, -1);
}

/// Sets between which marks `drain` waits.
// @function StreamWriter:set_write_buffer_limits
// @tparam table marks `high` (default 65536) and `low` (default a quarter of it), in bytes
static int writer_set_write_buffer_limits(lua_State *L) {
  Stream *s = check_writer(L);
  asy_options_check(L, 2, &LIMIT_OPTIONS);
  lua_Integer high = STREAM_LIMIT, low = high / 4;
  if (lua_istable(L, 2)) {
    high = get_size(L, "high", STREAM_LIMIT);
    low = get_size(L, "low", high / 4);
  }
  asy_argcheck(L, low <= high, 2, "'low' is above 'high'");
  s->out.high = (size_t)high;
  s->out.low = (size_t)low;
  return 0;
}

/* The numbers of bytes: not sent yet, low mark, high mark. */
static int writer_buffer(lua_State *L) {
  Stream *s = check_writer(L);
  lua_pushinteger(L, (lua_Integer)output_pending(s));
  lua_pushinteger(L, (lua_Integer)s->out.low);
  lua_pushinteger(L, (lua_Integer)s->out.high);
  return 3;
}

/* _make_part() - its connection is part of something of the Lua layer that need not be closed: life.h */
static int writer_make_part(lua_State *L) {
  stream_make_part(check_writer(L));
  return 0;
}

/// What is known of the connection: `"peername"`, `"sockname"` (addresses); `"socket"`: a table with
// the field `fd` and the method `getfd`, for other libraries; `"peercred"`, of a unix socket: `{pid=, uid=, gid=}` of
// the process at the other end when it connected, or began to listen (`pid` where the system tells it). Of a stream of
// `open_fd` or a standard stream it is that of the descriptor itself, where that is a socket.
//
// With TLS also `"tls_version"` ("TLSv1.3"), `"cipher"` (its name), `"alpn_protocol"`, `"server_name"` (that the client
// has asked for), `"session_reused"`, `"ssl_context"`, and `"peercert"`, the peer's certificate, also where it was not
// verified: `{subject=, issuer=, serial=, not_before=, not_after=, san=, der=, verified=}`. `subject` and `issuer` are
// lists `{{type="CN", value=}, …}` with a `tostring` and fields (`subject.CN`); `serial` is hexadecimal, the times are
// seconds as `os.time`'s; `san` is a list `{{type="DNS", value=}, …}`.
// @function StreamWriter:get_extra_info
// @tparam string name
// @param[opt] default returned when it isn't known
// @return what is known, or default
static int writer_get_extra_info(lua_State *L) {
  Stream *s = check_writer(L);
  if (!lua_isstring(L, 2)) asy_typeerror(L, 2, 2, "string", "");
  const char *name = lua_tostring(L, 2);
  int fd;
  lua_settop(L, 3);
  if (s->filtered && s->filtered->filter->ops->info(L, s->filtered->filter, name)) return 1;
  if (!strcmp(name, "socket") && peer_socket(s, &fd)) {
    asy_socket_push(L, fd);
    return 1;
  }
  if (!strcmp(name, "peercred") && asy_peer_push_credentials(L, s)) return 1;
  if (!strcmp(name, "peername") || !strcmp(name, "sockname")) {
    if (asy_peer_push(L, s, *name == 'p')) return 1;
    lua_settop(L, 3);
  }
  return 1;
}

static int writer__tostring(lua_State *L) {
  Stream *s = check_box(L)->stream;
  char peer[ASY_ADDRESS_TEXT] = "";
  if (s) peer_text(s, peer);
  lua_pushfstring(L, "asyncio.StreamWriter: %s%s%s, %I bytes not sent (%p)",
                  !s || s->handle.closed ? "closed"
                  : stream_closing(s)    ? "closing"
                  : output_error(s)      ? "broken"
                                         : "open",
                  *peer ? ", peer " : "", peer, (LUAI_UACINT)(s ? output_pending(s) : 0), (void *)s);
  return 1;
}

/// The end of a connection that is written; `open_connection` gives it, and a server's handler gets it.
// `write` never waits, `drain` does while too much is unsent, `send` is both.
// @type StreamWriter
// @usage
// local server <close> = asyncio.start_server(function(reader, writer)
//   for line in reader:lines() do writer:send(line:upper(), "\n") end
// end, "127.0.0.1", 0)
// local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
// writer:write("hello ", "world\n")
// writer:drain()
// print((reader:readline():gsub("\n", ""))) --> HELLO WORLD
// writer:close()
// writer:wait_closed()

static const luaL_Reg methods[] = {{"write", writer_write},
                                   {"writelines", writer_writelines},
                                   {"drain", asy_writer_drain},
                                   {"send", writer_send},
                                   {"pending", writer_pending},
                                   {"write_eof", writer_write_eof},
                                   {"can_write_eof", writer_can_write_eof},
                                   {"close", writer_close},
                                   {"abort", writer_abort},
                                   {"is_closing", writer_is_closing},
                                   {"wait_closed", writer_wait_closed},
                                   {"set_write_buffer_limits", writer_set_write_buffer_limits},
                                   {"get_extra_info", writer_get_extra_info},
                                   {"_buffer", writer_buffer},
                                   {"_make_part", writer_make_part},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__close", writer__close}, {"__tostring", writer__tostring}, {NULL, NULL}};

void asy_open_writer(lua_State *L) {
  asy_options_note(L, &LIMIT_OPTIONS);
  asy_newclass(L, ASY_WRITER, "asyncio.StreamWriter", methods, metamethods);
  asy_pushmeta(L, asy_runtime(L), ASY_WRITER); /* the Lua layer adds to the class */
  lua_setfield(L, -2, "writer_class");
}
