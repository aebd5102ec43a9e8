/*
** life.c - the life of a connection: made, opened, closed, freed.
**
** The state is its user's word; what libuv knows of it says its handle. The block goes when libuv has let go,
** the writer is collected, and no tidy is pending.
*/
#include "net/life.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>

#include "base/alloc.h"
#include "core/error.h"
#include "core/report.h"
#include "net/eof.h"
#include "net/filtered.h"
#include "net/input.h"
#include "net/limit.h"
#include "net/out.h"
#include "net/output.h"
#include "net/peer.h"
#include "net/socket.h"
#include "net/unclosed.h"
#include "open.h"

#define DRAIN_PAUSE (NS_PER_S / 100) /* between two looks at what the kernel has still to send */
#define MOST_UNREAD 65536            /* bytes that came and nobody has read: so many are taken before a close */
#define DRAIN_LIMIT (30 * NS_PER_S)  /* without progress after which the peer is given up */

const char stream_writer_kind = 0, stream_reader_kind = 0; /* their addresses count */

static Stream *from_handle(Handle *h) { return asy_container(h, Stream, handle); }

/* Freeing */

static void destroy(Handle *h) {
  Stream *s = from_handle(h);
  if (list_linked(&s->life.tidy.link)) return; /* tidy does it, or the loop's close */
  list_remove(&s->out.send.link);
  list_remove(&s->client.link); /* of a server that has gone in the same collection */
  if (s->client.handler) s->client.handler->owner = NULL;
  output_free(s);
  limits_free(s);
  filtered_free(s);
  if (s->in.file >= 0) close(s->in.file);
  if (s->out.file >= 0) close(s->out.file);
  if (s->backing) s->backing->gone(s->backing);
  mem_free(s->backing);
  buffer_free(&s->in.buffer);
  mem_free(s->life.site);
  mem_free(s);
}

static void on_close(Handle *h) {
  Stream *s = from_handle(h);
  h->loop->counts.streams--;
  output_look(s);
  input_wake(s, 0);
  eof_tell(s);
  waitq_wake_all(&s->out.drainers, 0);
  waitq_wake_all(&s->life.closers, 0);
  if (s->life.on_gone) s->life.on_gone(s);
  if (s->backing) s->backing->gone(s->backing);
  if (s->in.file >= 0) close(s->in.file);
  if (s->out.file >= 0) close(s->out.file);
  s->in.file = s->out.file = -1;
  bool held = s->out.waiting.nrefs || (s->filtered && s->filtered->sealed.nrefs);
  if (s->filtered) filtered_retire(s->filtered);
  if (h->loop->open && (s->out.flight || held)) stream_tidy_later(s);
}

static bool is_standard(const Stream *s) { return s->backing && s->backing->standard; }

void stream_lose_pending(Stream *s) {
  if (!s->out.error && (output_pending(s) || (!is_standard(s) && output_is_on_its_way(s)))) s->out.lost = true;
}

/* The kernel forgets what it has of us, and resets the connection: what came must not pass for all of it.
** A unix socket knows no such end. */
static void end_by_reset(const Stream *s, int fd) {
  struct linger now = {.l_onoff = 1, .l_linger = 0};
  if (s->uv.handle.type == UV_TCP || s->backing) setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

/* What the kernel holds unread would make it reset the connection, and the peer lose what was just sent. */
static void take_unread(int fd) {
  char bytes[16384];
  for (int i = 0; i < MOST_UNREAD / (int)sizeof bytes; i++)
    if (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) <= 0) return;
}

/* Whether its kernel has no more to say: a filter's word for the end is not that. */
static bool peer_is_gone(const Stream *s) {
  return s->filtered ? s->filtered->raw_end != 0 : s->in.peer_ended || s->in.error;
}

