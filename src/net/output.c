/*
** output.c - a stream's bytes on their way out.
**
** What a turn writes leaves with uv_try_write, small strings copied one after the other, large ones from
** where Lua has them; what is left over becomes a Flight.
*/
#include "net/output.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/process.h"
#include "net/limit.h"

#define SMALL 1024          /* strings up to that are copied: 64 writes of 16 bytes cost 3.9 us so, 6.1 by writev */
#define MAX_PIECE ((size_t)1 << 30) /* libuv counts a buffer's bytes in 32 bits */
#define MAX_PIECES 64       /* buffers of one system call */

/* Bytes, collected */

static void out_release(lua_State *L, Loop *loop, Out *out) {
  for (size_t i = 0; i < out->nrefs; i++)
    if (out->refs[i].slot) asy_release(L, loop, out->refs[i].slot);
  out->nrefs = 0;
}

/* Memory only: with no Lua left the slots are gone anyway. */
static void out_free(Out *out) {
  buffer_free(&out->small);
  mem_free(out->refs);
  *out = (Out){.refs = NULL};
}

static void out_clear(lua_State *L, Loop *loop, Out *out) {
  out_release(L, loop, out);
  buffer_give_back(&out->small, &loop->blocks);
  mem_free(out->refs);
  *out = (Out){.refs = NULL};
}

static bool out_reserve_refs(Out *out, size_t n) {
  size_t size = out->size ? out->size : 4;
  while (size < out->nrefs + n) size *= 2;
  if (size == out->size) return true;
  Ref *refs = mem_realloc(out->refs, size * sizeof *refs);
  if (!refs) return false;
  out->refs = refs;
  out->size = size;
  return true;
}

/* The string at idx. A giant becomes several pieces; the last one's slot stands for all. */
static void out_add_ref(lua_State *L, Loop *loop, Out *out, int idx, size_t n) {
  const char *data = lua_tostring(L, idx);
  if (!out_reserve_refs(out, n / MAX_PIECE + 1)) asy_nomemory(L);
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
    asy_nomemory(L);
  out->bytes += n;
}

void asy_output_write(lua_State *L, Stream *s, int idx) {
  size_t n;
  const char *bytes = lua_tolstring(L, idx, &n);
  if (!n) return;
  if (n <= SMALL)
    out_add_small(L, s->handle.loop, &s->out.waiting, bytes, n);
  else
    out_add_ref(L, s->handle.loop, &s->out.waiting, idx, n);
}

