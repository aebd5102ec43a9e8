/*
** stream.c - the life of a connection: made, opened, closed, freed.
**
** States: made (libuv knows the handle) → open (reads) → closing (sends what is left) → closed.
** `closing` is the user's word; handle.closing is libuv's. The block goes when libuv has let go,
** the writer is collected, and no tidy is pending.
*/
#include "net/stream.h"

#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/socket.h>
#if defined(__linux__)
#include <linux/sockios.h>
#endif

#include "net/address.h"
#include "base/alloc.h"
#include "core/callback.h"
#include "core/error.h"
#include "core/report.h"

#define DRAIN_PAUSE 10000000     /* ns between two looks at what the kernel has still to send */
#define DRAIN_LIMIT 30000000000  /* ns without progress after which the peer is given up */

const char stream_writer_kind = 0, stream_reader_kind = 0; /* their addresses count */
static const char report_later_key = 0; /* registry: what reports a collected stream */

static Stream *from_handle(Handle *h) { return asy_container(h, Stream, handle); }

void stream_set_peer(Stream *s, const struct sockaddr *sa) {
  if (sa->sa_family == AF_INET) memcpy(&s->peer, sa, sizeof s->peer.in);
  if (sa->sa_family == AF_INET6) memcpy(&s->peer, sa, sizeof s->peer.in6);
}

void stream_peer(const Stream *s, char *text) {
  struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
  socklen_t n = sizeof sa;
  int fd;
  *text = 0;
  if (s->peer.any.sa_family)
    asy_address_text(&s->peer.any, sizeof s->peer, text);
  else if (s->handle.open && uv_fileno(&s->uv.handle, &fd) == 0 &&
           getpeername(fd, (struct sockaddr *)&sa, &n) == 0)
    asy_address_text((struct sockaddr *)&sa, n, text);
}

size_t stream_pending(const Stream *s) {
  size_t n = s->out.bytes - s->out.sent;
  if (s->flight && !s->flight->landed) n += uv_stream_get_write_queue_size(&s->uv.stream);
  return n;
}

Task *stream_waiting_task(lua_State *L, const Stream *s) {
  Loop *loop = s->handle.loop;
  Task *t = loop ? asy_current_or_null_in(L, loop->rt) : NULL;
  if (ASY_LIKELY(t && t->loop == loop)) return t;
  if (!loop) asy_error(L, ASY_CLOSED, "the stream is closed");
  t = asy_current(L); /* raises, unless it is another loop's */
  if (t->loop != loop) asy_error(L, ASY_ERROR, "the stream belongs to another event loop");
  return t;
}

/* Freeing */

static void destroy(Handle *h) {
  Stream *s = from_handle(h);
  if (list_linked(&s->tidy.link)) return; /* tidy does it, or the loop's close */
  list_remove(&s->send.link);
  list_remove(&s->link); /* of a server that has gone in the same collection */
  stream_free_output(s);
  if (s->file >= 0) close(s->file);
  buffer_free(&s->in);
  asy_free(s->site);
  asy_free(s);
}

static void schedule_tidy(Stream *s) {
  if (!list_linked(&s->tidy.link)) asy_ready(s->handle.loop, &s->tidy);
}

static void on_close(Handle *h) {
  Stream *s = from_handle(h);
  stream_wake_reader(s, 0);
  waitq_wake_all(&s->drainers, 0);
  waitq_wake_all(&s->closers, 0);
  if (s->on_gone) s->on_gone(s);
  if (s->file >= 0) close(s->file);
  s->file = -1;
  if (h->loop->open && (s->flight || s->out.nrefs)) schedule_tidy(s);
}

/* The loop closes: those who wait have been taken out of their lines. */
static void shut(Shutter *shutter) {
  Stream *s = from_handle(asy_container(shutter, Handle, shutter));
  s->reader = NULL;
  s->handler = NULL;
  s->closing = s->eof = true;
  timer_cancel(&s->handle.loop->timers, &s->linger);
  asy_handle_close(&s->handle);
}

/* Closing */

static void close_handle(Stream *s) {
  timer_cancel(&s->handle.loop->timers, &s->linger);
  asy_handle_close(&s->handle);
}

