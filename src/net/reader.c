/*
** reader.c - asyncio.StreamReader: input to Lua.
**
** A method looks at the buffer; when that isn't enough it says what it wants and parks, and looks again
** when it is woken: so it takes nothing before it returns it, and a cancelled read has taken nothing.
*/
#include "core/error.h"
#include "net/eof.h"
#include "net/feed.h"
#include "net/filtered.h"
#include "net/input.h"
#include "net/life.h"
#include "net/limit.h"
#include "net/peer.h"
#include "net/reader.h"
#include "net/search.h"
#include "open.h"

#define EARLY 8192         /* who waits for the peer's answer sends so much now, while the cache has it */
#define LARGEST_BLOCK 65536 /* the default of `blocks` */

static ReaderBox *check_box(lua_State *L) {
  ReaderBox *box = asy_stream_test(L, 1, &stream_reader_kind);
  if (!box) asy_badself(L, "asyncio.StreamReader");
  return box;
}

static Stream *stream_of(lua_State *L, const ReaderBox *box) {
  Stream *s = box->writer->stream;
  if (!s) asy_error(L, ASY_CLOSED, "the stream is closed");
  return s;
}

Stream *asy_reader_check(lua_State *L) { return stream_of(L, check_box(L)); }

/* Waiting */

Abort asy_reader_abort(lua_State *L, Task *t) {
  Stream *s = t->on;
  (void)L;
  if (s) {
    s->in.reader = NULL;
    s->in.direct = false;
    if (s->in.on_demand) input_pause(s);
  }
  return ASY_DETACHED;
}

void asy_reader_giveback(lua_State *L, Task *t) { asy_reader_abort(L, t); }

#define READING(as, looks_again) \
  {.name = (as), .finish = (looks_again), .abort = asy_reader_abort, .giveback = asy_reader_giveback, \
   .describe = peer_describe, .may_come = peer_may_come}

Stream *reader_resumed(Task *t) {
  Stream *s = t->on;
  s->in.reader = NULL;
  return s;
}

void asy_reader_claim(lua_State *L, Stream *s) {
  if (s->in.eof && s->handle.loop && s->handle.loop->copied) asy_stream_closed(L, s);
  if (s->in.reader) {
    asy_task_push(L, s->in.reader);
    asy_task_name(L, s->in.reader, -1);
    asy_error(L, ASY_BUSY, "the stream is being read by task '%s'", lua_tostring(L, -1));
  }
}

Task *asy_reader_begin(lua_State *L, Stream *s) {
  asy_reader_claim(L, s);
  s->in.searched = 0;
  s->in.direct = false; /* of a read that could not wait, or no longer */
  limit_read_anew(s);
  Task *t = asy_stream_task_or_null(L, s);
  return t && task_spent(t) ? t : NULL;
}

int asy_reader_wait(lua_State *L, Stream *s, const WaitKind *kind, size_t want, int byte) {
  Task *t = asy_stream_waiting_task(L, s);
  input_free_if_empty(s);
  if (s->out.waiting.bytes >= EARLY) asy_stream_flush(L, s);
  asy_limit_read(L, s);
  s->in.want = want;
  s->in.want_byte = byte;
  s->in.reader = t;
  if (!s->in.reading || s->carrier) input_resume(s); /* it must know how much is wanted: a filter gives some at once */
  return asy_park(L, t, kind, s);
}

int asy_reader_raise(lua_State *L, Stream *s) {
  int status = s->in.error;
  if (s->in.left) asy_stream_closed(L, s);
  if (s->in.raises) asy_feed_raise(L, s);
  if (s->filtered && s->filtered->failed && status == UV_EPROTO) asy_filtered_raise(L, s, "read");
  if (status == UV_ENOMEM && !s->in.eof && !(s->filtered && s->filtered->failed))
    s->in.error = 0; /* the next read may do better */
  asy_peer_oserror(L, s, status, "read");
}

/* read */

static int read_some(lua_State *L, Stream *s, lua_Integer n, const WaitKind *kind);

static int read_resumed(lua_State *L, Task *t) {
  Stream *s = reader_resumed(t);
  if (s->in.direct) input_fill(s);
  return read_some(L, s, lua_tointeger(L, 2), t->kind);
}

