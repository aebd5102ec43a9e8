/*
** writer.c - asyncio.StreamWriter.
**
** What a turn writes leaves at its end with uv_try_write, small strings copied one after the other,
** large ones from where Lua has them. What the kernel doesn't take at once becomes a Flight, libuv's
** until it calls back; there is one at most, and what is written meanwhile waits in `out`.
*/
#include "net/stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "net/address.h"
#include "base/alloc.h"
#include "core/error.h"

#define SMALL 1024          /* strings up to that are copied: 64 writes of 16 bytes cost 3.9 us so, 6.1 by writev */
#define MAX_PIECE ((size_t)1 << 30) /* libuv counts a buffer's bytes in 32 bits */
#define MAX_PIECES 64       /* buffers of one system call */
#define CLOSE_LINGER 30     /* seconds that <close> waits for a peer that takes nothing */

static WriterBox *check_box(lua_State *L) {
  WriterBox *box = stream_test(L, 1, &stream_writer_kind);
  if (!box) luaL_typeerror(L, 1, "asyncio.StreamWriter");
  return box;
}

static Stream *check_writer(lua_State *L) {
  Stream *s = check_box(L)->stream;
  if (!s) asy_error(L, ASY_CLOSED, "the stream is closed");
  return s;
}

/* The bytes on their way out */

static void out_release(lua_State *L, Loop *loop, Out *out) {
  for (size_t i = 0; i < out->nrefs; i++)
    if (out->refs[i].slot) asy_release(L, loop, out->refs[i].slot);
  out->nrefs = 0;
}

/* Memory only: with no Lua left the slots are gone anyway. */
static void out_free(Out *out) {
  buffer_free(&out->small);
  asy_free(out->refs);
  *out = (Out){.refs = NULL};
}

static void out_clear(lua_State *L, Loop *loop, Out *out) {
  out_release(L, loop, out);
  buffer_give_back(&out->small, &loop->blocks);
  asy_free(out->refs);
  *out = (Out){.refs = NULL};
}

static bool out_reserve_refs(Out *out, size_t n) {
  size_t size = out->size ? out->size : 4;
  while (size < out->nrefs + n) size *= 2;
  if (size == out->size) return true;
  Ref *refs = asy_realloc(out->refs, size * sizeof *refs);
  if (!refs) return false;
  out->refs = refs;
  out->size = size;
  return true;
}

/* The string at idx. A giant becomes several pieces; the last one's slot stands for all. */
static void out_add_ref(lua_State *L, Loop *loop, Out *out, int idx, size_t n) {
  const char *data = lua_tostring(L, idx);
  if (!out_reserve_refs(out, n / MAX_PIECE + 1)) luaL_error(L, "not enough memory");
  lua_pushvalue(L, idx);
  uint32_t slot = asy_hold(L, loop);
  for (size_t done = 0; done < n;) {
    size_t length = n - done < MAX_PIECE ? n - done : MAX_PIECE;
    bool last = done + length == n;
    out->refs[out->nrefs++] =
        (Ref){buffer_length(&out->small), data + done, length, last ? slot : 0};
    done += length;
  }
  out->bytes += n;
}

static void out_add_small(lua_State *L, Loop *loop, Out *out, const char *bytes, size_t n) {
  if ((!out->small.data && !buffer_take_block(&out->small, &loop->blocks, BUFFER_BLOCK)) ||
      !buffer_append(&out->small, bytes, n))
    luaL_error(L, "not enough memory");
  out->bytes += n;
}

/* Adds output, less what is sent of it already. */
static void add_piece(uv_buf_t *bufs, unsigned *n, unsigned max, size_t *skip, const char *bytes,
                      size_t length) {
  if (*skip >= length) {
    *skip -= length;
    return;
  }
  for (bytes += *skip, length -= *skip, *skip = 0; length && *n < max;) {
    size_t part = length < MAX_PIECE ? length : MAX_PIECE;
    bufs[(*n)++] = uv_buf_init((char *)bytes, (unsigned)part);
    bytes += part;
    length -= part;
  }
}