void stream_abort(lua_State *L, Stream *s) {
  if (!s->handle.open) return;
  s->closing = s->eof = s->aborted = true;
  stream_drop_output(L, s->handle.loop, s);
  close_handle(s);
}

/* Bytes that the kernel has of us and the peer's kernel hasn't. */
static int unacknowledged(const Stream *s) {
  int fd, n = 0;
  if (s->uv.handle.type != UV_TCP || uv_fileno(&s->uv.handle, &fd)) return 0;
#if defined(SIOCOUTQ)
  if (ioctl(fd, SIOCOUTQ, &n)) return 0;
#elif defined(SO_NWRITE)
  socklen_t len = sizeof n;
  if (getsockopt(fd, SOL_SOCKET, SO_NWRITE, &n, &len)) return 0;
#endif
  return n;
}

static void on_drain(Timer *timer) { stream_end(asy_container(timer, Stream, linger)); }

/* A peer that says more than is read makes the kernel reset the connection when it is closed, and
** forget what it has still to send. So while it has something to send the peer is listened to. */
static bool drain(Stream *s) {
  int left = s->peer_ended || s->read_error || s->write_error ? 0 : unacknowledged(s);
  if (!left) return false;
  uint64_t now = asy_now(s->handle.loop);
  if (!s->draining) {
    int fd;
    s->draining = true;
    s->linger.fire = on_drain;
    s->linger_ns = now + DRAIN_LIMIT;
    buffer_free(&s->in);
    if (uv_fileno(&s->uv.handle, &fd) == 0) shutdown(fd, SHUT_WR);
    stream_start(s);
  } else if ((size_t)left < s->linger_pending)
    s->linger_ns = now + DRAIN_LIMIT;
  s->linger_pending = (size_t)left;
  return now < s->linger_ns && timer_set(&s->handle.loop->timers, &s->linger, now + DRAIN_PAUSE);
}

void stream_end(Stream *s) {
  timer_cancel(&s->handle.loop->timers, &s->linger);
  if (s->handle.open && !drain(s)) close_handle(s);
}

static void give_up(Stream *s) {
  s->aborted = true;
  schedule_tidy(s);
}

/* Without memory for the timer nobody would notice that the peer takes nothing: it is given up at once. */
static void arm_linger(Stream *s) {
  s->linger_pending = stream_pending(s);
  if (!timer_set(&s->handle.loop->timers, &s->linger, asy_now(s->handle.loop) + s->linger_ns)) give_up(s);
}

static void on_linger(Timer *timer) {
  Stream *s = asy_container(timer, Stream, linger);
  if (stream_pending(s) < s->linger_pending)
    arm_linger(s);
  else
    give_up(s);
}

void stream_break(Stream *s, int status) {
  if (!s->read_error) s->read_error = status;
  s->eof = true;
  stream_wake_reader(s, 0);
  give_up(s);
}

static void tidy_run(lua_State *L, Loop *loop, Ready *self) {
  Stream *s = asy_container(self, Stream, tidy);
  stream_land(L, loop, s);
  if (s->aborted || s->handle.closed) {
    stream_drop_output(L, loop, s);
    if (s->handle.open) close_handle(s);
  } else
    stream_flush(L, s);
  if (s->handle.closed && !s->handle.boxed && !list_linked(&s->tidy.link)) asy_handle_free(&s->handle);
}

/* The loop has closed: nothing will be tidied any more. A stream that nobody has but for that is freed. */
static void forget_streams(Loop *loop) {
  ListNode *const lists[] = {&loop->ready, &loop->batch};
  for (int i = 0; i < 2; i++)
    for (ListNode *node = lists[i]->next, *next; node != lists[i]; node = next) {
      Ready *ready = asy_container(node, Ready, link);
      next = node->next;
      if (ready->run != tidy_run) continue;
      Stream *s = asy_container(ready, Stream, tidy);
      list_remove(node);
      if (s->handle.closed && !s->handle.boxed) asy_handle_free(&s->handle);
    }
}

void stream_close(lua_State *L, Stream *s, uint64_t linger_ns) {
  if (!s->handle.open) return;
  if (!s->closing) {
    s->closing = s->eof = true;
    stream_pause_reading(s);
    stream_wake_reader(s, 0);
    stream_flush(L, s);
    if (!s->handle.open) return;
  }
  if (!linger_ns || s->linger.place || s->draining) return;
  s->linger_ns = linger_ns;
  arm_linger(s);
}

