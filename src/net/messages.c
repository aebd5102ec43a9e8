/*
** messages.c - whole messages in and out of a stream, by a grammar of another module (grammar.h): a WebSocket's.
**
** Its owner is an object of the Lua layer, which has the Messages in a field. Who receives reads himself, and all of
** a message's way is in here, both ways. What isn't a message, or has to do with the end, is the Lua layer's: to that
** goes the call in the middle, with what has come.
**
** The first value on the stack of what follows is the owner, or Messages themselves; the second is Messages.
*/
#include "core/error.h"
#include "net/grammar.h"
#include "net/input.h"
#include "net/life.h"
#include "net/limit.h"
#include "net/output.h"
#include "net/peer.h"
#include "net/reader.h"
#include "net/writer.h"
#include "open.h"

#define MOST_COPIED 16384 /* bytes of a message that is written to the output's buffer; from there on strings are held */
#define LOOK_ABOUT 1      /* a wake code: who receives has waited for a while */

typedef struct Messages {
  const char *kind;  /* &messages_kind: tells them from any other userdata, as a stream's boxes */
  WriterBox *writer; /* user value 1 */
  Grammar *grammar;  /* user value 2 */
  uint64_t heard;    /* when bytes were taken last, on the loop's clock */
  bool used;         /* somebody has received since the last look */
  bool receives;     /* who receives may read; else a task of the Lua layer does, or there is nothing more to come */
  bool sends;        /* nobody has closed it */
} Messages;

enum { UV_WRITER = 1, UV_GRAMMAR };

/* The upvalues of what the Lua layer has as methods. */
enum { UP_CLASS = 2, UP_KEY, UP_OTHERWISE, UP_TEXT, UP_BINARY, UP_OWNER, UP_MESSAGES };

static const char messages_kind = 0;

/* The Messages at idx, or NULL. */
static Messages *test(lua_State *L, int idx) {
  Messages *m = lua_touserdata(L, idx);
  return m && lua_rawlen(L, idx) == sizeof *m && m->kind == &messages_kind ? m : NULL;
}

/* Of a method of the Lua layer's: those of the owner at 1, which are pushed. */
static Messages *of_owner(lua_State *L, const char *method) {
  Messages *m = NULL;
  if (lua_istable(L, 1)) {
    lua_pushvalue(L, lua_upvalueindex(UP_KEY));
    lua_rawget(L, 1);
    m = test(L, -1);
  }
  if (!m) asy_badself_of(L, lua_tostring(L, lua_upvalueindex(UP_CLASS)), method);
  return m;
}

/* Of a method of their own. stack: messages → messages, messages */
static Messages *check(lua_State *L) {
  Messages *m = test(L, 1);
  if (!m) asy_badself(L, "asyncio.Messages");
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  return m;
}

static Stream *stream_of(lua_State *L, const Messages *m) {
  Stream *s = m->writer->stream;
  if (!s) asy_error(L, ASY_CLOSED, "the stream is closed");
  return s;
}

/* The Lua layer goes on */

static int otherwise_done(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  return lua_gettop(L) - (int)ctx;
}

/* Calls its function with the owner and the n values on the top. Return its value. */
static int otherwise(lua_State *L, int n) {
  int below = lua_gettop(L) - n;
  lua_pushvalue(L, lua_upvalueindex(UP_OTHERWISE));
  lua_pushvalue(L, 1);
  lua_rotate(L, -(n + 2), 2);
  lua_callk(L, n + 1, LUA_MULTRET, below, otherwise_done);
  return lua_gettop(L) - below;
}

/* Receiving */

static bool untouched(const GrammarInput *in) {
  const Stream *s = ((const Messages *)in->whose)->writer->stream;
  return s && buffer_length(&s->in.buffer) == in->n && buffer_bytes(&s->in.buffer) == in->bytes;
}

/* The next event in what has come; pushes what belongs to it: *pushed values. */
static GrammarEvent next_event(lua_State *L, Messages *m, Stream *s, int *pushed) {
  GrammarInput in = {.untouched = untouched, .whose = m};
  GrammarEvent event = GRAMMAR_WANTS;
  *pushed = 0;
  if (!buffer_length(&s->in.buffer)) return event;
  if (s->handle.loop) m->heard = loop_now(s->handle.loop);
  lua_settop(L, 2);
  lua_getiuservalue(L, 2, UV_GRAMMAR);
  while (event == GRAMMAR_WANTS && buffer_length(&s->in.buffer)) {
    in.bytes = buffer_bytes(&s->in.buffer);
    in.n = buffer_length(&s->in.buffer);
    event = m->grammar->ops->read(L, m->grammar, 3, &in);
    if (in.used) input_took(s, in.used);
  }
  *pushed = in.pushed;
  return event;
}

