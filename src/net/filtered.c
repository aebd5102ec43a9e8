/*
** filtered.c - a stream's filter: bytes that go through it, its handshake, its errors.
*/
#include "net/filtered.h"

#include "base/alloc.h"
#include "core/error.h"
#include "core/report.h"
#include "core/trace.h"
#include "net/out.h"
#include "net/peer.h"

#define SEAL_MOST ((size_t)65536) /* plain bytes sealed before they are sent: the cache has them still */
#define RECORD ((size_t)16384)    /* plain bytes that a filter puts at once, as TLS does */

/* What it has put */

static bool put(void *to, const char *bytes, size_t n) {
  Filtered *f = to;
  Loop *loop = f->stream->handle.loop;
  size_t sent = f->straight && !filtered_pending(f) ? f->straight(f->stream, bytes, n) : 0, left = n - sent;
  if (!left) return true;
  if (!loop) return false;
  if (!f->sealed.small.data && !buffer_take_block(&f->sealed.small, &loop->blocks, buffer_block_for(left))) return false;
  if (!buffer_append(&f->sealed.small, bytes + sent, left)) return false;
  f->sealed.bytes += left;
  return true;
}

/* The raw side for a step; what it leaves is what hasn't been taken. */
static FilterIo begin(Filtered *f) {
  return (FilterIo){.bytes = buffer_bytes(&f->raw), .n = buffer_length(&f->raw), .ended = f->raw_end == UV_EOF,
                    .put = put, .to = f};
}

static void end(Filtered *f, const FilterIo *io) {
  buffer_consume(&f->raw, buffer_length(&f->raw) - io->n);
  if (!buffer_length(&f->raw) && f->raw.data) buffer_give_back(&f->raw, &f->stream->handle.loop->blocks);
  if (filtered_pending(f)) stream_tidy_later(f->stream);
}

/* The status of a failure that can't be mended. */
static int give_up(Filtered *f) {
  FilterFailure failure = {.fault = FILTER_NO_MEMORY};
  f->failed = true;
  stream_tidy_later(f->stream); /* what was to be sealed is lost: who waits for that is to know */
  f->filter->ops->failure(f->filter, &failure);
  return failure.fault == FILTER_NO_MEMORY ? UV_ENOMEM : UV_EPROTO;
}

/* Shaking hands */

static void shake_is_over(Filtered *f) {
  f->shaking = f->asks = false;
  timer_cancel(&f->stream->handle.loop->timers, &f->timer);
  if (f->over) f->over(f);
}

/* A step of the handshake: a status where that ends all. */
static int shake(Filtered *f) {
  if (f->asks) return 0;
  FilterIo io = begin(f);
  FilterStep step = f->filter->ops->shake(f->filter, &io);
  end(f, &io);
  int status = step == FILTER_FAILED ? give_up(f) : step == FILTER_MORE && f->raw_end ? f->raw_end : 0;
  if (step == FILTER_ASK) {
    f->asks = true;
    stream_tidy_later(f->stream);
  }
  if (status) f->failed = true;
  if (status || step == FILTER_DONE) shake_is_over(f);
  return status;
}

void filtered_end_shake(Filtered *f) {
  if (!f->shaking) return;
  f->failed = true;
  shake_is_over(f);
}