/* Making */

static size_t block_size(uv_handle_type type) {
  return offsetof(Stream, uv) + (type == UV_TCP ? sizeof(uv_tcp_t)
                                 : type == UV_TTY ? sizeof(uv_tty_t)
                                                  : sizeof(uv_pipe_t));
}

/* Pushes a writer with a block that libuv doesn't know yet. */
static Stream *new_block(lua_State *L, Loop *loop, uv_handle_type type, size_t limit) {
  WriterBox *box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = (WriterBox){&stream_writer_kind, NULL};
  asy_pushmeta(L, loop->rt, ASY_WRITER);
  lua_setmetatable(L, -2);
  Stream *s = box->stream = asy_calloc(1, block_size(type));
  if (!s) luaL_error(L, "not enough memory");
  asy_handle_init(&s->handle, loop, &s->uv.handle, destroy, shut);
  s->handle.box = (void **)&box->stream;
  s->handle.on_close = on_close;
  s->send.run = stream_send_run;
  s->tidy.run = tidy_run;
  s->linger.fire = on_linger;
  s->limit = limit;
  s->high = STREAM_LIMIT;
  s->low = STREAM_LIMIT / 4;
  s->read_size = BUFFER_BLOCK;
  s->file = -1;
  s->want_byte = -1;
  list_init(&s->send.link);
  list_init(&s->tidy.link);
  list_init(&s->link);
  waitq_init(&s->drainers);
  waitq_init(&s->closers);
  s->site = asy_debug_site(L, loop); /* may raise: last */
  return s;
}

static Stream *opened(lua_State *L, Stream *s, int status, const char *what) {
  if (status) asy_oserror(L, status, what, NULL);
  asy_handle_opened(&s->handle);
  return s;
}

Stream *stream_new(lua_State *L, Loop *loop, uv_handle_type type, size_t limit) {
  Stream *s = new_block(L, loop, type, limit);
  return opened(L, s, type == UV_TCP ? uv_tcp_init(&loop->uv, &s->uv.tcp)
                                     : uv_pipe_init(&loop->uv, &s->uv.pipe, 0), "socket");
}

Stream *stream_new_tty(lua_State *L, Loop *loop, size_t limit) { return new_block(L, loop, UV_TTY, limit); }

int stream_open_tty(Stream *s, int fd) {
  int used = -1, status = uv_tty_init(&s->handle.loop->uv, &s->uv.tty, fd, 0);
  if (!status) {
    asy_handle_opened(&s->handle);
    uv_fileno(&s->uv.handle, &used);
  }
  if (used != fd) close(fd); /* libuv has opened the terminal once more */
  return status;
}

void stream_push_reader(lua_State *L, int writer) {
  writer = lua_absindex(L, writer);
  ReaderBox *box = lua_newuserdatauv(L, sizeof *box, 1);
  *box = (ReaderBox){&stream_reader_kind, lua_touserdata(L, writer)};
  lua_pushvalue(L, writer);
  lua_setiuservalue(L, -2, 1);
  asy_pushmeta(L, box->writer->stream->handle.loop->rt, ASY_READER);
  lua_setmetatable(L, -2);
}

void stream_start(Stream *s) {
  int status = uv_read_start(&s->uv.stream, stream_on_alloc, stream_on_read);
  s->reading = status == 0;
  if (status && !s->read_error) s->read_error = status;
}

/* Never closed, in debug mode */

void stream_forget_site(Stream *s) {
  asy_free(s->site);
  s->site = NULL;
}

/* Reports that text, with where the stream was opened. */
static void report_unclosed(lua_State *L, Loop *loop, const char *text, const char *site) {
  asy_debug_join(L, NULL, "opened at", site);
  asy_report(L, loop, (Report){.message = text, .traceback = lua_tostring(L, -1)});
  lua_pop(L, 1);
}

/* args: text, site; called by the loop */
static int report_later(lua_State *L) {
  Loop *loop = ASY_RUNTIME(L)->running;
  if (loop) report_unclosed(L, loop, lua_tostring(L, 1), lua_tostring(L, 2));
  return 0;
}