static const WaitKind READ = READING("read", read_resumed);
static const WaitKind BLOCKS = READING("blocks", read_resumed);

int asy_reader_raise_with_partial(lua_State *L, Stream *s) {
  if (!filtered_truncated(s)) return asy_reader_raise(L, s);
  asy_filtered_push_error(L, s->filtered, "read");
  lua_pushliteral(L, "");
  lua_setfield(L, -2, "partial"); /* so that there is room for it when it has been taken */
  asy_input_take(L, s, buffer_length(&s->in.buffer));
  lua_setfield(L, -2, "partial");
  asy_peer_made(L, s);
  return lua_error(L);
}

static int read_some(lua_State *L, Stream *s, lua_Integer n, const WaitKind *kind) {
  size_t length = buffer_length(&s->in.buffer);
  if (n > 0 && length) return asy_input_take(L, s, (size_t)n < length ? (size_t)n : length);
  if (n == 0) {
    lua_pushliteral(L, "");
    return 1;
  }
  if (s->in.error) return asy_reader_raise_with_partial(L, s);
  if (s->in.eof) {
    if (n < 0) return asy_input_take(L, s, length);
    lua_pushnil(L);
    return 1;
  }
  lua_settop(L, 1);
  lua_pushinteger(L, n); /* for read_resumed */
  s->in.direct = n > 0 && input_can_be_direct(s);
  return asy_reader_wait(L, s, kind, n < 0 ? SIZE_MAX : 1, -1);
}

/// Reads up to n bytes, as soon as there are any.
// Raises BusyError when another task reads, OSError when the connection broke, SSLEOFError when TLS ended without its
// goodbye.
// @function StreamReader:read
// @tparam[opt=-1] integer n negative: all until the end of the stream
// @treturn ?string nil at the end; with a negative n what there was, `""` at least
int asy_reader_read(lua_State *L) {
  Stream *s = asy_reader_check(L);
  lua_Integer n = lua_isnoneornil(L, 2) ? -1 : asy_checkinteger(L, 2);
  Task *t = asy_reader_begin(L, s);
  if (t) return asy_give_way(L, t, asy_reader_read);
  return read_some(L, s, n, &READ);
}

/* The iterator, which holds the reader. upvalues: reader, n */
static int next_block(lua_State *L) {
  Stream *s = stream_of(L, lua_touserdata(L, lua_upvalueindex(2)));
  Task *t = asy_reader_begin(L, s);
  if (t) return asy_give_way(L, t, next_block);
  return read_some(L, s, lua_tointeger(L, lua_upvalueindex(3)), &BLOCKS);
}

/* A count at idx. */
static lua_Integer check_positive(lua_State *L, int idx, lua_Integer fallback) {
  lua_Integer n = lua_isnoneornil(L, idx) ? fallback : asy_checkinteger(L, idx);
  asy_argcheck(L, n > 0, idx, "a positive count expected");
  return n;
}

/// Iterates over what comes, in pieces as they come: `for piece in reader:blocks() do`. Each call of the function reads
// once, as `read(n)` does, and gives nil at the end.
// @function StreamReader:blocks
// @tparam[opt=65536] integer n a piece has up to n bytes, and at least one
// @treturn function
// @usage
// local server <close> = asyncio.start_server(function(_, writer) writer:send(("x"):rep(100000)) end, "127.0.0.1", 0)
// local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
// local bytes = 0
// for piece in reader:blocks() do bytes = bytes + #piece end
// print(bytes) --> 100000
static int reader_blocks(lua_State *L) {
  asy_reader_check(L);
  lua_Integer n = check_positive(L, 2, LARGEST_BLOCK);
  lua_settop(L, 1);
  lua_pushinteger(L, n);
  asy_pushclosure(L, next_block, 2);
  return 1;
}

/* peek */

static int peek(lua_State *L, Stream *s);

static int peek_resumed(lua_State *L, Task *t) { return peek(L, reader_resumed(t)); }

static const WaitKind PEEK = READING("peek", peek_resumed);