bool output_take(Stream *s, Buffer *from, size_t n) {
  Out *out = &s->out.waiting;
  if (!out->small.data && n == buffer_length(from)) {
    out->small = *from;
    *from = (Buffer){NULL, 0, 0, 0};
  } else {
    size_t block = n > 8 * BUFFER_BLOCK ? 64 * BUFFER_BLOCK : n > BUFFER_BLOCK ? 8 * BUFFER_BLOCK : BUFFER_BLOCK;
    if ((!out->small.data && !buffer_take_block(&out->small, &s->handle.loop->blocks, block)) ||
        !buffer_append(&out->small, buffer_bytes(from), n))
      return false;
    buffer_consume(from, n);
  }
  out->bytes += n;
  return true;
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

/* Forgets what is gone, once that is half of it: with a peer that always leaves some, nothing else would. */
static void out_trim(lua_State *L, Loop *loop, Out *out) {
  if (out->sent < out->bytes / 2) return;
  size_t at = 0, left = out->sent, gone = 0; /* at: so many of the small bytes; left: to be found still */
  for (; gone < out->nrefs && left >= out->refs[gone].at - at; gone++) {
    Ref *r = &out->refs[gone];
    left -= r->at - at;
    at = r->at;
    if (left < r->length) {
      r->data += left;
      r->length -= left;
      left = 0;
      break;
    }
    left -= r->length;
    if (r->slot) asy_release(L, loop, r->slot);
  }
  at += left;
  out->nrefs -= gone;
  if (gone) memmove(out->refs, out->refs + gone, out->nrefs * sizeof *out->refs);
  for (size_t i = 0; i < out->nrefs; i++) out->refs[i].at -= at;
  buffer_consume(&out->small, at);
  out->bytes -= out->sent;
  out->sent = 0;
}

/* Sending */

void output_look(Stream *s) {
  int error = s->backing ? s->backing->error(s->backing, false) : 0;
  if (error) s->out.error = error; /* not EPIPE, which is what the pipe to its thread says */
}

bool output_is_on_its_way(const Stream *s) {
  return s->backing && !s->out.error && s->backing->is_unwritten(s->backing);
}

int output_device_error(const Stream *s) {
  int status = s->backing ? s->out.error : 0;
  return status == UV_EPIPE || status == UV_ECONNRESET ? 0 : status;
}

static void write_failed(lua_State *L, Loop *loop, Stream *s, int status) {
  if (!s->out.error) s->out.error = status;
  out_clear(L, loop, &s->out.waiting);
  waitq_wake_all(&s->out.drainers, 0);
}

static void on_write(uv_write_t *req, int status) {
  Flight *flight = asy_container(req, Flight, req);
  Stream *s = flight->stream;
  flight->landed = true;
  s->handle.loop->moved++;
  if (status && status != UV_ECANCELED && !s->out.error) s->out.error = status;
  stream_tidy_later(s);
}

/* The kernel is full: libuv sends the rest of `out` when there is room. */
static int take_off(lua_State *L, Stream *s) {
  if (s->carrier) { /* it says when */
    out_trim(L, s->handle.loop, &s->out.waiting);
    return 0;
  }
  unsigned max = (unsigned)(2 * s->out.waiting.nrefs + 2 + s->out.waiting.bytes / MAX_PIECE);
  uv_buf_t *bufs = mem_alloc(max * sizeof *bufs);
  Flight *flight = bufs ? mem_alloc(sizeof *flight) : NULL;
  int status = UV_ENOMEM;
  if (flight) {
    flight->stream = s;
    flight->out = s->out.waiting;
    flight->landed = false;
    volatile sig_atomic_t *writing = process_writing();
    *writing = 1;
    status = uv_write(&flight->req, &s->uv.stream, bufs, out_pieces(&s->out.waiting, bufs, max), on_write);
    *writing = 0;
  }
  mem_free(bufs); /* libuv has its own copy of the array */
  if (status) {
    mem_free(flight);
    write_failed(L, s->handle.loop, s, status);
    return status == UV_ENOMEM ? status : 0;
  }
  s->out.flight = flight;
  s->out.waiting = (Out){.refs = NULL};
  return 0;
}

/* Writes of the first buffer to a file, which never blocks. */
static int write_file(int fd, const uv_buf_t *buf) {
  for (;;) {
    ssize_t n = write(fd, buf->base, buf->len);
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    if (n >= 0) return (int)n;
    if (errno == EAGAIN) /* a device, whose description somebody has made non-blocking */
      poll(&ready, 1, -1);
    else if (errno != EINTR)
      return uv_translate_sys_error(errno);
  }
}

static int write_stream(Stream *s, const uv_buf_t *bufs, unsigned n) {
  if (s->carrier) return s->carrier->send(s, bufs, n);
  volatile sig_atomic_t *writing = process_writing();
  s->handle.loop->moved++;
  *writing = 1;
  int sent = uv_try_write(&s->uv.stream, bufs, n);
  *writing = 0;
  return sent;
}

int asy_output_send(lua_State *L, Stream *s) {
  uv_buf_t bufs[MAX_PIECES];
  while (s->out.waiting.sent < s->out.waiting.bytes) {
    unsigned n = out_pieces(&s->out.waiting, bufs, MAX_PIECES);
    size_t offered = 0;
    for (unsigned i = 0; i < n; i++) offered += bufs[i].len;
    if (!n) break;
    int sent = s->out.file >= 0 ? write_file(s->out.file, bufs) : write_stream(s, bufs, n);
    if (sent < 0 && sent != UV_EAGAIN) {
      write_failed(L, s->handle.loop, s, sent);
      return 0;
    }
    if (sent > 0) s->out.waiting.sent += (size_t)sent;
    if (sent > 0 && s->carrier) limit_left(s);
    bool more = s->carrier ? sent > 0 : (size_t)sent == offered; /* may go at once */
    if (s->out.file < 0 && (sent < 0 || !more)) return take_off(L, s);
  }
  out_clear(L, s->handle.loop, &s->out.waiting);
  return 0;
}

static void on_shutdown(uv_shutdown_t *req, int status) {
  (void)status;
  mem_free(req);
}

void output_send_eof(Stream *s) {
  if (s->backing) s->backing->ending(s->backing);
  if (s->carrier) {
    s->carrier->shut(s);
    mem_free(s->out.ending);
  } else if (uv_shutdown(s->out.ending, &s->uv.stream, on_shutdown))
    mem_free(s->out.ending);
  s->out.ending = NULL;
}

void asy_output_land(lua_State *L, Loop *loop, Stream *s) {
  Flight *flight = s->out.flight;
  if (!flight || !flight->landed) return;
  s->out.flight = NULL;
  limit_left(s);
  out_clear(L, loop, &flight->out);
  mem_free(flight);
  if (s->out.error) write_failed(L, loop, s, s->out.error);
}

void asy_output_drop(lua_State *L, Loop *loop, Stream *s) { out_clear(L, loop, &s->out.waiting); }

void output_free(Stream *s) {
  out_free(&s->out.waiting);
  mem_free(s->out.ending);
  if (!s->out.flight) return;
  out_free(&s->out.flight->out);
  mem_free(s->out.flight);
}