/* From a finaliser: the report waits for a turn, when there will be one. stack: ..., text */
static void report_collected(lua_State *L, Loop *loop, const char *site) {
  asy_loop_push(L, loop);
  bool dying = lua_isnil(L, -1);
  lua_pop(L, 1);
  if (dying) {
    report_unclosed(L, loop, lua_tostring(L, -1), site);
    return;
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &report_later_key);
  lua_pushvalue(L, -2);
  lua_pushstring(L, site);
  Callback *cb = asy_callback_new(L, loop, 2);
  asy_callback_hold(L, loop, cb, -1);
  asy_callback_schedule(loop, cb);
  lua_pop(L, 1);
}

typedef struct Leaks {
  lua_State *L;
  Loop *loop;
} Leaks;

static void report_open(uv_handle_t *h, void *arg) {
  Leaks *leaks = arg;
  Shutter *shutter = h->data;
  char peer[ASY_ADDRESS_TEXT];
  if (!shutter || shutter->shut != shut || uv_is_closing(h)) return;
  Stream *s = from_handle(asy_container(shutter, Handle, shutter));
  if (!s->site || s->closing) return;
  stream_peer(s, peer);
  lua_pushfstring(leaks->L, "a stream was not closed%s%s", *peer ? ", peer " : "", peer);
  report_unclosed(leaks->L, leaks->loop, lua_tostring(leaks->L, -1), s->site);
  lua_pop(leaks->L, 1);
  stream_forget_site(s);
}

/* When the loop closes: those that are still open. */
static void report_streams(lua_State *L, Loop *loop) {
  Leaks leaks = {L, loop};
  if (loop->debug) uv_walk(&loop->uv, report_open, &leaks);
}

/* stack: writer. Its finaliser: a stream that nobody can use any more is closed. */
static int writer__gc(lua_State *L) {
  WriterBox *box = stream_test(L, 1, &stream_writer_kind);
  Stream *s = box ? box->stream : NULL;
  if (!s) return 0;
  box->stream = NULL;
  if (s->reader) { /* only where a stranger closed the task's coroutine */
    s->reader->on = NULL;
    s->reader = NULL;
  }
  bool forgotten = s->handle.open && !s->closing;
  char peer[ASY_ADDRESS_TEXT], site[1000] = "";
  Loop *loop = s->handle.loop;
  if (forgotten) {
    stream_peer(s, peer);
    if (s->site) snprintf(site, sizeof site, "%s", s->site);
    stream_abort(L, s);
  }
  asy_handle_unbox(&s->handle);
  if (!forgotten) return 0;
  lua_pushfstring(L, "asyncio: a stream was not closed before it was collected%s%s", *peer ? ", peer " : "",
                  peer); /* may raise, and so may what follows: last */
  lua_warning(L, lua_tostring(L, -1), 0);
  if (*site) report_collected(L, loop, site);
  return 0;
}

static void count_unsent(uv_handle_t *h, void *arg) {
  Shutter *shutter = h->data;
  if (!shutter || shutter->shut != shut || uv_is_closing(h)) return;
  Stream *s = from_handle(asy_container(shutter, Handle, shutter));
  if (!s->write_error && stream_pending(s)) ++*(int *)arg;
}

/* How many streams have output that the kernel hasn't taken yet. */
static int loop_unsent(lua_State *L) {
  Loop *loop = asy_check(L, ASY_RUNTIME(L), 1, ASY_LOOP, "asyncio.Loop");
  int n = 0;
  if (loop->open) uv_walk(&loop->uv, count_unsent, &n);
  lua_pushinteger(L, n);
  return 1;
}

static const luaL_Reg loop_methods[] = {{"_unsent", loop_unsent}, {NULL, NULL}};
static const luaL_Reg writer_metamethods[] = {{"__gc", writer__gc}, {NULL, NULL}};

void asy_open_stream(lua_State *L) {
  const luaL_Reg later[] = {{"report", report_later}, {NULL, NULL}};
  static const LoopHooks hooks = {.report = report_streams, .forget = forget_streams};
  asy_on_loop(asy_runtime(L), &hooks);
  lua_newtable(L);
  asy_setfuncs(L, later);
  lua_getfield(L, -1, "report");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &report_later_key);
  lua_pop(L, 1);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", loop_methods, NULL);
  asy_newclass(L, ASY_WRITER, "asyncio.StreamWriter", NULL, writer_metamethods);
}