/* stack: reader, n, least */
static int peek(lua_State *L, Stream *s) {
  size_t n = (size_t)lua_tointeger(L, 2), least = (size_t)lua_tointeger(L, 3);
  size_t length = buffer_length(&s->in.buffer);
  bool enough = length >= least && length;
  if (!enough && s->in.error) return asy_reader_raise(L, s);
  if (!enough && !s->in.eof && least) return asy_reader_wait(L, s, &PEEK, least, -1);
  if (!length && s->in.eof)
    lua_pushnil(L);
  else
    lua_pushlstring(L, buffer_bytes(&s->in.buffer), n < length ? n : length);
  return 1;
}

/// What the next bytes are; they stay, for whatever reads next.
// Waits until `least` of them have come, or the stream has ended: then it gives those that there are. Neither number is
// bounded by the limit. With `least` 0 it never waits, and gives `""` where nothing has come yet.
// Raises BusyError when another task reads, OSError when the connection broke before there were as many.
// @function StreamReader:peek
// @tparam[opt=1] integer n gives up to n bytes
// @tparam[opt=1] integer least from 0 to n
// @treturn ?string nil when the stream has ended and nothing is left
// @usage
// local server <close> = asyncio.start_server(function(reader, writer)
//   local tls = reader:peek() == "\x16"
//   writer:send(tls and "TLS" or "plain: " .. reader:readline())
// end, "127.0.0.1", 0)
// local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
// writer:send "hello\n"
// print((reader:readline():gsub("\n", ""))) --> plain: hello
static int reader_peek(lua_State *L) {
  Stream *s = asy_reader_check(L);
  lua_Integer n = check_positive(L, 2, 1);
  lua_Integer least = lua_isnoneornil(L, 3) ? 1 : asy_checkinteger(L, 3);
  asy_argcheck(L, least >= 0 && least <= n, 3, "a count from 0 to n expected");
  Task *t = asy_reader_begin(L, s);
  lua_settop(L, 1);
  lua_pushinteger(L, n);
  lua_pushinteger(L, least);
  if (t) return asy_give_way(L, t, reader_peek);
  return peek(L, s);
}

/* readexactly */

/* The stream is over. Nothing has come: nil, the way in which protocols end; else it was cut. */
static int at_end(lua_State *L, Stream *s, lua_Integer expected) {
  size_t length = buffer_length(&s->in.buffer);
  if (!length) {
    lua_pushnil(L);
    return 1;
  }
  if (expected)
    asy_error_push(L, ASY_INCOMPLETE_READ, "the stream ended after %I of %I bytes",
                   (LUAI_UACINT)length, (LUAI_UACINT)expected);
  else
    asy_error_push(L, ASY_INCOMPLETE_READ, "the stream ended after %I bytes, before a separator",
                   (LUAI_UACINT)length);
  if (expected) {
    lua_pushinteger(L, expected);
    lua_setfield(L, -2, "expected");
  }
  lua_pushliteral(L, "");
  lua_setfield(L, -2, "partial"); /* so that there is room for it when it has been taken */
  asy_input_take(L, s, buffer_length(&s->in.buffer)); /* finalisers may have taken some */
  lua_setfield(L, -2, "partial");
  if (s->in.cut || stream_ended_by_server(s)) asy_peer_made(L, s);
  return lua_error(L);
}

static int read_exactly(lua_State *L, Stream *s);

static int exactly_resumed(lua_State *L, Task *t) { return read_exactly(L, reader_resumed(t)); }

static const WaitKind EXACTLY = READING("readexactly", exactly_resumed);

/* stack: reader, n */
static int read_exactly(lua_State *L, Stream *s) {
  lua_Integer n = lua_tointeger(L, 2);
  if (buffer_length(&s->in.buffer) >= (size_t)n) return asy_input_take(L, s, (size_t)n);
  if (s->in.error) return asy_reader_raise_with_partial(L, s);
  if (s->in.eof) return at_end(L, s, n);
  return asy_reader_wait(L, s, &EXACTLY, (size_t)n, -1);
}

/// Reads exactly n bytes.
// Raises IncompleteReadError, with what there was in `partial`, when the stream ends in their middle.
// @function StreamReader:readexactly
// @tparam integer n
// @treturn ?string nil when the stream has ended before the first of them
static int reader_readexactly(lua_State *L) {
  Stream *s = asy_reader_check(L);
  lua_Integer n = asy_checkinteger(L, 2);
  asy_argcheck(L, n >= 0, 2, "a count that isn't negative expected");
  Task *t = asy_reader_begin(L, s);
  lua_settop(L, 2);
  if (t) return asy_give_way(L, t, reader_readexactly);
  return read_exactly(L, s);
}