static void close_handle(Stream *s) {
  int fd;
  timer_cancel(&s->handle.loop->timers, &s->life.timer);
  limits_stop(s);
  eof_unwatch(s);
  if (s->filtered) filtered_end_shake(s->filtered);
  if (s->handle.open && s->carrier) {
    s->carrier->closed(s);
    stream_tidy_later(s);
  } else if (s->handle.open && !s->out.one_way && !s->handle.loop->copied && uv_fileno(&s->uv.handle, &fd) == 0) {
    if (s->out.lost)
      end_by_reset(s, s->backing ? s->backing->fd : fd);
    else if (!stream_aborted(s) && !peer_is_gone(s)) {
      if (s->in.cut) shutdown(fd, SHUT_WR); /* a peer that speaks at this moment is to see the end before the reset */
      take_unread(fd);
    }
  }
  handle_close(&s->handle);
}

/* Its user's word: it is no more to be used. */
static void mark_closing(Stream *s) {
  s->in.eof = true;
  if (!stream_closing(s)) s->life.state = s->life.state == LIFE_BROKEN ? LIFE_ABORTED : LIFE_CLOSING;
}

/* The loop closes: those who wait have been taken out of their lines. */
static void shut(Shutter *shutter) {
  Stream *s = from_handle(asy_container(shutter, Handle, shutter));
  bool ended = s->in.eof || s->in.error;
  if (s->carrier) s->uv.carried.left = !stream_closing(s) && !s->out.eof_wanted;
  s->in.reader = NULL;
  if (s->filtered) output_send_last(s);
  stream_lose_pending(s);
  mark_closing(s);
  close_handle(s);
  if (ended) return;
  s->in.left = true;
  s->in.eof = false;
  s->in.error = UV_ECANCELED;
}

/* What is for another stream of this loop nobody will read any more. */
static bool is_unsent(const Stream *s) { return !s->carrier && !s->out.error && output_pending(s); }

/* A standard stream stays open: only output that it holds is still to come. To one that libuv knows nothing of nothing
** comes from outside. */
static bool may_come(const Handle *h) {
  const Stream *s = asy_container(h, Stream, handle);
  return (!h->kept && !s->carrier) || is_unsent(s) || output_is_on_its_way(s);
}

#define UNCLOSED_TEXT (ASY_ADDRESS_TEXT + 100)

/* What it is, in words: with its peer, if it has one that is known. */
static void whose(const Stream *s, char *text, size_t size, const char *what) {
  char peer[ASY_ADDRESS_TEXT];
  stream_name(s, peer);
  if (s->carrier)
    snprintf(text, size, "a stream of a %s%s", peer, what);
  else
    snprintf(text, size, "a stream%s%s%s", what, *peer ? ", peer " : "", peer);
}

static const char *tell(const Handle *h, char *text, size_t size) {
  const Stream *s = asy_container(h, Stream, handle);
  whose(s, text, size, "");
  return s->life.site;
}

/* Closing */

void asy_stream_abort(lua_State *L, Stream *s) {
  if (!s->handle.open) return;
  s->in.eof = true;
  s->life.state = LIFE_ABORTED;
  asy_output_drop(L, s->handle.loop, s);
  close_handle(s);
}

void asy_stream_break(lua_State *L, Stream *s) {
  s->out.lost = true;
  asy_stream_abort(L, s);
}

void asy_stream_take(lua_State *L, Stream *s, bool even_at_end) {
  bool ended = !s->handle.open || s->in.eof || s->in.error;
  asy_stream_abort(L, s);
  if (ended && !even_at_end) return;
  s->in.left = s->in.taken = true;
  s->in.eof = false;
  s->in.error = UV_ECANCELED;
}

/* Draining */

/* Bytes that the kernel has of us and the peer's kernel hasn't; where a thread writes, only whether there are any. */
static int unacknowledged(const Stream *s) {
  int fd;
  if (s->backing) return output_is_on_its_way(s);
  return s->uv.handle.type == UV_TCP && uv_fileno(&s->uv.handle, &fd) == 0 ? socket_unsent(fd) : 0;
}

static void all_sent(Stream *s);