/* The first pieces that are not sent yet. */
static unsigned out_pieces(const Out *out, uv_buf_t *bufs, unsigned max) {
  size_t at = 0, skip = out->sent;
  const char *small = buffer_bytes(&out->small);
  unsigned n = 0;
  for (size_t i = 0; i < out->nrefs && n < max; i++) {
    const Ref *r = &out->refs[i];
    if (r->at > at) add_piece(bufs, &n, max, &skip, small + at, r->at - at);
    at = r->at;
    add_piece(bufs, &n, max, &skip, r->data, r->length);
  }
  if (buffer_length(&out->small) > at)
    add_piece(bufs, &n, max, &skip, small + at, buffer_length(&out->small) - at);
  return n;
}

/* Sending */

static void write_failed(lua_State *L, Loop *loop, Stream *s, int status) {
  if (!s->write_error) s->write_error = status;
  out_clear(L, loop, &s->out);
  waitq_wake_all(&s->drainers, 0);
}

static void on_write(uv_write_t *req, int status) {
  Flight *flight = asy_container(req, Flight, req);
  Stream *s = flight->stream;
  flight->landed = true;
  if (status && status != UV_ECANCELED && !s->write_error) s->write_error = status;
  if (!list_linked(&s->tidy.link)) asy_ready(s->handle.loop, &s->tidy);
}

/* The kernel is full: libuv sends the rest of `out` when there is room. */
static void take_off(lua_State *L, Stream *s) {
  unsigned max = (unsigned)(2 * s->out.nrefs + 2 + s->out.bytes / MAX_PIECE);
  uv_buf_t *bufs = asy_malloc(max * sizeof *bufs);
  Flight *flight = bufs ? asy_malloc(sizeof *flight) : NULL;
  int status = UV_ENOMEM;
  if (flight) {
    flight->stream = s;
    flight->out = s->out;
    flight->landed = false;
    status = uv_write(&flight->req, &s->uv.stream, bufs, out_pieces(&s->out, bufs, max), on_write);
  }
  asy_free(bufs); /* libuv has its own copy of the array */
  if (status) {
    asy_free(flight);
    write_failed(L, s->handle.loop, s, status);
    if (status == UV_ENOMEM) stream_break(s, status);
    return;
  }
  s->flight = flight;
  s->out = (Out){.refs = NULL};
}

/* Writes all of the first buffer to a file, which never blocks. */
static int write_file(int fd, const uv_buf_t *buf) {
  for (;;) {
    ssize_t n = write(fd, buf->base, buf->len);
    if (n >= 0) return (int)n;
    if (errno != EINTR && errno != EAGAIN) return -errno;
  }
}

static void send_now(lua_State *L, Stream *s) {
  uv_buf_t bufs[MAX_PIECES];
  while (s->out.sent < s->out.bytes) {
    unsigned n = out_pieces(&s->out, bufs, MAX_PIECES);
    size_t offered = 0;
    for (unsigned i = 0; i < n; i++) offered += bufs[i].len;
    if (!n) break;
    int sent = s->file >= 0 ? write_file(s->file, bufs) : uv_try_write(&s->uv.stream, bufs, n);
    if (sent < 0 && sent != UV_EAGAIN) {
      write_failed(L, s->handle.loop, s, sent);
      return;
    }
    if (sent > 0) s->out.sent += (size_t)sent;
    if (s->file < 0 && (sent < 0 || (size_t)sent < offered)) {
      take_off(L, s);
      return;
    }
  }
  out_clear(L, s->handle.loop, &s->out);
}

static void on_shutdown(uv_shutdown_t *req, int status) {
  (void)status;
  asy_free(req);
}

static void send_eof(Stream *s) {
  s->eof_sent = true;
  if (uv_shutdown(s->ending, &s->uv.stream, on_shutdown)) asy_free(s->ending);
  s->ending = NULL;
}

/* Sends what can be sent now; what the end of the output was waiting for is done then. */
void stream_flush(lua_State *L, Stream *s) {
  if (!s->handle.open) return;
  if (!s->flight && !s->write_error && s->out.bytes) send_now(L, s);
  size_t pending = stream_pending(s);
  if (s->write_error || pending <= s->low) waitq_wake_all(&s->drainers, 0);
  if (pending && !s->write_error) return;
  if (s->closing)
    stream_end(s);
  else if (s->eof_wanted && !s->eof_sent && !s->write_error)
    send_eof(s);
}