/* readline, readuntil, lines */

/* Looks for the string, or the strings of the list, at idx. */
static Search look(lua_State *L, const Stream *s, int idx) {
  Search search = search_begin(buffer_bytes(&s->in.buffer), buffer_length(&s->in.buffer), s->in.searched);
  size_t n;
  if (lua_type(L, idx) == LUA_TSTRING) {
    const char *separator = lua_tolstring(L, idx, &n);
    search_for(&search, separator, n);
    return search;
  }
  for (int i = 1; lua_rawgeti(L, idx, i) == LUA_TSTRING; i++) {
    const char *separator = lua_tolstring(L, -1, &n);
    search_for(&search, separator, n);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return search;
}

static int overrun(lua_State *L, Stream *s, size_t consumed) {
  asy_error_push(L, ASY_LIMIT_OVERRUN, "no separator within the limit of %I bytes",
                 (LUAI_UACINT)s->in.limit);
  lua_pushinteger(L, (lua_Integer)consumed);
  lua_setfield(L, -2, "consumed");
  return lua_error(L);
}

/* The byte that ends the only separator: nothing before it need wake the reader. */
static int last_byte(lua_State *L, int idx, size_t *n) {
  if (lua_type(L, idx) != LUA_TSTRING) return -1;
  const char *sep = lua_tolstring(L, idx, n);
  return (unsigned char)sep[*n - 1];
}

/* stack: reader, separators. Returns the length of the next piece; -1: it has to wait. */
static ptrdiff_t next_piece(lua_State *L, Stream *s) {
  Search search = look(L, s, 2);
  size_t before = search_overrun(&search, s->in.limit);
  if (!search.end) s->in.searched = search.length;
  if (before) overrun(L, s, before);
  return search.end ? (ptrdiff_t)search.end : -1;
}

static int wait_for_separator(lua_State *L, Stream *s, const WaitKind *kind) {
  size_t n = 0;
  int byte = last_byte(L, 2, &n);
  size_t want = byte < 0 ? buffer_length(&s->in.buffer) + 1 : s->in.limit + n;
  return asy_reader_wait(L, s, kind, want, byte);
}

static int read_until(lua_State *L, Stream *s);

static int until_resumed(lua_State *L, Task *t) { return read_until(L, reader_resumed(t)); }

static const WaitKind UNTIL = READING("readuntil", until_resumed);

static int read_until(lua_State *L, Stream *s) {
  ptrdiff_t n = next_piece(L, s);
  if (n >= 0) return asy_input_take(L, s, (size_t)n);
  if (s->in.error) return asy_reader_raise_with_partial(L, s);
  if (s->in.eof) return at_end(L, s, 0);
  return wait_for_separator(L, s, &UNTIL);
}

static void check_separators(lua_State *L) {
  if (lua_istable(L, 2)) {
    lua_Integer n = luaL_len(L, 2);
    asy_argcheck(L, n > 0, 2, "a separator expected");
    for (lua_Integer i = 1; i <= n; i++) {
      if (lua_rawgeti(L, 2, i) != LUA_TSTRING || !lua_rawlen(L, -1))
        asy_argerror(L, 2, "separators are strings that aren't empty");
      lua_pop(L, 1);
    }
    return;
  }
  size_t n;
  luaL_optlstring(L, 2, "\n", &n);
  asy_argcheck(L, n > 0, 2, "a separator that isn't empty expected");
}

/// Reads up to and with a separator.
// Raises LimitOverrunError when there is none within the limit (nothing is lost: `read` gives what
// lies there), IncompleteReadError, with what there was in `partial`, when the stream ends before one.
// @function StreamReader:readuntil
// @param[opt="\n"] sep a string, or a list of strings: the one that ends first counts
// @treturn ?string nil when the stream has ended and nothing is left
static int reader_readuntil(lua_State *L) {
  Stream *s = asy_reader_check(L);
  check_separators(L);
  Task *t = asy_reader_begin(L, s);
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_pushliteral(L, "\n");
    lua_replace(L, 2);
  } else if (lua_isnumber(L, 2))
    lua_tostring(L, 2);
  if (t) return asy_give_way(L, t, reader_readuntil);
  return read_until(L, s);
}