static void on_drain(Timer *timer) { all_sent(asy_container(timer, Stream, life.timer)); }

/* What comes after the close is thrown away. */
static void on_drain_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf) {
  Stream *s = asy_container(h, Stream, uv);
  (void)buf;
  if (n >= 0) return;
  input_failed(s, (int)n);
  all_sent(s);
}

/* The sending half is shut, and the peer listened to. False: it has reset the connection, so there is none. */
static bool begin_drain(Stream *s) {
  int fd;
  s->life.state = LIFE_DRAINING;
  s->life.timer.fire = on_drain;
  s->life.left = SIZE_MAX;
  if (s->backing) return true;
  buffer_free(&s->in.buffer);
  if (s->filtered) buffer_free(&s->filtered->raw);
  bool gone = uv_fileno(&s->uv.handle, &fd) == 0 && shutdown(fd, SHUT_WR) && errno == ENOTCONN;
  input_pause(s);
  if (gone)
    input_failed(s, UV_EOF);
  else
    input_start_with(s, on_drain_read);
  return !gone;
}

/* How long nothing may move; a thread, for which nobody waits in <close>, may take as long as it does. */
static uint64_t drain_limit(const Stream *s) {
  uint64_t most = s->backing && !s->life.linger_ns ? TIMER_NEVER : DRAIN_LIMIT;
  return s->life.linger_ns && s->life.linger_ns < most ? s->life.linger_ns : most;
}

/* Whether something has left since the last look. A thread says only how much it has written in all. */
static bool drain_moves(Stream *s, size_t left) {
  size_t before = s->life.left;
  s->life.left = s->backing ? s->backing->written(s->backing) : left;
  return s->backing ? s->life.left != before : left < before;
}

/* A peer that says more than is read makes the kernel reset the connection when it is closed, and
** forget what it has still to send. So while it has something to send the peer is listened to; a thread is only
** waited for. What the kernel has by the end of that it goes on sending; what the thread has is lost. */
static bool drain(Stream *s) {
  bool over = stream_aborted(s) || s->out.error || (!s->backing && peer_is_gone(s));
  int left = over ? 0 : unacknowledged(s);
  if (!left) return false;
  uint64_t now = loop_now(s->handle.loop);
  if (s->life.state != LIFE_DRAINING && !begin_drain(s)) return false;
  if (drain_moves(s, (size_t)left)) s->life.moved_at = now;
  if (now - s->life.moved_at < drain_limit(s) && timer_set(&s->handle.loop->timers, &s->life.timer, now + DRAIN_PAUSE)) return true;
  if (s->backing) stream_lose_pending(s);
  return false;
}

/* The output is with the kernel: closes, unless that would throw it away there. */
static void all_sent(Stream *s) {
  timer_cancel(&s->handle.loop->timers, &s->life.timer);
  output_look(s);
  if (s->handle.open && !drain(s)) close_handle(s);
}

/* Lingering */

static void give_up(Stream *s) {
  stream_lose_pending(s);
  s->life.state = LIFE_ABORTED;
  stream_tidy_later(s);
}

/* Without memory for the timer nobody would notice that the peer takes nothing: it is given up at once. */
static void arm_linger(Stream *s) {
  s->life.left = output_pending(s);
  if (!timer_set(&s->handle.loop->timers, &s->life.timer, loop_now(s->handle.loop) + s->life.linger_ns)) give_up(s);
}

static void on_linger(Timer *timer) {
  Stream *s = asy_container(timer, Stream, life.timer);
  if (output_pending(s) < s->life.left)
    arm_linger(s);
  else
    give_up(s);
}

/* Sending */

/* Output is lost for lack of memory: a connection with a hole in it must not go on. */
static void break_off(Stream *s, int status) {
  if (!s->in.error) s->in.error = status;
  s->in.eof = true;
  s->out.lost = true;
  input_wake(s, 0);
  eof_tell(s);
  s->life.state = stream_closing(s) ? LIFE_ABORTED : LIFE_BROKEN;
  stream_tidy_later(s);
}

