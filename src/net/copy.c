/*
** copy.c - asyncio.copy: one stream's input becomes another's output.
**
** The bytes never are Lua's: the input's buffer itself becomes the output's, and the kernel has it in the same step.
** What is taken is written at once, so a copy that is cancelled has lost nothing. While it runs it stands as the
** input's reader, also where it waits for the output's peer: then nothing is read, and the input's peer waits too.
** In memory what is written may be the input again: so each round counts against the task's budget.
*/
#include <stdio.h>

#include "core/error.h"
#include "core/options.h"
#include "net/input.h"
#include "net/life.h"
#include "net/limit.h"
#include "net/output.h"
#include "net/peer.h"
#include "net/reader.h"
#include "net/writer.h"
#include "open.h"

#define MOST_MOVED ((size_t)1 << 20) /* in a round: a reader that is fed may hold any number of bytes */
#define ROUND_BYTES 65536            /* so many more count as one more round */

typedef struct Copy {
  Ready turn; /* it has given way */
  Task *task;
  const WriterBox *from, *to; /* the streams': its user values, a reader and a writer, keep them */
  lua_Integer left, moved;
} Copy;

/* Waiting */

static Abort copy_abort(lua_State *L, Task *t) {
  Copy *c = t->on;
  if (c) list_remove(&c->turn.link);
  if (c && c->from->stream && c->from->stream->in.reader == t) input_let_go(c->from->stream);
  return asy_waitq_abort(L, t);
}

static void copy_giveback(lua_State *L, Task *t) { copy_abort(L, t); }

static void describe(const Task *t, char *text) {
  const Copy *c = t->on;
  char from[ASY_WAIT_TEXT] = "", to[ASY_WAIT_TEXT] = "";
  if (!c || !c->from->stream || !c->to->stream) return;
  peer_words(c->from->stream, from);
  peer_words(c->to->stream, to);
  snprintf(text, ASY_WAIT_TEXT, "%.70s to %.70s", from, to);
}

static bool may_come(const Task *t) {
  const Copy *c = t->on;
  return !c || !c->from->stream || !c->to->stream || !c->from->stream->carrier || !c->to->stream->carrier;
}

static int look_again(lua_State *L, Task *t);

static const WaitKind COPY = {.name = "copy", .finish = look_again, .abort = copy_abort,
                              .giveback = copy_giveback, .describe = describe, .may_come = may_come};
static const WaitKind COPY_DRAIN = {.name = "copy, drain", .finish = look_again, .abort = copy_abort,
                                    .giveback = copy_giveback, .describe = describe, .may_come = may_come};

/* stack: copy */
static int wait_for_input(lua_State *L, Task *t, Copy *c) {
  Stream *in = c->from->stream;
  asy_limit_read(L, in);
  input_free_if_empty(in);
  input_resume(in);
  in->in.want = 1;
  in->in.want_byte = -1;
  in->in.direct = input_can_be_direct(in);
  in->in.reader = t;
  return asy_park_on(L, t, &COPY, c, 1);
}

/* stack: copy; for how long it has waited so (limit.h) */
static int wait_for_output(lua_State *L, Task *t, Copy *c) {
  asy_limit_write(L, c->to->stream);
  input_hold(c->from->stream, t);
  list_append(&c->to->stream->out.drainers.line, &t->waiter.link);
  return asy_park_on(L, t, &COPY_DRAIN, c, 1);
}

static void turn_run(lua_State *L, Loop *loop, Ready *self) {
  const Copy *c = asy_container(self, Copy, turn);
  (void)L;
  (void)loop;
  if (c->task->phase == TASK_PARKED) task_wake(c->task, 0);
}

static int turn_finish(lua_State *L, Task *t) {
  list_remove(&((Copy *)t->on)->turn.link); /* where the input has woken it first */
  return look_again(L, t);
}

static const WaitKind COPY_TURN = {.name = "copy, give way", .finish = turn_finish, .abort = copy_abort,
                                   .giveback = copy_giveback, .describe = describe};

/* stack: copy. The input wakes its reader, too: so it is not the task that stands in line for its turn. */
static int wait_for_turn(lua_State *L, Task *t, Copy *c) {
  input_hold(c->from->stream, t);
  loop_ready(t->loop, &c->turn);
  return asy_park_on(L, t, &COPY_TURN, c, 1);
}

/* Moving */

/* Whether the output's peer must take some first. */
static bool must_drain(lua_State *L, Stream *out) {
  if (output_error(out)) asy_writer_raise(L, out, output_error(out));
  return out->handle.open && output_pending(out) > out->out.high;
}

static size_t next_bytes(const Copy *c, size_t there) {
  size_t n = (lua_Unsigned)c->left < there ? (size_t)c->left : there;
  return n < MOST_MOVED ? n : MOST_MOVED;
}

