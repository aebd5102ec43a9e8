/*
** feed.c - asyncio.StreamReader's constructor: a reader of what a program puts in by hand.
**
** It is the reader of a stream whose writer nobody has. Who waits for room stands in that one's line for `drain`; the
** value that is its end is a user value of the reader.
*/
#include "net/feed.h"

#include "core/error.h"
#include "core/options.h"
#include "net/input.h"
#include "net/life.h"
#include "net/limit.h"
#include "net/peer.h"
#include "open.h"

enum { UV_WRITER = 1, UV_ERROR }; /* user values of the reader */

static const char readers_key = 0; /* registry: Stream as light userdata → its reader, weak */

/* What its carrier does */

static void wanted(Stream *s) { waitq_wake_all(&s->out.drainers, 0); }

/* Its writer can't be had. */
static int refuse(Stream *s, const uv_buf_t *bufs, unsigned n) {
  (void)s;
  (void)bufs;
  (void)n;
  return UV_EPIPE;
}

static void nothing(Stream *s) { (void)s; }

static const Carrier FED = {.name = "StreamReader", .wanted = wanted, .send = refuse, .shut = nothing, .closed = nothing};

int asy_feed_raise(lua_State *L, const Stream *s) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &readers_key);
  if (lua_rawgetp(L, -1, s) != LUA_TUSERDATA) asy_error(L, ASY_ERROR, "the reader is being collected");
  lua_getiuservalue(L, -1, UV_ERROR);
  lua_error(L);
#if defined(__GNUC__)
  __builtin_unreachable();
#endif
}

/* Feeding */

static Stream *check_fed(lua_State *L, const char *method) {
  const ReaderBox *box = asy_stream_test(L, 1, &stream_reader_kind);
  if (!box) asy_badself(L, "asyncio.StreamReader");
  Stream *s = box->writer->stream;
  if (!s) asy_error(L, ASY_CLOSED, "the stream is closed");
  if (s->carrier != &FED)
    asy_error(L, ASY_ERROR, "'%s' is for readers that asyncio.StreamReader has made; this one reads what its peer sends",
              method);
  return s;
}

/* Nothing can be fed any more. */
static bool has_ended(const Stream *s) { return s->in.eof || (s->in.error && !s->in.left); }

static void check_open(lua_State *L, const Stream *s) {
  if (!s->handle.open || s->handle.loop->copied) asy_stream_closed(L, s);
  if (has_ended(s)) asy_error(L, ASY_CLOSED, "the reader has been fed its end");
}

/// Gives it bytes to read, however many lie there. Never waits, and needs no task. Only of a reader that
// `asyncio.StreamReader` has made, as are `feed_eof` and `drain`.
// Raises ClosedError after `feed_eof`, and when its loop has closed.
// @function StreamReader:feed
// @tparam string data
// @treturn boolean false: more than twice the limit lies unread, and nobody waits for more: time for `drain`
static int reader_feed(lua_State *L) {
  Stream *s = check_fed(L, "feed");
  size_t n;
  if (!lua_isstring(L, 2)) asy_typeerror(L, 2, 2, "string", "");
  const char *data = lua_tolstring(L, 2, &n);
  check_open(L, s);
  if (n && !input_put(s, data, n)) return asy_nomemory(L);
  lua_pushboolean(L, s->in.reading);
  return 1;
}

/// Ends what is fed. Who reads gets what is left, then the end, or the error. Again, without an error, it does nothing.
// @function StreamReader:feed_eof
// @param[opt] err any value but nil: each later read raises it; without it the end is an ordinary one
static int reader_feed_eof(lua_State *L) {
  Stream *s = check_fed(L, "feed_eof");
  lua_settop(L, 2);
  bool fails = !lua_isnil(L, 2);
  if (!fails && has_ended(s)) return 0;
  check_open(L, s);
  if (fails) lua_setiuservalue(L, 1, UV_ERROR);
  s->in.raises = fails;
  input_failed(s, fails ? UV_UNKNOWN : UV_EOF);
  waitq_wake_all(&s->out.drainers, 0);
  return 0;
}

static const WaitKind ROOM = {.name = "drain", .finish = asy_waitq_finish, .abort = asy_waitq_abort,
                              .describe = peer_describe, .may_come = task_waits_for_us};

/// Waits, once `feed` has returned false, until no more than the limit lies unread, or a task waits for more than what
// there is. After the end it does not wait.
// @function StreamReader:drain
static int reader_drain(lua_State *L) {
  Stream *s = check_fed(L, "drain");
  lua_settop(L, 1);
  if (s->in.left) asy_stream_closed(L, s);
  if (s->in.reading || has_ended(s) || !s->handle.open) return asy_spend(L);
  return asy_waitq_park(L, asy_stream_waiting_task(L, s), &s->out.drainers, &ROOM, s);
}

/* Making */

static const OptSpec SPECS[] = {OPT_BYTES("limit"), {.key = "read_timeout", .kind = OPT_POSITIVE}};
static const Options OPTIONS = {"StreamReader", 1, OPT_CONSTRUCTOR, OPT_SPECS(SPECS)};

/// A reader of what `feed` puts in: so a parser or a filter becomes a stream that others read. Needs a running loop,
// and no task. Also `StreamReader{limit=, read_timeout=}`.
// @function StreamReader
// @param[opt=65536] limit of a line, in bytes; or a table: `limit`; `read_timeout`: seconds that a read waits for the
// next byte at most, else it raises TimeoutError
// @treturn StreamReader
// @usage
// local reader = asyncio.StreamReader()
// asyncio.get_running_loop():call_later(0.01, function()
//   reader:feed "one\ntwo\nthr"
//   reader:feed "ee\n"
//   reader:feed_eof()
// end)
// for line in reader:lines() do print(line) end
// --> one
// --> two
// --> three
static int reader_new(lua_State *L) {
  asy_options_first(L, 1, &OPTIONS);
  StreamOptions options = {.limit = lua_isnil(L, -1) ? STREAM_LIMIT : (size_t)lua_tointeger(L, -1)};
  if (lua_istable(L, 1)) options = asy_stream_options(L, 1);
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  Stream *s = asy_stream_new_carried(L, loop, options.limit, &FED);
  if (!limits_set(s, &options)) return asy_nomemory(L);
  asy_stream_push_reader_with(L, -1, UV_ERROR);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &readers_key);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, s);
  lua_pop(L, 1);
  stream_disown(s); /* there is nothing to close */
  stream_open_carried(s);
  return 1;
}

static const luaL_Reg functions[] = {{"StreamReader", reader_new}, {NULL, NULL}};

static const luaL_Reg methods[] = {
    {"feed", reader_feed}, {"feed_eof", reader_feed_eof}, {"drain", reader_drain}, {NULL, NULL}};

/* stack: module */
void asy_open_feed(lua_State *L) {
  asy_options_note(L, &OPTIONS);
  asy_newweak(L, "v");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &readers_key);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_READER, "asyncio.StreamReader", methods, NULL);
}