void stream_send_run(lua_State *L, Loop *loop, Ready *self) {
  (void)loop;
  stream_flush(L, asy_container(self, Stream, send));
}

void stream_land(lua_State *L, Loop *loop, Stream *s) {
  Flight *flight = s->flight;
  if (!flight || !flight->landed) return;
  s->flight = NULL;
  out_clear(L, loop, &flight->out);
  asy_free(flight);
  if (s->write_error) write_failed(L, loop, s, s->write_error);
}

void stream_drop_output(lua_State *L, Loop *loop, Stream *s) { out_clear(L, loop, &s->out); }

void stream_free_output(Stream *s) {
  out_free(&s->out);
  asy_free(s->ending);
  if (!s->flight) return;
  out_free(&s->flight->out);
  asy_free(s->flight);
}

/* Methods */

static int raise_write_error(lua_State *L, Stream *s, int status) {
  char peer[ASY_ADDRESS_TEXT];
  stream_peer(s, peer);
  return asy_oserror(L, status, "write", *peer ? peer : NULL);
}

/* Raises unless something can be written. */
static void check_writable(lua_State *L, Stream *s) {
  if (s->closing || !s->handle.open) asy_error(L, ASY_CLOSED, "the stream is closed");
  if (s->write_error) raise_write_error(L, s, s->write_error);
  if (s->eof_wanted) asy_error(L, ASY_CLOSED, "the stream is closed for writing (write_eof)");
  if (s->read_error == UV_ECONNRESET) raise_write_error(L, s, s->read_error);
}

static void write_string(lua_State *L, Stream *s, int idx) {
  size_t n;
  const char *bytes = lua_tolstring(L, idx, &n);
  if (!n) return;
  if (n <= SMALL)
    out_add_small(L, s->handle.loop, &s->out, bytes, n);
  else
    out_add_ref(L, s->handle.loop, &s->out, idx, n);
}

/* Called before the writing: should memory run out in the middle, what is there leaves. */
static void schedule_send(Stream *s) {
  if (!s->flight && !list_linked(&s->send.link)) list_append(&s->handle.loop->turn_end, &s->send.link);
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
    if (lua_type(L, i) != LUA_TSTRING) luaL_checkstring(L, i);
  check_writable(L, s);
  schedule_send(s);
  for (int i = 2; i <= n; i++) write_string(L, s, i);
  return 0;
}

