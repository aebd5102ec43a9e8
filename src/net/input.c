/*
** input.c - a stream's bytes on their way in.
**
** What a read offers to the kernel adapts to what comes. A stream without unread data that waits has no
** buffer; one whose reader is content with any byte is not even read before the reader's own step.
*/
#include "net/input.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>

#include "net/eof.h"
#include "net/filtered.h"
#include "net/limit.h"

#define MOST_TAKEN 65536   /* bytes that the kernel holds, of an input that is made to end */
#define MOST_ANSWERS ((size_t)4 * 65536) /* bytes: more than is sealed at once. With more unsent nothing is read */
#define LARGEST_READ 65536 /* what a read offers: from a block on it grows and shrinks by 8 with what comes */

/* Receiving */

/* Where what comes from the kernel is put. */
static Buffer *place_of(Stream *s) { return s->filtered ? &s->filtered->raw : &s->in.buffer; }

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
  Stream *s = asy_container(h, Stream, uv);
  (void)suggested;
  s->handle.loop->moved++;
  if (s->in.direct && s->in.reader) {
    *buf = uv_buf_init(NULL, 0);
    return;
  }
  Buffer *place = place_of(s);
  if (!place->data) buffer_take_block(place, &s->handle.loop->blocks, s->in.read_size);
  char *room = buffer_reserve(place, s->in.read_size);
  size_t n = room ? place->size - place->end : 0, most = LARGEST_READ;
  if (place->size >= BUFFER_LARGE) most *= 4; /* more than a pipe holds: else each read was followed by an empty one */
  *buf = uv_buf_init(room, (unsigned)(n < most ? n : most));
}

static void adapt_read_size(Stream *s, size_t got, size_t offered) {
  if (got == offered) {
    if (s->in.read_size < LARGEST_READ) s->in.read_size *= 8;
  } else if (got < s->in.read_size / 32 && s->in.read_size > BUFFER_BLOCK)
    s->in.read_size /= 8;
  if (s->in.read_size > LARGEST_READ) s->in.read_size = LARGEST_READ;
}

void input_pause(Stream *s) {
  if (s->in.reading && !s->carrier) uv_read_stop(&s->uv.stream);
  s->in.reading = false;
}

/* No more comes: UV_EOF, or an error. */
static void note_end(Stream *s, int status) {
  int error = s->backing ? s->backing->error(s->backing, true) : 0;
  if (error) status = error; /* the pipe from its thread has just ended */
  if (s->filtered) filtered_end_shake(s->filtered); /* there was no memory */
  if (status == UV_EOF)
    s->in.eof = s->in.peer_ended = true;
  else
    s->in.error = status;
  if (s->life.part) stream_tidy_later(s); /* its descriptor is of no more use */
  input_pause(s);
  if (eof_known(s)) eof_tell(s);
}

/* What an end is that libuv tells of: where a reset comes with the last bytes it sees no more than that nothing is
** left to read. (EPIPE: the end came first, and then a reset.) */
static int real_end(const Stream *s) {
  int fd, error = 0;
  socklen_t n = sizeof error;
  if (uv_fileno(&s->uv.handle, &fd) || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n)) return UV_EOF;
  return error && error != EPIPE ? -error : UV_EOF;
}

void input_free_if_empty(Stream *s) {
  if (!s->in.buffer.data || s->in.buffer.start != s->in.buffer.end) return;
  if (s->handle.loop)
    buffer_give_back(&s->in.buffer, &s->handle.loop->blocks);
  else
    buffer_free(&s->in.buffer);
}

static bool satisfied(const Stream *s, const char *fresh, size_t n) {
  return buffer_length(&s->in.buffer) >= s->in.want || (s->in.want_byte >= 0 && memchr(fresh, s->in.want_byte, n));
}

/* Bytes have come, the last n of the buffer. Reads no more where it has enough. */
static void look_at(Stream *s, const char *fresh, size_t n) {
  bool enough = satisfied(s, fresh, n);
  if (enough)
    input_wake(s, 0);
  else
    limit_came(s);
  bool full = s->in.on_demand || buffer_length(&s->in.buffer) > 2 * s->in.limit;
  if (full && (enough || !s->in.reader)) input_pause(s);
}

/* Whether a peer that takes nothing must wait with what it wants to be answered: KeyUpdates, say. */
static bool must_choke(Stream *s) {
  if (s->filtered->raw_end || filtered_pending(s->filtered) <= MOST_ANSWERS) return false;
  s->filtered->choked = true;
  input_pause(s);
  return true;
}