static int wait(lua_State *L, Stream *s, const WaitKind *kind) {
  lua_settop(L, 2);
  s->in.direct = input_can_be_direct(s);
  return asy_reader_wait(L, s, kind, 1, -1);
}

/* A task that was woken goes on: takes what libuv has only said is there. */
static Stream *resumed(Task *t) {
  Stream *s = reader_resumed(t);
  if (s->in.direct) input_fill(s);
  return s;
}

static bool over(const Stream *s) { return s->in.error || s->in.eof; }

/* receive: a method of the owner's */

static int received(lua_State *L, Task *t);

static const WaitKind RECEIVE = {.name = "receive", .finish = received, .abort = asy_reader_abort,
                                 .giveback = asy_reader_giveback, .describe = peer_describe,
                                 .may_come = peer_may_come};

static int receive_of(lua_State *L, Messages *m, Stream *s) {
  int pushed;
  GrammarEvent event = next_event(L, m, s, &pushed);
  if (event == GRAMMAR_TEXT || event == GRAMMAR_BINARY) {
    lua_pushvalue(L, lua_upvalueindex(event == GRAMMAR_TEXT ? UP_TEXT : UP_BINARY));
    return 2;
  }
  if (event == GRAMMAR_OTHER) return otherwise(L, pushed);
  return over(s) ? otherwise(L, 0) : wait(L, s, &RECEIVE);
}

static int received(lua_State *L, Task *t) {
  Messages *m = lua_touserdata(L, 2);
  Stream *s = resumed(t);
  bool goes_on = m->receives && (t->code != LOOK_ABOUT || buffer_length(&s->in.buffer));
  return goes_on ? receive_of(L, m, s) : otherwise(L, 0);
}

/* stack: owner, messages. again: the C function that was called */
static int receive(lua_State *L, Messages *m, lua_CFunction again) {
  Stream *s = m->writer->stream;
  m->used = true;
  if (!s || !m->receives || s->in.reader) return otherwise(L, 0);
  Task *t = asy_reader_begin(L, s);
  return t ? asy_give_way(L, t, again) : receive_of(L, m, s);
}

/// Waits for the next message.
// @function WebSocket:receive
// @treturn ?string the message; nil after any end, see `close_code`
// @treturn ?string `"text"` or `"binary"`
static int messages_receive(lua_State *L) {
  if (lua_gettop(L) > 1) lua_settop(L, 1);
  return receive(L, of_owner(L, "receive"), messages_receive);
}

/* The iterator. */
static int next_received(lua_State *L) {
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(UP_OWNER));
  lua_pushvalue(L, lua_upvalueindex(UP_MESSAGES));
  return receive(L, lua_touserdata(L, 2), next_received);
}

/// Goes through the messages: `for data, kind in ws:iter() do`.
// @function WebSocket:iter
// @treturn function an iterator, which ends after any end
static int messages_iter(lua_State *L) {
  if (lua_gettop(L) > 1) lua_settop(L, 1);
  of_owner(L, "iter");
  for (int i = UP_CLASS; i <= UP_BINARY; i++) lua_pushvalue(L, lua_upvalueindex(i));
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  asy_pushclosure(L, next_received, UP_MESSAGES - 1);
  return 1;
}

/* take, next: methods of Messages, for the Lua layer */

/* Pushes text's or binary's name before the message on the top. */
static int give(lua_State *L, GrammarEvent event, int pushed) {
  if (event == GRAMMAR_OTHER) return pushed;
  if (event == GRAMMAR_TEXT)
    lua_pushliteral(L, "text");
  else
    lua_pushliteral(L, "binary");
  lua_insert(L, -2);
  return 2;
}

static int take_of(lua_State *L, Messages *m, Stream *s);

static int taken(lua_State *L, Task *t) {
  Messages *m = lua_touserdata(L, 2);
  Stream *s = resumed(t);
  return m->receives ? take_of(L, m, s) : 0;
}

static const WaitKind TAKE = {.name = "receive", .finish = taken, .abort = asy_reader_abort,
                              .giveback = asy_reader_giveback, .describe = peer_describe,
                              .may_come = peer_may_come};

static int take_of(lua_State *L, Messages *m, Stream *s) {
  int pushed;
  GrammarEvent event = next_event(L, m, s, &pushed);
  if (event != GRAMMAR_WANTS) return give(L, event, pushed);
  return over(s) ? 0 : wait(L, s, &TAKE);
}