static void sent(Stream *s, int status) {
  if (status) break_off(s, status);
}

/* Whether its end is what comes next: all that was written has been sent, or is sealed. */
static bool is_over(const Stream *s) {
  return (stream_closing(s) || s->out.ending) && !stream_aborted(s) && !s->out.flight && !s->out.error && !output_pending(s);
}

static void flush_sealed(lua_State *L, Stream *s, bool may_send) {
  if (s->filtered->failed) asy_out_clear(L, s->handle.loop, &s->out.waiting); /* it is never sealed */
  if (may_send && output_waits(s)) sent(s, asy_output_send_sealed(L, s));
  if (is_over(s) && filtered_finish(s->filtered)) sent(s, asy_output_send_sealed(L, s));
  input_breathe(s);
}

void asy_stream_flush(lua_State *L, Stream *s) {
  if (!s->handle.open) return;
  output_look(s);
  bool may_send = !s->out.flight && !s->out.error && !s->out.held;
  if (s->filtered)
    flush_sealed(L, s, may_send);
  else if (may_send && s->out.waiting.bytes)
    sent(s, asy_output_send(L, s));
  size_t pending = output_pending(s);
  if (output_error(s) || pending <= s->out.low) waitq_wake_all(&s->out.drainers, 0);
  if (pending && !s->out.error) return;
  if (stream_closing(s))
    all_sent(s);
  else if (s->out.ending && !s->out.error)
    output_send_eof(s);
}

static void send_run(lua_State *L, Loop *loop, Ready *self) {
  (void)loop;
  asy_stream_flush(L, asy_container(self, Stream, out.send));
}

static void tidy_run(lua_State *L, Loop *loop, Ready *self) {
  Stream *s = asy_container(self, Stream, life.tidy);
  if (s->life.part && s->in.peer_ended && s->out.none && !stream_closing(s)) s->life.state = LIFE_ABORTED;
  asy_output_land(L, loop, s);
  input_read_file(s);
  if (s->filtered && s->filtered->asks) {
    asy_filtered_ask(L, s->filtered);
    input_go_on(s);
  }
  if (s->filtered && s->filtered->resumed) input_look(s);
  if (stream_aborted(s) || s->handle.closed) {
    asy_output_drop(L, loop, s);
    if (s->handle.open) close_handle(s);
  } else if (output_can_gather(s))
    output_schedule(s);
  else
    asy_stream_flush(L, s);
  if (list_linked(&s->life.tidy.link)) return;
  if (s->carrier && s->handle.closing && !s->handle.closed) {
    asy_output_drop(L, loop, s);
    handle_gone(&s->handle);
  } else if (s->handle.closed && !s->handle.boxed)
    handle_free(&s->handle);
}

/* The loop has closed: nothing will be tidied any more. A stream that nobody has but for that is freed. */
static void forget_streams(Loop *loop) {
  ListNode *const lists[] = {&loop->ready, &loop->batch};
  for (int i = 0; i < 2; i++)
    for (ListNode *node = lists[i]->next, *next; node != lists[i]; node = next) {
      Ready *ready = asy_container(node, Ready, link);
      next = node->next;
      if (ready->run != tidy_run) continue;
      Stream *s = asy_container(ready, Stream, life.tidy);
      list_remove(node);
      if (s->handle.closed && !s->handle.boxed) handle_free(&s->handle);
    }
}

void asy_stream_close(lua_State *L, Stream *s, uint64_t linger_ns) {
  if (!s->handle.open) return;
  if (s->handle.loop->copied) return asy_stream_abort(L, s);
  if (is_standard(s)) linger_ns = 0;
  if (linger_ns && !s->life.linger_ns) s->life.moved_at = loop_now(s->handle.loop);
  if (linger_ns) s->life.linger_ns = linger_ns;
  if (!stream_closing(s)) {
    mark_closing(s);
    input_pause(s);
    input_wake(s, 0);
    if (s->carrier) s->carrier->wanted(s); /* to throw it away: the peer may have to get rid of it before it reads */
    eof_tell(s);
    asy_stream_flush(L, s);
    if (!s->handle.open) return;
  }
  if (!linger_ns || s->life.timer.place || s->life.state == LIFE_DRAINING) return;
  arm_linger(s);
}