/// Writes the strings of a list.
// @function StreamWriter:writelines
// @tparam {string,...} list
static int writer_writelines(lua_State *L) {
  Stream *s = check_writer(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_Integer n = luaL_len(L, 2);
  lua_settop(L, 2);
  for (lua_Integer i = 1; i <= n; i++) {
    if (lua_geti(L, 2, i) != LUA_TSTRING && !lua_isnumber(L, -1))
      luaL_argerror(L, 2, "a list of strings expected");
    lua_settop(L, 2);
  }
  for (lua_Integer i = 1; i <= n; i++) {
    lua_geti(L, 2, i); /* may call a metamethod, and a number's text is made: others may close the stream */
    if (!lua_tostring(L, 3)) luaL_argerror(L, 2, "a list of strings expected");
    check_writable(L, s);
    schedule_send(s);
    write_string(L, s, 3);
    lua_settop(L, 2);
  }
  return 0;
}

static int drained(lua_State *L, Task *t) {
  Stream *s = ((WriterBox *)lua_touserdata(L, 1))->stream;
  (void)t;
  if (s->write_error) return raise_write_error(L, s, s->write_error);
  if (s->aborted) return asy_error(L, ASY_CLOSED, "the stream was aborted");
  return 0;
}

static const WaitKind DRAIN = {"drain", drained, waitq_abort, NULL, NULL};

/* What fills the buffer leaves at once, not together with the next that comes: the kernel copies 64 KiB from one
** cache to another, twice that much through memory (432 µs for each MB instead of 185). */
static bool full(const Stream *s) {
  size_t pending = stream_pending(s);
  return pending && pending >= s->high;
}

/// Waits while more is pending than the high-water mark, until it is below the low one.
// Raises the error that a write met.
// @function StreamWriter:drain
static int writer_drain(lua_State *L) {
  Stream *s = check_writer(L);
  Task *t;
  lua_settop(L, 1);
  if (s->write_error) return raise_write_error(L, s, s->write_error);
  if (full(s)) {
    stream_flush(L, s);
    if (s->write_error) return raise_write_error(L, s, s->write_error);
    if (stream_pending(s) > s->high)
      return waitq_park(L, stream_waiting_task(L, s), &s->drainers, &DRAIN, s);
  }
  if ((t = asy_current_or_null_in(L, ASY_RUNTIME(L))) && asy_spent(t)) return asy_give_way(L, t, writer_drain);
  return 0;
}

/// `write` and `drain` in one.
// @function StreamWriter:send
// @tparam string ...
static int writer_send(lua_State *L) {
  writer_write(L);
  return writer_drain(L);
}

/* A terminal has no end that could be sent. */
static bool can_end(const Stream *s) { return s->uv.handle.type != UV_TTY; }

/// Closes the sending half, after what has been written: the peer reads the end of the stream.
// Standard output, which has no other half, is closed.
// @function StreamWriter:write_eof
static int writer_write_eof(lua_State *L) {
  Stream *s = check_writer(L);
  if (s->eof_wanted) return 0;
  check_writable(L, s);
  if (!can_end(s)) return asy_error(L, ASY_ERROR, "a terminal has no half to close");
  if (!s->one_way && !(s->ending = asy_malloc(sizeof *s->ending))) return luaL_error(L, "not enough memory");
  s->eof_wanted = true;
  if (s->one_way) {
    stream_close(L, s, 0);
    return 0;
  }
  if (!list_linked(&s->send.link)) list_append(&s->handle.loop->turn_end, &s->send.link);
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
// @function StreamWriter:close
static int writer_close(lua_State *L) {
  stream_close(L, check_writer(L), 0);
  return 0;
}

/// Closes the stream at once; what is not sent is dropped.
// @function StreamWriter:abort
static int writer_abort(lua_State *L) {
  stream_abort(L, check_writer(L));
  return 0;
}

/// Whether it has been closed, or is being closed.
// @function StreamWriter:is_closing
// @treturn boolean
static int writer_is_closing(lua_State *L) {
  Stream *s = check_writer(L);
  lua_pushboolean(L, s->closing || !s->handle.open);
  return 1;
}

static const WaitKind CLOSED = {"wait_closed", waitq_finish, waitq_abort, NULL, NULL};

/// Waits until the stream is closed. Never raises for a dead peer.
// @function StreamWriter:wait_closed
static int writer_wait_closed(lua_State *L) {
  Stream *s = check_writer(L);
  lua_settop(L, 1);
  if (s->handle.closed) return 0;
  return waitq_park(L, stream_waiting_task(L, s), &s->closers, &CLOSED, s);
}

static Abort close_abort(lua_State *L, Task *t) {
  stream_abort(L, t->on);
  return waitq_abort(L, t);
}

static const WaitKind CLOSING = {"close", waitq_finish, close_abort, NULL, NULL};

/* local writer <close>: closes and waits; a peer that takes nothing for 30 s is given up. */
static int writer__close(lua_State *L) {
  Stream *s = check_writer(L);
  Task *t = asy_current_or_null(L);
  stream_close(L, s, (uint64_t)CLOSE_LINGER * NS);
  lua_settop(L, 1);
  if (!t || t->loop != s->handle.loop || s->handle.closed) return 0;
  return waitq_park(L, t, &s->closers, &CLOSING, s);
}

static size_t check_size(lua_State *L, const char *key, size_t fallback) {
  int isint;
  if (lua_getfield(L, 2, key) == LUA_TNIL) return fallback;
  lua_Integer n = lua_tointegerx(L, -1, &isint);
  if (!isint || n < 0) luaL_argerror(L, 2, lua_pushfstring(L, "'%s' is a number of bytes", key));
  return (size_t)n;
}

/// Sets between which marks `drain` waits.
// @function StreamWriter:set_write_buffer_limits
// @tparam table marks `high` (default 65536) and `low` (default a quarter of it), in bytes
static int writer_set_write_buffer_limits(lua_State *L) {
  Stream *s = check_writer(L);
  if (lua_isnoneornil(L, 2)) {
    lua_settop(L, 1);
    lua_newtable(L);
  }
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t high = check_size(L, "high", STREAM_LIMIT), low = check_size(L, "low", high / 4);
  luaL_argcheck(L, low <= high, 2, "'low' is above 'high'");
  s->high = high;
  s->low = low;
  return 0;
}

/* The numbers of bytes: not sent yet, low mark, high mark. */
static int writer_buffer(lua_State *L) {
  Stream *s = check_writer(L);
  lua_pushinteger(L, (lua_Integer)stream_pending(s));
  lua_pushinteger(L, (lua_Integer)s->low);
  lua_pushinteger(L, (lua_Integer)s->high);
  return 3;
}

static int push_name(lua_State *L, const Stream *s, bool peer) {
  struct sockaddr_storage sa;
  socklen_t n = sizeof sa;
  int fd;
  if (peer && s->peer.any.sa_family) {
    asy_address_push(L, &s->peer.any, sizeof s->peer);
    return 1;
  }
  if (!s->handle.open || uv_fileno(&s->uv.handle, &fd) ||
      (peer ? getpeername : getsockname)(fd, (struct sockaddr *)&sa, &n))
    return 0;
  asy_address_push(L, (struct sockaddr *)&sa, n);
  return 1;
}

static int socket_getfd(lua_State *L) {
  lua_getfield(L, 1, "fd");
  return 1;
}

/* An object for other libraries: its descriptor stays the stream's to close. */
static void push_socket(lua_State *L, int fd) {
  lua_createtable(L, 0, 2);
  lua_pushinteger(L, fd);
  lua_setfield(L, -2, "fd");
  lua_pushcfunction(L, socket_getfd);
  lua_setfield(L, -2, "getfd");
}

/// What is known of the connection: `"peername"`, `"sockname"` (addresses); `"socket"`: a table with
// the field `fd` and the method `getfd`, for other libraries.
// @function StreamWriter:get_extra_info
// @tparam string name
// @param[opt] default returned when it isn't known
static int writer_get_extra_info(lua_State *L) {
  Stream *s = check_writer(L);
  const char *name = luaL_checkstring(L, 2);
  int fd;
  lua_settop(L, 3);
  if (!strcmp(name, "socket") && s->handle.open && uv_fileno(&s->uv.handle, &fd) == 0) {
    push_socket(L, fd);
    return 1;
  }
  if (!strcmp(name, "peername") || !strcmp(name, "sockname")) {
    if (push_name(L, s, *name == 'p')) return 1;
    lua_settop(L, 3);
  }
  return 1;
}

static int writer__tostring(lua_State *L) {
  Stream *s = check_box(L)->stream;
  char peer[ASY_ADDRESS_TEXT] = "";
  if (s) stream_peer(s, peer);
  lua_pushfstring(L, "asyncio.StreamWriter: %s%s%s, %I bytes not sent (%p)",
                  !s || s->handle.closed ? "closed"
                  : s->closing           ? "closing"
                  : s->write_error       ? "broken"
                                         : "open",
                  *peer ? ", peer " : "", peer, (LUAI_UACINT)(s ? stream_pending(s) : 0), (void *)s);
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
                                   {"drain", writer_drain},
                                   {"send", writer_send},
                                   {"write_eof", writer_write_eof},
                                   {"can_write_eof", writer_can_write_eof},
                                   {"close", writer_close},
                                   {"abort", writer_abort},
                                   {"is_closing", writer_is_closing},
                                   {"wait_closed", writer_wait_closed},
                                   {"set_write_buffer_limits", writer_set_write_buffer_limits},
                                   {"get_extra_info", writer_get_extra_info},
                                   {"_buffer", writer_buffer},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__close", writer__close}, {"__tostring", writer__tostring}, {NULL, NULL}};

void asy_open_writer(lua_State *L) {
  asy_newclass(L, ASY_WRITER, "asyncio.StreamWriter", methods, metamethods);
}
