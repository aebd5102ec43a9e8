/*
** limit.c - read_timeout and write_timeout.
**
** What is due is looked at in the kernel first: while a step holds the loop bytes come, and libuv doesn't know yet.
** How far output is, libuv only says when asked: so while somebody waits for it there are some looks in each period,
** and what has moved between two of them counts as moved at the second.
*/
#include "net/limit.h"

#include <poll.h>
#include <stdio.h>

#include "base/alloc.h"
#include "core/error.h"
#include "net/peer.h"
#include "net/socket.h"

#define LONGEST (1000000000 * NS_PER_S) /* more is none */
#define LOOKS 16                        /* at output, in each period */
#define LEAST_PAUSE (NS_PER_S / 50)     /* between two of them */

/* Options */

static uint64_t limit_of(lua_Number ns) { return ns < (lua_Number)LONGEST ? (ns > 0 && ns < 1 ? 1 : (uint64_t)ns) : 0; }

static uint64_t opt_ns(lua_State *L, int idx, const char *key) {
  return limit_of(asy_opt_seconds(L, idx, key, 0) * NS_PER_S);
}

StreamOptions asy_stream_options(lua_State *L, int idx) {
  return (StreamOptions){.limit = asy_opt_bytes(L, idx, "limit", STREAM_LIMIT),
                         .read_ns = opt_ns(L, idx, "read_timeout"),
                         .write_ns = opt_ns(L, idx, "write_timeout")};
}

/* Looking */

static uint64_t now_of(const Limits *l) { return loop_now(l->stream->handle.loop); }

static bool has_descriptor(const Stream *s, int *fd) {
  return s->handle.open && !s->carrier && uv_fileno(&s->uv.handle, fd) == 0;
}

/* Whether the kernel has, or takes, bytes; libuv will hear of it at the next poll. */
static bool is_ready(const Stream *s, short events) {
  int fd;
  struct pollfd p = {.events = events};
  if (!has_descriptor(s, &fd)) return false;
  p.fd = fd;
  return poll(&p, 1, 0) > 0;
}

/* When the reader's time is up, or TIMER_NEVER; wakes it if that is now. */
static uint64_t look_at_reader(Limits *l, uint64_t now) {
  Stream *s = l->stream;
  if (!l->read_ns || !s->in.reader || s->in.reader->phase != TASK_PARKED) return TIMER_NEVER;
  if (l->read_since == TIMER_NEVER) return TIMER_NEVER;
  if (now >= l->read_since + l->read_ns) {
    if (!is_ready(s, POLLIN)) {
      l->expired = true;
      task_wake(s->in.reader, 0);
      return TIMER_NEVER;
    }
    l->read_since = now;
  }
  return l->read_since + l->read_ns;
}

/* What is with libuv, and with our kernel: to a slow peer that sends a lot before it takes more. Where a thread writes,
** less what that has written: it is another number when some has gone. */
static size_t output_left(const Stream *s) {
  int fd;
  size_t n = s->out.flight && !s->out.flight->landed ? uv_stream_get_write_queue_size(&s->uv.stream) : 0;
  if (s->backing) n -= s->backing->written(s->backing);
  return has_descriptor(s, &fd) ? n + (size_t)socket_unsent(fd) : n;
}

static bool has_moved(const Limits *l) { return output_left(l->stream) != l->left; }

static bool nobody_waits(const Stream *s) { return waitq_empty(&s->out.drainers) && waitq_empty(&s->life.closers); }

static uint64_t pause_of(const Limits *l) {
  uint64_t ns = l->write_ns / LOOKS;
  return ns > LEAST_PAUSE ? ns : LEAST_PAUSE;
}

static uint64_t write_deadline(const Limits *l, uint64_t since) {
  return (since > l->wrote_at ? since : l->wrote_at) + l->write_ns;
}

/* When to look at the output again, or TIMER_NEVER; wakes those who wait for it if the first one's time is up. */
static uint64_t look_at_output(Limits *l, uint64_t now) {
  Stream *s = l->stream;
  if (!l->write_ns || l->write_since == TIMER_NEVER || nobody_waits(s)) return TIMER_NEVER;
  if (has_moved(l) || (now >= write_deadline(l, l->write_since) && s->out.flight && is_ready(s, POLLOUT)))
    l->wrote_at = now;
  l->left = output_left(s);
  uint64_t deadline = write_deadline(l, l->write_since), next = now + pause_of(l);
  if (now < deadline) return next < deadline ? next : deadline;
  l->write_since = TIMER_NEVER; /* those who go on waiting say */
  waitq_wake_all(&s->out.drainers, LIMIT_LOOK);
  waitq_wake_all(&s->life.closers, LIMIT_LOOK);
  return TIMER_NEVER;
}