/* Making */

static size_t block_size(uv_handle_type type) {
  return offsetof(Stream, uv) + (type == UV_TCP ? sizeof(uv_tcp_t)
                                 : type == UV_TTY ? sizeof(uv_tty_t)
                                 : type == UV_UNKNOWN_HANDLE ? sizeof(((Stream *)NULL)->uv.carried)
                                                  : sizeof(uv_pipe_t));
}

/* Pushes a writer with a block that libuv doesn't know yet. */
static Stream *new_block(lua_State *L, Loop *loop, uv_handle_type type, size_t limit) {
  WriterBox *box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = (WriterBox){&stream_writer_kind, NULL};
  asy_pushmeta(L, loop->rt, ASY_WRITER);
  lua_setmetatable(L, -2);
  Stream *s = box->stream = mem_calloc(1, block_size(type));
  if (!s) asy_nomemory(L);
  handle_init(&s->handle, loop, type == UV_UNKNOWN_HANDLE ? NULL : &s->uv.handle, destroy, shut);
  s->handle.tell = tell;
  s->handle.may_come = may_come;
  if (loop->dying) s->handle.box = (void **)&box->stream;
  s->handle.on_close = on_close;
  s->out.send.run = send_run;
  s->life.tidy.run = tidy_run;
  s->life.timer.fire = on_linger;
  s->in.limit = limit;
  s->out.high = STREAM_LIMIT;
  s->out.low = STREAM_LIMIT / 4;
  s->in.read_size = BUFFER_BLOCK;
  s->in.file = s->out.file = -1;
  s->in.want_byte = -1;
  s->in.end_fd = -1;
  list_init(&s->in.enders);
  list_init(&s->out.send.link);
  list_init(&s->life.tidy.link);
  list_init(&s->client.link);
  waitq_init(&s->out.drainers);
  waitq_init(&s->life.closers);
  s->life.site = asy_debug_site(L, loop); /* may raise: last */
  return s;
}

static void opened(Stream *s) {
  handle_opened(&s->handle);
  s->handle.loop->counts.streams++;
}

Stream *asy_stream_new(lua_State *L, Loop *loop, uv_handle_type type, size_t limit) {
  Stream *s = new_block(L, loop, type, limit);
  int status = type == UV_TCP ? uv_tcp_init(&loop->uv, &s->uv.tcp) : uv_pipe_init(&loop->uv, &s->uv.pipe, 0);
  if (status) asy_oserror(L, status, "socket", NULL);
  opened(s);
  return s;
}

Stream *asy_stream_new_tty(lua_State *L, Loop *loop, size_t limit) { return new_block(L, loop, UV_TTY, limit); }

Stream *asy_stream_new_carried(lua_State *L, Loop *loop, size_t limit, const Carrier *carrier) {
  Stream *s = new_block(L, loop, UV_UNKNOWN_HANDLE, limit);
  WriterBox *box = lua_touserdata(L, -1);
  if (asy_is_dying(L)) s->handle.box = (void **)&box->stream; /* made without waiting, also where no loop runs on */
  s->carrier = carrier;
  return s;
}

void stream_open_carried(Stream *s) {
  opened(s);
  input_start(s);
}

int stream_open_tty(Stream *s, int fd) {
  int used = -1, status = uv_tty_init(&s->handle.loop->uv, &s->uv.tty, fd, 0);
  if (!status) {
    opened(s);
    uv_fileno(&s->uv.handle, &used);
  }
  if (used != fd) close(fd); /* libuv has opened the terminal once more */
  return status;
}

void asy_stream_push_reader(lua_State *L, int writer) { asy_stream_push_reader_with(L, writer, 1); }