/* take() → the next event, as the grammar calls it; nothing: the end, or another reads, or is to. */
static int messages_take(lua_State *L) {
  Messages *m = check(L);
  Stream *s = m->writer->stream;
  m->used = true;
  if (!s || !m->receives || s->in.reader) return 0;
  Task *t = asy_reader_begin(L, s);
  return t ? asy_give_way(L, t, messages_take) : take_of(L, m, s);
}

static int next_of(lua_State *L, Messages *m, Stream *s);

static int next_taken(lua_State *L, Task *t) {
  Stream *s = resumed(t);
  return next_of(L, lua_touserdata(L, 2), s);
}

static const WaitKind NEXT = {.name = "read", .finish = next_taken, .abort = asy_reader_abort,
                              .giveback = asy_reader_giveback, .describe = peer_describe,
                              .may_come = peer_may_come};

static int next_of(lua_State *L, Messages *m, Stream *s) {
  int pushed;
  GrammarEvent event = next_event(L, m, s, &pushed);
  if (event != GRAMMAR_WANTS) return give(L, event, pushed);
  if (s->in.error) return asy_reader_raise_with_partial(L, s);
  return s->in.eof ? 0 : wait(L, s, &NEXT);
}

/* next() → the next event, whoever was to read; nothing: the end. Raises what a read does. */
static int messages_next(lua_State *L) {
  Messages *m = check(L);
  Stream *s = stream_of(L, m);
  Task *t = asy_reader_begin(L, s);
  return t ? asy_give_way(L, t, messages_next) : next_of(L, m, s);
}

/* Who receives */

/* Whether somebody waits in that way. */
static bool receives(const Stream *s, const WaitKind *kind) {
  const Task *t = s->in.reader;
  return t && t->phase == TASK_PARKED && t->kind == kind;
}

static bool wake(const Messages *m, const WaitKind *kind, int code) {
  const Stream *s = m->writer->stream;
  if (!s || !receives(s, kind)) return false;
  task_wake(s->in.reader, code);
  return true;
}

/* stop(): who receives reads no more; who does is woken */
static int messages_stop(lua_State *L) {
  Messages *m = check(L);
  m->receives = false;
  if (!wake(m, &RECEIVE, 0)) wake(m, &TAKE, 0);
  return 0;
}

/* close(): likewise, and nothing is sent by `send` any more */
static int messages_close(lua_State *L) {
  messages_stop(L);
  check(L)->sends = false;
  return 0;
}

/* look() → whether somebody has received since the last look, or does. Who still waits goes on by `take`, but not where
** there is a limit for how long a read waits: that would begin anew. */
static int messages_look(lua_State *L) {
  Messages *m = check(L);
  const Stream *s = m->writer->stream;
  bool stays = s && s->limits && s->limits->read_ns && receives(s, &RECEIVE);
  lua_pushboolean(L, stays || wake(m, &RECEIVE, LOOK_ABOUT) || m->used);
  m->used = false;
  return 1;
}

/* is_read() → whether a task reads, or has been woken for it */
static int messages_is_read(lua_State *L) {
  const Stream *s = check(L)->writer->stream;
  lua_pushboolean(L, s && s->in.reader);
  return 1;
}

/* heard() → when bytes were taken last, as the loop's `time` has it */
static int messages_heard(lua_State *L) {
  lua_pushnumber(L, (lua_Number)check(L)->heard / NS_PER_S);
  return 1;
}

/* hear(): that is now */
static int messages_hear(lua_State *L) {
  Messages *m = check(L);
  const Stream *s = m->writer->stream;
  if (s && s->handle.loop) m->heard = loop_now(s->handle.loop);
  return 0;
}

/* Sending */

/* As much is on its way as may be, or it has broken. stack: owner, message, messages */
static int drain(lua_State *L) {
  lua_getiuservalue(L, 3, UV_WRITER);
  lua_replace(L, 1);
  lua_settop(L, 1);
  return asy_writer_drain(L);
}

/* Adds the string at 2 to the output. False: it is no text, or too long to be copied. */
static bool add(lua_State *L, Messages *m, Stream *s, GrammarEvent kind) {
  const GrammarOps *ops = m->grammar->ops;
  Out *out = &s->out.waiting;
  size_t n;
  const char *data = lua_tolstring(L, 2, &n);
  if (n > MOST_COPIED) return false;
  asy_writer_claim(L, s);
  char *to = out_room(s->handle.loop, out, n + ops->most_head);
  if (!to) asy_nomemory(L);
  size_t length = ops->write(L, m->grammar, kind, data, n, to);
  if (!length) return false;
  output_schedule(s);
  out_added(out, length);
  return true;
}