static void move(lua_State *L, Task *t, Copy *c, size_t n) {
  Stream *in = c->from->stream, *out = c->to->stream;
  t->budget = (int16_t)(t->budget - (int)(n / ROUND_BYTES));
  asy_writer_claim(L, out);
  if (!output_take(out, &in->in.buffer, n)) asy_nomemory(L);
  in->in.searched = 0;
  c->left -= (lua_Integer)n;
  c->moved += (lua_Integer)n;
  asy_stream_flush(L, out);
}

/* stack: copy */
static int go_on(lua_State *L, Task *t, Copy *c) {
  Stream *in = c->from->stream, *out = c->to->stream;
  for (;;) {
    size_t n = buffer_length(&in->in.buffer);
    if (must_drain(L, out)) return wait_for_output(L, t, c);
    if (!c->left) break;
    if (n) {
      if (task_spent(t)) return wait_for_turn(L, t, c);
      move(L, t, c, next_bytes(c, n));
      continue;
    }
    if (in->in.error) return asy_reader_raise(L, in);
    if (in->in.eof) break;
    asy_writer_claim(L, out);
    return wait_for_input(L, t, c);
  }
  input_free_if_empty(in);
  input_let_go(in);
  lua_pushinteger(L, c->moved);
  return 1;
}

static int look_again(lua_State *L, Task *t) {
  Copy *c = t->on;
  Stream *in = c->from->stream;
  in->in.reader = NULL;
  if (t->code != LIMIT_LOOK) lua_settop(L, 1);
  if (in->in.direct) input_fill(in);
  return go_on(L, t, c);
}

/* Calling */

static const OptSpec SPECS[] = {{.key = "max_bytes", .kind = OPT_INTEGER, .least = 0, .most = OPT_MOST}};
static const Options OPTIONS = {"copy", 3, OPT_NAMED, OPT_SPECS(SPECS)};

/* The stream must be the running task's loop's, or closed: then it may still hold something. */
static void check_loop(lua_State *L, const Task *t, const Stream *s, const char *what) {
  if (s->handle.loop && s->handle.loop != t->loop) asy_error(L, ASY_ERROR, "the %s belongs to another event loop", what);
}

static Stream *check_stream(lua_State *L, const WriterBox *box) {
  if (!box->stream) asy_error(L, ASY_CLOSED, "the stream is closed");
  return box->stream;
}

static lua_Integer get_max(lua_State *L) {
  lua_Integer max = LUA_MAXINTEGER;
  if (lua_istable(L, 3) && lua_getfield(L, 3, "max_bytes") != LUA_TNIL) max = lua_tointeger(L, -1);
  lua_settop(L, 2);
  return max;
}

/// Copies what a reader gives to a writer, until its end; neither is ended or closed.
// The bytes go from one to the other without becoming Lua strings, and no more are taken than the writer's peer keeps
// up with (see `StreamWriter:set_write_buffer_limits`). While it runs it is the reader's reader. Raises what `read`
// and `drain` would, once what came before is written. A copy that is cancelled has written what it has taken.
// @function copy
// @tparam StreamReader reader
// @tparam StreamWriter writer
// @tparam[opt] table opts `max_bytes`: returns after so many, or at the end; what comes behind them stays unread
// @treturn integer how many bytes it has moved
// @usage
// local function echo(reader, writer) asyncio.copy(reader, writer) end
// local server <close> = asyncio.start_server(echo, "127.0.0.1", 0)
// local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
// writer:write "there and back"
// writer:write_eof()
// print(reader:read()) --> there and back
static int stream_copy(lua_State *L) {
  const ReaderBox *reader = asy_stream_test(L, 1, &stream_reader_kind);
  if (!reader) asy_typeerror(L, 1, 1, "asyncio.StreamReader", "");
  const WriterBox *writer = asy_stream_test(L, 2, &stream_writer_kind);
  if (!writer) asy_typeerror(L, 2, 2, "asyncio.StreamWriter", "");
  asy_options_check(L, 3, &OPTIONS);
  lua_settop(L, 3);
  Task *t = asy_current(L);
  check_loop(L, t, check_stream(L, reader->writer), "reader");
  check_loop(L, t, check_stream(L, writer), "writer");
  asy_reader_claim(L, reader->writer->stream);
  if (task_spent(t)) return asy_give_way(L, t, stream_copy);
  lua_Integer max = get_max(L);
  Copy *c = lua_newuserdatauv(L, sizeof *c, 2);
  *c = (Copy){.turn = {.run = turn_run}, .task = t, .from = reader->writer, .to = writer, .left = max};
  list_init(&c->turn.link);
  lua_insert(L, 1);
  lua_setiuservalue(L, 1, 2);
  lua_setiuservalue(L, 1, 1);
  limit_read_anew(reader->writer->stream);
  asy_reader_claim(L, check_stream(L, c->from)); /* a finaliser may have begun to read meanwhile */
  return go_on(L, t, c);
}

static const luaL_Reg functions[] = {{"copy", stream_copy}, {NULL, NULL}};

/* stack: module */
void asy_open_copy(lua_State *L) {
  asy_options_note(L, &OPTIONS);
  asy_setfuncs(L, functions);
}