void asy_stream_push_reader_with(lua_State *L, int writer, int values) {
  writer = lua_absindex(L, writer);
  ReaderBox *box = lua_newuserdatauv(L, sizeof *box, values);
  *box = (ReaderBox){&stream_reader_kind, lua_touserdata(L, writer)};
  lua_pushvalue(L, writer);
  lua_setiuservalue(L, -2, 1);
  asy_pushmeta(L, box->writer->stream->handle.loop->rt, ASY_READER);
  lua_setmetatable(L, -2);
}

/* Waiting */

Task *asy_stream_waiting_task(lua_State *L, const Stream *s) {
  Loop *loop = s->handle.loop;
  Task *t = asy_stream_task_or_null(L, s);
  if (ASY_LIKELY(t && t->loop == loop)) return t;
  if (!loop) asy_error(L, ASY_CLOSED, "the stream is closed");
  t = asy_current(L); /* raises, unless it is another loop's */
  if (t->loop != loop) asy_error(L, ASY_ERROR, "the stream belongs to another event loop");
  return t;
}

int asy_stream_closed(lua_State *L, const Stream *s) {
  bool copied = s->handle.loop && s->handle.loop->copied;
  asy_peer_closed(L, s, copied ? "the stream is the parent's: this process was forked from it"
                        : s->in.left && !s->in.taken ? "the stream is closed, as its event loop is"
                        : "the stream is closed");
}

/* Never closed */

static void forget_site(Stream *s) {
  mem_free(s->life.site);
  s->life.site = NULL;
}

void stream_disown(Stream *s) {
  s->handle.kept = true;
  forget_site(s);
}

void stream_make_part(Stream *s) {
  s->life.part = true;
  forget_site(s);
}

static void report_open(Handle *h, void *arg) {
  Stream *s = from_handle(h);
  lua_State *L = arg;
  char text[UNCLOSED_TEXT];
  if (!s->life.site || stream_closing(s)) return;
  whose(s, text, sizeof text, " was not closed");
  lua_pushstring(L, text);
  asy_unclosed_report(L, h->loop, lua_tostring(L, -1), "opened at", s->life.site);
  lua_pop(L, 1);
  forget_site(s);
}

/* The connection is the parent's: neither bytes nor an end of it may come from here. */
static void copy_stream(Handle *h, void *arg) {
  Stream *s = from_handle(h);
  (void)arg;
  s->in.eof = true;
  s->life.state = LIFE_ABORTED;
  forget_site(s);
}

static void in_child(Loop *loop, bool live) {
  if (live) handles_each(loop, shut, copy_stream, NULL);
}

/* Output that was lost */

/* Reports what a device has refused. */
static void report_refused(lua_State *L, Loop *loop, Stream *s) {
  char name[ASY_ADDRESS_TEXT];
  int top = lua_gettop(L);
  s->out.told = true;
  stream_name(s, name);
  lua_pushfstring(L, "output to %s was lost", name);
  asy_oserror_push(L, output_device_error(s), "write", name);
  asy_report(L, loop, (Report){.message = lua_tostring(L, top + 1), .exception = -1});
  lua_settop(L, top);
}

/* A stream whose output a device has refused, without anybody's knowing of it. */
static Stream *find_refused(const Loop *loop) {
  list_each(node, &loop->handles) {
    Handle *h = asy_container(node, Handle, link);
    if (h->shutter.shut == shut && !from_handle(h)->out.told && output_device_error(from_handle(h)))
      return from_handle(h);
  }
  return NULL;
}

/* When the loop closes: refused output, of streams that are closed, too; in debug mode those that are still open. */
static void report_streams(lua_State *L, Loop *loop) {
  for (Stream *s; (s = find_refused(loop));) report_refused(L, loop, s); /* handlers free streams: each anew */
  if (loop->debug) handles_each(loop, shut, report_open, L);
}