/* A method of the owner's. */
static int send_as(lua_State *L, const char *method, GrammarEvent kind) {
  if (lua_gettop(L) != 2) lua_settop(L, 2);
  Messages *m = of_owner(L, method);
  Stream *s = m->writer->stream;
  bool added = s && m->sends && lua_type(L, 2) == LUA_TSTRING && add(L, m, s, kind);
  if (!added) {
    lua_pushvalue(L, 2);
    return otherwise(L, 1);
  }
  if (output_error(s) || s->out.file >= 0 || output_pending(s) >= s->out.high) return drain(L);
  Task *t = asy_stream_task_or_null(L, s);
  if (!t || !task_spent(t)) return 0;
  lua_settop(L, 1);
  return asy_give_way(L, t, NULL);
}

/// Sends a message of text, and waits while too much is on its way to the peer, as `writer:send` does.
// Raises ClosedError after any end, an OSError when the connection breaks.
// @function WebSocket:send
// @tparam string text UTF-8
static int messages_send_text(lua_State *L) { return send_as(L, "send", GRAMMAR_TEXT); }

/// Sends a message of bytes, likewise.
// @function WebSocket:send_binary
// @tparam string data
static int messages_send_binary(lua_State *L) { return send_as(L, "send_binary", GRAMMAR_BINARY); }

/* Made */

static Grammar *check_grammar(lua_State *L, int idx) {
  Grammar *g = NULL;
  int top = lua_gettop(L);
  if (lua_type(L, idx) == LUA_TUSERDATA && luaL_getmetafield(L, idx, "methods") == LUA_TTABLE &&
      lua_getfield(L, -1, "_grammar") == LUA_TFUNCTION) {
    lua_pushvalue(L, idx);
    lua_call(L, 1, 1);
    g = lua_touserdata(L, -1);
  }
  lua_settop(L, top);
  if (!g || g->ops->abi != GRAMMAR_ABI)
    asy_error(L, ASY_ERROR, "the module asyncio.grammar is of another release than asyncio.core");
  return g;
}

/* messages(writer, grammar) → Messages of the writer's stream */
static int new_messages(lua_State *L) {
  WriterBox *box = asy_stream_test(L, 1, &stream_writer_kind);
  if (!box) asy_badself(L, "asyncio.StreamWriter");
  Grammar *g = check_grammar(L, 2);
  Messages *m = lua_newuserdatauv(L, sizeof *m, UV_GRAMMAR);
  *m = (Messages){&messages_kind, box, g, 0, true, true, true};
  for (int i = UV_WRITER; i <= UV_GRAMMAR; i++) {
    lua_pushvalue(L, i);
    lua_setiuservalue(L, -2, i);
  }
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_MESSAGES);
  lua_setmetatable(L, -2);
  const Stream *s = box->stream;
  if (s && s->handle.loop) m->heard = loop_now(s->handle.loop);
  return 1;
}

/* message_methods(class, key, receive, send, send_binary) → an owner's receive, iter, send, send_binary. class: what
** errors call it; key: where it has its Messages. The functions do what isn't done here: receive(owner, event...),
** send(owner, message). */
static int message_methods(lua_State *L) {
  static const lua_CFunction METHODS[] = {messages_receive, messages_iter, messages_send_text, messages_send_binary};
  static const int OTHERWISE[] = {3, 3, 4, 5};
  for (int i = 1; i <= 5; i++) luaL_checktype(L, i, i < 3 ? LUA_TSTRING : LUA_TFUNCTION);
  for (int i = 0; i < 4; i++) {
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, OTHERWISE[i]);
    lua_pushliteral(L, "text");
    lua_pushliteral(L, "binary");
    asy_pushclosure(L, METHODS[i], UP_BINARY - 1);
  }
  return 4;
}

static int messages__tostring(lua_State *L) {
  const Messages *m = check(L);
  lua_pushfstring(L, "asyncio.Messages: of a stream that is %s", m->writer->stream ? "open" : "closed");
  return 1;
}

static const luaL_Reg methods[] = {{"take", messages_take},   {"next", messages_next},   {"stop", messages_stop},
                                   {"close", messages_close}, {"look", messages_look},   {"heard", messages_heard},
                                   {"hear", messages_hear},   {"is_read", messages_is_read}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__tostring", messages__tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"messages", new_messages}, {"message_methods", message_methods}, {NULL, NULL}};

/* stack: module */
void asy_open_messages(lua_State *L) {
  asy_newclass(L, ASY_MESSAGES, "asyncio.Messages", methods, metamethods);
  asy_setfuncs(L, functions);
}