static int read_line(lua_State *L, Stream *s);

static int line_resumed(lua_State *L, Task *t) { return read_line(L, reader_resumed(t)); }

static const WaitKind LINE = READING("readline", line_resumed);

/* Pushes a line of n bytes; -1: none is complete, and there is an error or the end. */
static int finish_line(lua_State *L, Stream *s, ptrdiff_t n) {
  if (n >= 0) return asy_input_take(L, s, (size_t)n);
  if (s->in.error) return asy_reader_raise_with_partial(L, s);
  if (s->in.cut) return at_end(L, s, 0); /* what is left may be half a line */
  if (buffer_length(&s->in.buffer)) return asy_input_take(L, s, buffer_length(&s->in.buffer));
  lua_pushnil(L);
  return 1;
}

static bool more_to_come(const Stream *s) { return !s->in.error && !s->in.eof; }

static int read_line(lua_State *L, Stream *s) {
  ptrdiff_t n = next_piece(L, s);
  if (n < 0 && more_to_come(s)) return wait_for_separator(L, s, &LINE);
  return finish_line(L, s, n);
}

/// Reads a line, with its newline; the last one may have none.
// Raises LimitOverrunError when it is longer than the limit; nothing is lost.
// @function StreamReader:readline
// @treturn ?string nil at the end
static int reader_readline(lua_State *L) {
  Stream *s = asy_reader_check(L);
  Task *t = asy_reader_begin(L, s);
  lua_settop(L, 1);
  lua_pushliteral(L, "\n");
  if (t) return asy_give_way(L, t, reader_readline);
  return read_line(L, s);
}

/* lines: the same, the separator stripped */

static int stripped_line(lua_State *L, Stream *s);

static int lines_resumed(lua_State *L, Task *t) { return stripped_line(L, reader_resumed(t)); }

static const WaitKind LINES = READING("lines", lines_resumed);

static int stripped_line(lua_State *L, Stream *s) {
  ptrdiff_t n = next_piece(L, s);
  if (n < 0 && more_to_come(s)) return wait_for_separator(L, s, &LINES);
  return n > 0 ? asy_input_take_less(L, s, (size_t)n, lua_rawlen(L, 2)) : finish_line(L, s, n);
}

/* The iterator, which holds the reader. upvalues: reader, separator */
static int next_line(lua_State *L) {
  Stream *s = stream_of(L, lua_touserdata(L, lua_upvalueindex(2)));
  Task *t = asy_reader_begin(L, s);
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(3));
  if (t) return asy_give_way(L, t, next_line);
  return stripped_line(L, s);
}

/// Iterates over the lines, without their newlines: `for line in reader:lines() do`. Each call of the function
// gives the next one, and nil at the end; the last line may have no newline.
// Raises LimitOverrunError when a line is longer than the limit; nothing is lost.
// @function StreamReader:lines
// @tparam[opt="\n"] string separator what ends a line in place of a newline, `"\r\n"` say
// @treturn function
static int reader_lines(lua_State *L) {
  asy_reader_check(L);
  if (lua_isnoneornil(L, 2)) {
    lua_settop(L, 1);
    lua_pushliteral(L, "\n");
  } else if (lua_type(L, 2) != LUA_TSTRING)
    asy_typeerror(L, 2, 2, "string", lua_type(L, 2) == LUA_TNUMBER ? "; blocks(n) gives pieces of up to n bytes"
                                                                      : "");
  asy_argcheck(L, lua_rawlen(L, 2) > 0, 2, "a separator that isn't empty expected");
  lua_settop(L, 2);
  asy_pushclosure(L, next_line, 2);
  return 1;
}

/// Whether the stream has ended and all of it has been read.
// The end is noticed while nobody reads, too (unless more than twice the limit lies unread): so a handler that works for
// its client sees that it has left. `wait_eof` waits for that, whatever lies unread. A connection that broke raises at the next read or write.
// @function StreamReader:at_eof
// @treturn boolean
static int reader_at_eof(lua_State *L) {
  Stream *s = asy_reader_check(L);
  lua_pushboolean(L, s->in.eof && !buffer_length(&s->in.buffer));
  return 1;
}