static void report_unsent(Handle *h, void *arg) {
  Stream *s = from_handle(h);
  lua_State *L = arg;
  char name[ASY_ADDRESS_TEXT];
  if (!is_unsent(s) && !output_is_on_its_way(s)) return;
  stream_name(s, name);
  if (is_unsent(s))
    lua_pushfstring(L, "%I bytes for %s are thrown away: %s", (LUAI_UACINT)output_pending(s), *name ? name : "a peer",
                    lua_tostring(L, 2));
  else
    lua_pushfstring(L, "output for %s is thrown away: %s", name, lua_tostring(L, 2)); /* it is with a thread */
  asy_report(L, h->loop, (Report){.message = lua_tostring(L, -1)});
  lua_pop(L, 1);
}

/* _report_unsent(why): what the kernel hasn't taken by now */
static int loop_report_unsent(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  luaL_checkstring(L, 2);
  if (loop->open) handles_each(loop, shut, report_unsent, L);
  return 0;
}

static void count_unsent(Handle *h, void *arg) {
  const Stream *s = from_handle(h);
  if (is_unsent(s) || output_is_on_its_way(s)) ++((int *)arg)[is_standard(s)];
}

/* _unsent() → how many connections have output that the kernel hasn't taken yet, how many standard streams */
static int loop_unsent(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  int n[] = {0, 0};
  if (loop->open) handles_each(loop, shut, count_unsent, n);
  lua_pushinteger(L, n[false]);
  lua_pushinteger(L, n[true]);
  return 2;
}

/* stack: writer. Its finaliser: a stream that nobody can use any more is closed, as by its user. */
static int writer__gc(lua_State *L) {
  WriterBox *box = asy_stream_test(L, 1, &stream_writer_kind);
  Stream *s = box ? box->stream : NULL;
  if (!s) return 0;
  box->stream = NULL;
  if (s->in.reader) { /* only where a stranger closed the task's coroutine */
    s->in.reader->on = NULL;
    s->in.reader = NULL;
  }
  bool forgotten = s->handle.open && !stream_closing(s);
  char name[ASY_ADDRESS_TEXT], text[UNCLOSED_TEXT], site[1000] = "", refused[200] = "";
  Loop *loop = s->handle.loop;
  stream_name(s, name);
  if (forgotten) {
    whose(s, text, sizeof text, " was not closed before it was collected");
    if (s->life.site && loop->debug) snprintf(site, sizeof site, "%s", s->life.site);
    asy_stream_close(L, s, STREAM_LINGER * NS_PER_S);
  }
  if (loop && !s->out.told && output_device_error(s))
    snprintf(refused, sizeof refused, "output to %s was lost: %s", name, uv_strerror(output_device_error(s)));
  s->out.told = true;
  forgotten = forgotten && !s->handle.kept && !s->life.part;
  handle_unbox(&s->handle);
  if (*refused) {
    lua_pushstring(L, refused);
    asy_unclosed_report_later(L, loop, NULL);
  }
  if (!forgotten) return 0;
  lua_pushfstring(L, "asyncio: %s", text); /* may raise, and so may what follows: last */
  lua_warning(L, lua_tostring(L, -1), 0);
  if (!*site) return 0;
  lua_pushstring(L, lua_tostring(L, -1) + strlen("asyncio: "));
  asy_unclosed_report_later(L, loop, site);
  return 0;
}

static const luaL_Reg loop_methods[] = {
    {"_unsent", loop_unsent}, {"_report_unsent", loop_report_unsent}, {NULL, NULL}};
static const luaL_Reg writer_metamethods[] = {{"__gc", writer__gc}, {NULL, NULL}};

void asy_open_stream(lua_State *L) {
  static const LoopHooks hooks = {.report = report_streams, .forget = forget_streams, .in_child = in_child};
  runtime_on_loop(asy_runtime(L), &hooks);
  asy_open_unclosed(L);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", loop_methods, NULL);
  asy_newclass(L, ASY_WRITER, "asyncio.StreamWriter", NULL, writer_metamethods);
}