/* What was asked has failed. A refusal that is meant to be one only the connection hears of. stack: ..., error → ... */
static void report_answer(lua_State *L, Loop *loop) {
  if (asy_isinstance(L, -1, ASY_KEYBOARD_INTERRUPT)) {
    asy_loop_fatal(L, loop);
    return;
  }
  if (!asy_isinstance(L, -1, ASY_SSL)) {
    asy_trace_pop(L);
    asy_report(L, loop, (Report){.message = "a context's 'sni' failed, and its client was refused", .exception = -2,
                                 .traceback = lua_tostring(L, -1)});
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

void asy_filtered_ask(lua_State *L, Filtered *f) {
  Loop *loop = f->stream->handle.loop;
  if (!f->asks) return;
  lua_pushcfunction(L, asy_trace_handler);
  loop->L = L;
  int failed = f->filter->ops->ask(L, f->filter, lua_gettop(L));
  loop->L = NULL;
  if (loop->rt->armed) interrupt_disarm(loop->rt);
  f->asks = false;
  if (failed) report_answer(L, loop);
  if (loop->rt->noted) asy_trace_forget(L, loop->rt);
  lua_pop(L, 1);
}

/* Coming */

/* A step of the input; *got: what it has added. */
static FilterStep pull(Filtered *f, Buffer *to, size_t room, size_t *got) {
  size_t likely = buffer_length(&f->raw) + f->filter->ops->held(f->filter), n = likely < room ? likely : room;
  if (!to->data) buffer_take_block(to, &f->stream->handle.loop->blocks, buffer_block_for(n));
  char *at = buffer_reserve(to, n ? n : 1);
  *got = 0;
  if (!at) return FILTER_ASK; /* no memory: what is there stays */
  FilterIo io = begin(f);
  FilterStep step = f->filter->ops->pull(f->filter, &io, at, n ? n : 1, got);
  end(f, &io);
  buffer_added(to, *got);
  return step;
}

Pulled filtered_pull(Filtered *f, Buffer *to, size_t room) {
  Pulled p = {0, 0};
  size_t got;
  if (f->shaking && ((p.end = shake(f)) || f->shaking)) return p;
  if (f->failed || !f->stream->handle.open) return p;
  while (p.fresh < room && (f->raw_end || buffer_length(&f->raw) || f->filter->ops->held(f->filter))) {
    FilterStep step = pull(f, to, room - p.fresh, &got);
    p.fresh += got;
    if (step == FILTER_DONE) continue;
    if (step == FILTER_ASK)
      p.end = UV_ENOMEM;
    else if (step == FILTER_END)
      p.end = UV_EOF;
    else if (step == FILTER_FAILED)
      p.end = give_up(f);
    else
      p.end = f->raw_end;
    break;
  }
  return p;
}

/* Going */

int filtered_seal(Filtered *f, FilteredSend *send) {
  Out *out = &f->stream->out.waiting;
  uv_buf_t pieces[16];
  size_t most = SEAL_MOST;
  if (f->failed) return UV_EPROTO;
  while (out->sent < out->bytes && most) {
    unsigned n = out_pieces(out, pieces, sizeof pieces / sizeof *pieces);
    f->straight = n == 1 && pieces[0].len <= RECORD ? send : NULL; /* more leaves together */
    for (unsigned i = 0; i < n && most; i++) {
      FilterIo io = begin(f);
      size_t part = pieces[i].len < most ? pieces[i].len : most;
      FilterStep step = f->filter->ops->push(f->filter, &io, pieces[i].base, part);
      f->straight = NULL;
      end(f, &io);
      if (step == FILTER_FAILED) return give_up(f);
      if (step != FILTER_DONE) return 0;
      out->sent += part;
      most -= part;
    }
  }
  return 0;
}

bool filtered_finish(Filtered *f) {
  if (f->finished || f->failed || f->shaking) return false;
  f->finished = true;
  FilterIo io = begin(f);
  if (f->filter->ops->finish(f->filter, &io) == FILTER_FAILED) give_up(f);
  end(f, &io);
  return filtered_pending(f) > 0;
}

/* Its life */

static void on_late(Timer *timer) {
  Filtered *f = asy_container(timer, Filtered, timer);
  f->late = true;
  filtered_end_shake(f);
}

Filtered *filtered_attach(Stream *s, Filter *filter) {
  Filtered *f = mem_calloc(1, sizeof *f);
  if (!f) return NULL;
  f->filter = filter;
  f->stream = s;
  f->shaking = true;
  f->timer.fire = on_late;
  list_init(&f->link);
  f->raw = s->in.buffer;
  s->in.buffer = (Buffer){NULL, 0, 0, 0};
  f->sealed = s->out.waiting;
  s->out.waiting = (Out){.refs = NULL};
  if (s->in.eof || s->in.error) f->raw_end = s->in.error ? s->in.error : UV_EOF;
  s->in.eof = s->in.peer_ended = false;
  s->in.error = 0;
  s->in.searched = 0;
  s->filtered = f;
  return f;
}

void filtered_retire(Filtered *f) {
  buffer_free(&f->raw);
  f->filter->ops->retire(f->filter);
}

void filtered_free(Stream *s) {
  Filtered *f = s->filtered;
  if (!f) return;
  s->filtered = NULL;
  list_remove(&f->link);
  buffer_free(&f->raw);
  out_free(&f->sealed);
  f->filter->ops->free(f->filter);
  mem_free(f);
}

/* Its errors */

static ErrorClass class_of(FilterFault fault) {
  return fault == FILTER_UNVERIFIED ? ASY_SSL_CERT_VERIFICATION : fault == FILTER_TRUNCATED ? ASY_SSL_EOF : ASY_SSL;
}

static void set_text(lua_State *L, const char *key, const char *text) {
  if (!text) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, key);
}

void asy_filtered_push_error(lua_State *L, const Filtered *f, const char *what) {
  FilterFailure failure = {.fault = FILTER_NO_MEMORY};
  char name[ASY_ADDRESS_TEXT];
  f->filter->ops->failure(f->filter, &failure);
  if (failure.fault == FILTER_NO_MEMORY) asy_nomemory(L);
  stream_name(f->stream, name);
  asy_error_push(L, class_of(failure.fault), "%s: %s%s%s", failure.text, what, *name ? " " : "", name);
  set_text(L, "reason", failure.reason);
  set_text(L, "code", failure.reason);
  set_text(L, "library", failure.library);
  set_text(L, "syscall", what);
  if (failure.fault != FILTER_UNVERIFIED) return;
  lua_pushinteger(L, failure.verify_code);
  lua_setfield(L, -2, "verify_code");
  set_text(L, "verify_message", failure.verify_message);
}

int asy_filtered_raise(lua_State *L, const Stream *s, const char *what) {
  asy_filtered_push_error(L, s->filtered, what);
  asy_peer_made(L, s);
  lua_error(L);
#if defined(__GNUC__)
  __builtin_unreachable();
#endif
}

bool filtered_truncated(const Stream *s) {
  FilterFailure failure = {.fault = FILTER_NO_MEMORY};
  if (!s->filtered || !s->filtered->failed || s->in.error != UV_EPROTO) return false;
  s->filtered->filter->ops->failure(s->filtered->filter, &failure);
  return failure.fault == FILTER_TRUNCATED;
}