/* Has the filter make of the raw bytes what there is room for. Where there is none reading ends: that a stream reads
** means that its filter holds nothing back. */
static Pulled filter(Stream *s, size_t room) {
  if (must_choke(s)) return (Pulled){0, 0};
  if (!room) input_pause(s);
  Pulled p = filtered_pull(s->filtered, &s->in.buffer, room);
  input_free_if_empty(s);
  if (p.fresh)
    look_at(s, s->in.buffer.data + s->in.buffer.end - p.fresh, p.fresh);
  else
    limit_came(s);
  if (p.end) {
    note_end(s, p.end);
    input_wake(s, 0);
  }
  return p;
}

static void received(Stream *s, const char *fresh, size_t n, size_t offered) {
  s->in.begun = true;
  s->handle.loop->counts.bytes_in += n;
  adapt_read_size(s, n, offered);
  Buffer *place = place_of(s);
  buffer_added(place, n);
  if (place->size >= BUFFER_LARGE) buffer_touch_ahead(place, n);
  if (ASY_LIKELY(!s->filtered))
    look_at(s, fresh, n);
  else
    filter(s, input_room(s));
}

/* The handle gives no more. What a filter holds back then comes before that. */
static void ended(Stream *s, int status) {
  if (s->filtered && !s->filtered->raw_end) {
    s->filtered->raw_end = status;
    filter(s, input_room(s));
  } else if (!s->filtered)
    note_end(s, status);
}

void input_failed(Stream *s, int status) {
  bool none_wanted = status == UV_ENOBUFS && s->in.direct; /* on_alloc offered nothing */
  if (status == UV_EOF) status = real_end(s);
  if (status == UV_ENOBUFS) {
    if (!none_wanted) note_end(s, UV_ENOMEM);
  } else
    ended(s, status);
  input_wake(s, 0);
}

/* One byte above twice the limit: then nothing more is read. */
size_t input_room(const Stream *s) {
  size_t length = buffer_length(&s->in.buffer), full = 2 * s->in.limit + 1;
  if (s->in.reader && s->in.want > full) full = s->in.want;
  return s->in.reading && length < full ? full - length : 0;
}

bool input_put(Stream *s, const char *bytes, size_t n) {
  Buffer *place = place_of(s);
  if (!place->data && !buffer_take_block(place, &s->handle.loop->blocks, BUFFER_BLOCK)) return false;
  if (!buffer_append(place, bytes, n)) return false;
  s->handle.loop->counts.bytes_in += n;
  if (s->filtered)
    filter(s, input_room(s));
  else
    look_at(s, s->in.buffer.data + s->in.buffer.end - n, n);
  return true;
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf) {
  Stream *s = asy_container(h, Stream, uv);
  if (n == 0) return;
  if (n < 0)
    input_failed(s, (int)n);
  else
    received(s, buf->base, (size_t)n, buf->len);
}

void input_read_file(Stream *s) {
  uv_buf_t buf;
  ssize_t n;
  if (!s->in.reading || s->in.file < 0 || !s->handle.open) return;
  on_alloc(&s->uv.handle, 0, &buf);
  do n = buf.base ? read(s->in.file, buf.base, buf.len) : 0;
  while (n < 0 && errno == EINTR);
  s->in.file_at = lseek(s->in.file, 0, SEEK_CUR);
  if (n > 0)
    received(s, buf.base, (size_t)n, buf.len);
  else
    input_failed(s, !buf.base ? UV_ENOBUFS : n == 0 ? UV_EOF : uv_translate_sys_error(errno));
  if (s->in.reading) stream_tidy_later(s);
}

void input_start_with(Stream *s, uv_read_cb callback) {
  if (s->in.file >= 0) {
    s->in.reading = true;
    stream_tidy_later(s);
    return;
  }
  if (s->carrier) {
    s->in.reading = true;
    s->carrier->wanted(s);
    return;
  }
  s->handle.loop->moved++;
  int status = uv_read_start(&s->uv.stream, on_alloc, callback);
  s->in.reading = status == 0;
  if (status && !s->in.error) s->in.error = status;
  if (status) eof_tell(s);
}

void input_start(Stream *s) { input_start_with(s, on_read); }

/* What the filter holds back comes first; then, if there is room still, the handle is read. */
static void resume_filtered(Stream *s) {
  bool reads = s->in.reading;
  s->in.reading = true;
  Pulled p = filter(s, input_room(s));
  if (p.fresh || p.end) {
    s->filtered->resumed = true;
    stream_tidy_later(s);
  }
  if (!s->in.reading || s->filtered->raw_end) return;
  if (s->carrier || !reads) input_start(s);
}

void input_resume(Stream *s) {
  if (s->in.reading && !s->carrier) return; /* then the filter holds nothing back either */
  if (s->in.eof || s->in.error || !s->handle.open) return;
  if (s->filtered)
    resume_filtered(s);
  else if (s->in.reading) /* what was enough for the last reader may not be for the next */
    s->carrier->wanted(s);
  else
    input_start(s);
}

