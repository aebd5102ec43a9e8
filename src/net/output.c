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

#include <sys/socket.h>

#include "base/alloc.h"
#include "core/process.h"
#include "net/filtered.h"
#include "net/limit.h"
#include "net/out.h"

#if !defined(MSG_NOSIGNAL)
#define MSG_NOSIGNAL 0
#endif

#define MAX_PIECES 64       /* buffers of one system call */

/* Writing */

bool output_take(Stream *s, Buffer *from, size_t n) { return out_take(s->handle.loop, &s->out.waiting, from, n); }

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
  asy_output_drop(L, loop, s);
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
static int take_off(lua_State *L, Stream *s, Out *out) {
  if (s->carrier) { /* it says when */
    asy_out_trim(L, s->handle.loop, out);
    return 0;
  }
  unsigned max = out_most_pieces(out);
  uv_buf_t *bufs = mem_alloc(max * sizeof *bufs);
  Flight *flight = bufs ? mem_alloc(sizeof *flight) : NULL;
  int status = UV_ENOMEM;
  if (flight) {
    flight->stream = s;
    flight->out = *out;
    flight->landed = false;
    volatile sig_atomic_t *writing = process_writing();
    *writing = 1;
    status = uv_write(&flight->req, &s->uv.stream, bufs, out_pieces(out, bufs, max), on_write);
    *writing = 0;
  }
  mem_free(bufs); /* libuv has its own copy of the array */
  if (status) {
    mem_free(flight);
    write_failed(L, s->handle.loop, s, status);
    return status == UV_ENOMEM ? status : 0;
  }
  s->handle.loop->counts.bytes_out += out->bytes - out->sent;
  s->out.flight = flight;
  *out = (Out){.refs = NULL};
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

/* A TCP socket's one piece needs no libuv, unless that has something to send first: `send` takes a shorter way through
** the kernel than `write`. */
static bool can_send(const Stream *s, unsigned n, int *fd) {
  return n == 1 && s->uv.handle.type == UV_TCP && !uv_stream_get_write_queue_size(&s->uv.stream) &&
         !uv_fileno(&s->uv.handle, fd);
}

static int send_piece(int fd, const uv_buf_t *buf) {
  ssize_t sent;
  do sent = send(fd, buf->base, buf->len, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) return errno == ENOBUFS ? UV_EAGAIN : uv_translate_sys_error(errno);
  return (int)sent;
}

static int write_handle(Stream *s, const uv_buf_t *bufs, unsigned n) {
  int fd;
  volatile sig_atomic_t *writing = process_writing();
  s->handle.loop->moved++;
  *writing = 1;
  int sent = can_send(s, n, &fd) ? send_piece(fd, bufs) : uv_try_write(&s->uv.stream, bufs, n);
  *writing = 0;
  return sent;
}

static int write_some(Stream *s, const uv_buf_t *bufs, unsigned n) {
  int sent = s->out.file >= 0 ? write_file(s->out.file, bufs)
             : s->carrier     ? s->carrier->send(s, bufs, n)
                              : write_handle(s, bufs, n);
  if (sent > 0) s->handle.loop->counts.bytes_out += (size_t)sent;
  return sent;
}

/* Sends what is collected in `out`. */
static int send_out(lua_State *L, Stream *s, Out *out) {
  uv_buf_t bufs[MAX_PIECES];
  while (out->sent < out->bytes) {
    unsigned n = out_pieces(out, bufs, MAX_PIECES);
    size_t offered = 0;
    for (unsigned i = 0; i < n; i++) offered += bufs[i].len;
    if (!n) break;
    int sent = write_some(s, bufs, n);
    if (sent < 0 && sent != UV_EAGAIN) {
      write_failed(L, s->handle.loop, s, sent);
      return 0;
    }
    if (sent > 0) out->sent += (size_t)sent;
    if (sent > 0 && s->carrier) limit_left(s);
    bool more = s->carrier ? sent > 0 : (size_t)sent == offered; /* may go at once */
    if (s->out.file < 0 && (sent < 0 || !more)) return take_off(L, s, out);
  }
  asy_out_clear(L, s->handle.loop, out);
  return 0;
}

/* A record that is all there is to be sent needs no place of its own. C only. */
static size_t send_straight(Stream *s, const char *bytes, size_t n) {
  uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)n);
  int sent = write_some(s, &buf, 1);
  if (sent < 0 && sent != UV_EAGAIN && !s->out.error) s->out.error = sent;
  return sent < 0 ? 0 : (size_t)sent;
}

#define MOST_GATHERED ((size_t)16384) /* sealed bytes that others are added to before they leave */

/* Seals and sends in turn, so that little lies here sealed. While hands are shaken only what the filter has put. */
int asy_output_send_sealed(lua_State *L, Stream *s) {
  Filtered *f = s->filtered;
  Out *out = &s->out.waiting;
  for (;;) {
    if (filtered_pending(f) < MOST_GATHERED && !f->shaking && out->bytes) {
      int status = filtered_seal(f, s->carrier ? NULL : send_straight);
      if (out->sent == out->bytes) asy_out_clear(L, s->handle.loop, out);
      if (status == UV_ENOMEM) return status;
      if (status || s->out.error) write_failed(L, s->handle.loop, s, status ? status : s->out.error);
    }
    if (!filtered_pending(f) || s->out.error) return 0;
    int status = send_out(L, s, &f->sealed);
    if (status || s->out.flight || filtered_pending(f)) return status;
  }
}

int asy_output_send(lua_State *L, Stream *s) { return send_out(L, s, &s->out.waiting); }

void output_send_last(Stream *s) {
  uv_buf_t bufs[4];
  bool open = s->handle.open && !s->handle.loop->copied && !stream_aborted(s) && !s->out.lost;
  if (!open || s->carrier || output_error(s) || s->out.flight || output_pending(s)) return;
  if (!filtered_finish(s->filtered)) return;
  write_some(s, bufs, out_pieces(&s->filtered->sealed, bufs, sizeof bufs / sizeof *bufs));
  out_free(&s->filtered->sealed);
}

static void on_shutdown(uv_shutdown_t *req, int status) {
  (void)status;
  mem_free(req);
}

void output_send_eof(Stream *s) {
  bool sealed = s->filtered != NULL; /* then its end has been put, and reading goes on */
  if (s->backing) s->backing->ending(s->backing);
  if (s->carrier && !sealed) s->carrier->shut(s);
  if (s->carrier || sealed || uv_shutdown(s->out.ending, &s->uv.stream, on_shutdown)) mem_free(s->out.ending);
  s->out.ending = NULL;
}

void asy_output_land(lua_State *L, Loop *loop, Stream *s) {
  Flight *flight = s->out.flight;
  if (!flight || !flight->landed) return;
  s->out.flight = NULL;
  limit_left(s);
  asy_out_clear(L, loop, &flight->out);
  mem_free(flight);
  if (s->out.error) write_failed(L, loop, s, s->out.error);
}

void asy_output_drop(lua_State *L, Loop *loop, Stream *s) {
  asy_out_clear(L, loop, &s->out.waiting);
  if (s->filtered) asy_out_clear(L, loop, &s->filtered->sealed);
}

void output_free(Stream *s) {
  out_free(&s->out.waiting);
  mem_free(s->out.ending);
  if (!s->out.flight) return;
  out_free(&s->out.flight->out);
  mem_free(s->out.flight);
}