/* wait_eof: of the end alone, so beside whoever reads */

static Abort eof_abort(lua_State *L, Task *t) {
  Stream *s = t->on;
  asy_waitq_abort(L, t);
  if (s && list_empty(&s->in.enders)) eof_unwatch(s);
  return ASY_DETACHED;
}

static const WaitKind WAIT_EOF = {.name = "wait_eof", .finish = asy_waitq_finish, .abort = eof_abort,
                                  .describe = peer_describe, .may_come = peer_may_come};

/// Waits until the peer has ended or the connection broke, or this side was closed; what comes meanwhile stays, whoever
// reads and however much it is. Several tasks may wait, while others read and write.
// It reads nothing: the kernel tells of the end. That it does as soon as it knows: an end behind more bytes than it
// holds (64 KiB and more) it learns of when some have been read. Nor does it know what is typed into a terminal as the end
// (Ctrl-D), which whoever reads gets, but that the terminal is gone. A regular file is all there at once.
// Raises OSError when there is no descriptor, or memory, left to ask with.
// @function StreamReader:wait_eof
// @usage
// local server <close> = asyncio.start_server(function(reader, writer)
//   local work = asyncio.create_task(function()
//     asyncio.sleep(3600)
//     writer:send "done\n"
//   end)
//   reader:wait_eof()
//   work:cancel()
//   print "the client has left"
// end, "127.0.0.1", 0)
// local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
// writer:write_eof()
// print(reader:read()) -->
static int reader_wait_eof(lua_State *L) {
  Stream *s = asy_reader_check(L);
  if (s->in.eof && s->handle.loop && s->handle.loop->copied) asy_stream_closed(L, s);
  lua_settop(L, 1);
  if (s->in.left) asy_stream_closed(L, s);
  if (eof_known(s)) return asy_spend(L);
  Task *t = asy_stream_waiting_task(L, s);
  int status = eof_watch(s);
  if (status) asy_oserror(L, status, "wait_eof", NULL);
  list_append(&s->in.enders, &t->waiter.link);
  return asy_park(L, t, &WAIT_EOF, s);
}

/* _is_quiet() → whether it can be used again for another question: eof.h */
static int reader_is_quiet(lua_State *L) {
  const Stream *s = check_box(L)->writer->stream;
  lua_pushboolean(L, s && eof_is_quiet(s));
  return 1;
}

static int reader__tostring(lua_State *L) {
  Stream *s = check_box(L)->writer->stream;
  lua_pushfstring(L, "asyncio.StreamReader: %s, %I bytes unread (%p)",
                  !s || s->handle.closed ? "closed"
                  : s->in.error          ? "broken"
                  : s->in.eof            ? "at the end"
                                         : "open",
                  (LUAI_UACINT)(s ? buffer_length(&s->in.buffer) : 0), (void *)s);
  return 1;
}

/// The end of a connection that is read; `open_connection` gives it, and a server's handler gets it.
// At the end of the stream `read(n)`, `readline`, `readuntil` and `readexactly` return nil. Where its loop has closed
// before that they give what had come, and raise ClosedError behind it.
// @type StreamReader
// @usage
// local server <close> = asyncio.start_server(function(_, writer)
//   writer:send("HTTP/1.0 200 OK\r\n\r\n", ("x"):rep(1000))
// end, "127.0.0.1", 0)
// local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
// print((reader:readline():gsub("%s+$", ""))) --> HTTP/1.0 200 OK
// reader:readuntil "\r\n"
// print(#reader:readexactly(100), #reader:read(), reader:at_eof()) --> 100  900  true

static const luaL_Reg methods[] = {{"read", asy_reader_read},
                                   {"readexactly", reader_readexactly},
                                   {"readuntil", reader_readuntil},
                                   {"readline", reader_readline},
                                   {"lines", reader_lines},
                                   {"blocks", reader_blocks},
                                   {"peek", reader_peek},
                                   {"at_eof", reader_at_eof},
                                   {"wait_eof", reader_wait_eof},
                                   {"_is_quiet", reader_is_quiet},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__tostring", reader__tostring}, {NULL, NULL}};

void asy_open_reader(lua_State *L) {
  asy_newclass(L, ASY_READER, "asyncio.StreamReader", methods, metamethods);
}