void input_go_on(Stream *s) {
  if (s->handle.open) filter(s, input_room(s));
}

void input_breathe(Stream *s) {
  if (!s->filtered->choked || filtered_pending(s->filtered)) return;
  s->filtered->choked = false;
  if (!stream_closing(s)) input_resume(s);
}

void input_look(Stream *s) {
  s->filtered->resumed = false;
  if (s->in.eof || s->in.error || satisfied(s, buffer_bytes(&s->in.buffer), buffer_length(&s->in.buffer))) input_wake(s, 0);
}

/* Holding */

void input_hold(Stream *s, Task *t) {
  limit_read_not(s);
  input_pause(s);
  s->in.want = SIZE_MAX;
  s->in.want_byte = -1;
  s->in.direct = false;
  s->in.reader = t;
}

void input_let_go(Stream *s) {
  s->in.reader = NULL;
  s->in.direct = false;
  if (s->in.on_demand)
    input_pause(s);
  else if (buffer_length(&s->in.buffer) <= s->in.limit)
    input_resume(s);
}

/* Ending */

/* Takes what the kernel holds; it may tell of the real end. */
static void take_held(Stream *s) {
  int fd;
  if (s->carrier || uv_fileno(&s->uv.handle, &fd)) return;
  Buffer *place = place_of(s);
  for (size_t left = MOST_TAKEN; left;) {
    if (!place->data) buffer_take_block(place, &s->handle.loop->blocks, BUFFER_BLOCK);
    char *room = buffer_reserve(place, BUFFER_BLOCK);
    size_t size = room ? place->size - place->end : 0;
    ssize_t n = room ? recv(fd, room, size < left ? size : left, MSG_DONTWAIT) : -1;
    if (n > 0) {
      buffer_added(place, (size_t)n);
      s->handle.loop->counts.bytes_in += (size_t)n;
      left -= (size_t)n;
    } else if (!room || n == 0 || (errno != EINTR && errno != EAGAIN)) {
      ended(s, !room ? UV_ENOMEM : n == 0 ? real_end(s) : uv_translate_sys_error(errno));
      return;
    } else if (errno == EAGAIN)
      return;
  }
}

void input_end(Stream *s) {
  if (s->in.eof || s->in.error || !s->handle.open) return;
  take_held(s);
  if (s->filtered) filter(s, SIZE_MAX);
  s->in.cut = !s->in.eof && !s->in.error;
  if (!s->in.error || s->in.error == UV_ENOMEM) s->in.eof = true;
  s->in.direct = false;
  input_pause(s);
  input_free_if_empty(s);
  input_wake(s, 0);
  eof_tell(s);
}

/* Taking */

void input_took(Stream *s, size_t n) {
  buffer_consume(&s->in.buffer, n);
  input_free_if_empty(s);
  s->in.searched = 0;
  bool waits = !s->in.reading || s->carrier; /* else it would find that there is nothing to do */
  if (waits && buffer_length(&s->in.buffer) <= s->in.limit && !s->in.on_demand) input_resume(s);
}

int asy_input_take_less(lua_State *L, Stream *s, size_t n, size_t less) {
  size_t length = buffer_length(&s->in.buffer);
  lua_pushlstring(L, buffer_bytes(&s->in.buffer), n - less);
  if (buffer_length(&s->in.buffer) != length) return luaL_error(L, "a finaliser used the stream meanwhile");
  input_took(s, n);
  return 1;
}

void input_fill(Stream *s) {
  int fd;
  ssize_t n;
  s->in.direct = false;
  Buffer *place = place_of(s);
  if (!s->in.reading || place->data || uv_fileno(&s->uv.handle, &fd)) return;
  if (!buffer_take_block(place, &s->handle.loop->blocks, s->in.read_size)) {
    note_end(s, UV_ENOMEM);
    return;
  }
  s->handle.loop->moved++;
  bool tcp = s->uv.handle.type == UV_TCP; /* `recv` takes a shorter way through the kernel than `read` */
  do n = tcp ? recv(fd, place->data, place->size, MSG_DONTWAIT) : read(fd, place->data, place->size);
  while (n < 0 && errno == EINTR);
  if (n > 0) {
    buffer_added(place, (size_t)n);
    s->in.begun = true;
    s->handle.loop->counts.bytes_in += (size_t)n;
    adapt_read_size(s, (size_t)n, place->size);
    if (s->filtered) filter(s, input_room(s));
  } else if (n == 0 || errno != EAGAIN)
    ended(s, n == 0 ? UV_EOF : -errno);
  if (s->filtered && place->data && !buffer_length(place)) buffer_give_back(place, &s->handle.loop->blocks);
  input_free_if_empty(s);
}