static bool look_by(Limits *l, uint64_t at) {
  TimerHeap *timers = &l->stream->handle.loop->timers;
  if (l->timer.place && l->at <= at) return true;
  timer_cancel(timers, &l->timer);
  l->at = at;
  return timer_set(timers, &l->timer, at);
}

static void on_look(Timer *timer) {
  Limits *l = asy_container(timer, Limits, timer);
  uint64_t now = now_of(l), read = look_at_reader(l, now), write = look_at_output(l, now);
  uint64_t next = read < write ? read : write;
  if (next != TIMER_NEVER) look_by(l, next); /* there is room in the heap: this has just left it */
}

/* Making */

static Limits *make(Stream *s) {
  Limits *l = s->limits = mem_calloc(1, sizeof *l);
  if (!l) return NULL;
  l->stream = s;
  l->timer.fire = on_look;
  l->read_since = l->write_since = TIMER_NEVER;
  return l;
}

bool limits_set(Stream *s, const StreamOptions *options) {
  if (!options->read_ns && !options->write_ns) return true;
  Limits *l = make(s);
  if (!l) return false;
  l->read_ns = options->read_ns;
  l->write_ns = options->write_ns;
  return true;
}

bool limits_read_within(Stream *s, lua_Number ns) {
  if (!s->limits && (ns <= 0 || !make(s))) return ns <= 0;
  s->limits->read_ns = ns > 0 ? limit_of(ns) : 0;
  return true;
}

void limits_stop(Stream *s) {
  if (s->limits && s->handle.loop) timer_cancel(&s->handle.loop->timers, &s->limits->timer);
}

void limits_free(Stream *s) {
  limits_stop(s);
  mem_free(s->limits);
  s->limits = NULL;
}

/* Waiting */

static int time_is_up(lua_State *L, const Stream *s, const char *phase, const char *what, uint64_t ns) {
  char name[ASY_ADDRESS_TEXT] = "", seconds[32];
  peer_words(s, name);
  snprintf(seconds, sizeof seconds, "%.6g", ns_seconds(ns));
  asy_error_push(L, ASY_TIMEOUT, "%s timed out: %s %s for %s s", phase, what, *name ? name : "its peer", seconds);
  lua_pushstring(L, phase);
  lua_setfield(L, -2, "phase");
  asy_peer_made(L, s);
  return lua_error(L);
}

void asy_limits_read(lua_State *L, Stream *s) {
  Limits *l = s->limits;
  if (!l->read_ns || !s->handle.open) return;
  if (l->expired) {
    l->expired = false;
    time_is_up(L, s, "read", "no byte came from", l->read_ns);
  }
  l->read_since = now_of(l);
  if (!look_by(l, l->read_since + l->read_ns)) asy_nomemory(L);
}

/* stack: what is called; when the call began to wait, if it has before */
void asy_limits_write(lua_State *L, Stream *s) {
  Limits *l = s->limits;
  if (!l->write_ns || !s->handle.open) return; /* closing it takes no time */
  uint64_t now = now_of(l), began = lua_isinteger(L, 2) ? (uint64_t)lua_tointeger(L, 2) : now;
  if (now >= write_deadline(l, began)) time_is_up(L, s, "write", "no byte was taken by", l->write_ns);
  if (nobody_waits(s)) {
    l->write_since = began;
    l->left = output_left(s);
  } else if (began < l->write_since)
    l->write_since = began;
  uint64_t deadline = write_deadline(l, began), next = now + pause_of(l);
  if (!look_by(l, next < deadline ? next : deadline)) asy_nomemory(L);
  lua_settop(L, 1);
  lua_pushinteger(L, (lua_Integer)began);
}

void limits_came(Stream *s) {
  if (s->limits->read_since != TIMER_NEVER) s->limits->read_since = now_of(s->limits);
}

void limits_left(Stream *s) {
  if (s->handle.loop) s->limits->wrote_at = now_of(s->limits); /* else it is closed */
}
