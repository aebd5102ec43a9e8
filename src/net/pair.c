/*
** pair.c - asyncio.stream_pair: two streams, each of which carries the other's bytes.
**
** What an end sends lies in the other's buffer at once, as far as there is room; the rest stays with the sender until
** the other reads. An end that closes is forgotten by the other, so neither keeps the other alive.
*/
#include <limits.h>

#include "core/options.h"
#include "net/eof.h"
#include "net/input.h"
#include "net/life.h"
#include "net/limit.h"
#include "net/output.h"
#include "open.h"

/* There is room for what the other end has to send. */
static void wanted(Stream *s) {
  Stream *other = s->uv.carried.other;
  if (other && (output_pending(other) || other->out.ending)) output_schedule(other);
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* What comes after its close is thrown away, as a socket's is. */
static bool put(Stream *to, const char *bytes, size_t n) {
  if (stream_closing(to) || input_put(to, bytes, n)) return true;
  input_failed(to, UV_ENOMEM); /* for the next read, which makes it want more again */
  return false;
}

/* What the other end still has for it will be its last. */
static bool ending(const Stream *s) {
  const Stream *other = s->uv.carried.other;
  return other && (other->out.eof_wanted || stream_closing(other));
}

static int pass(Stream *s, const uv_buf_t *bufs, unsigned n) {
  Stream *to = s->uv.carried.other;
  size_t sent = 0;
  if (!to) return s->in.error == UV_ECONNRESET ? UV_ECONNRESET : UV_EPIPE;
  if (ending(to)) eof_tell(to);
  for (unsigned i = 0; i < n; i++) {
    size_t part = least(bufs[i].len, INT_MAX - sent);
    if (!stream_closing(to)) part = least(part, input_room(to));
    if (!part || !put(to, bufs[i].base, part)) break;
    sent += part;
    if (part < bufs[i].len) break;
  }
  return (int)sent;
}

/* The other end's input is over. */
static void end(Stream *other, int status) {
  if (!other->in.eof) input_failed(other, status);
}

static void shut(Stream *s) {
  if (s->uv.carried.other) end(s->uv.carried.other, UV_EOF);
}

/* To the other end it looks like a connection that was reset, if not all was sent or its user means it so. */
static void closed(Stream *s) {
  Stream *other = s->uv.carried.other;
  if (!other) return;
  s->uv.carried.other = other->uv.carried.other = NULL;
  if (s->uv.carried.left) return;
  end(other, s->out.lost || stream_aborted(s) ? UV_ECONNRESET : UV_EOF);
  if (output_pending(other)) stream_tidy_later(other); /* which fails now */
}

static const Carrier PAIR = {.name = "stream_pair", .wanted = wanted, .send = pass, .shut = shut, .closed = closed,
                             .ending = ending};

static const OptSpec SPECS[] = {STREAM_OPTIONS};
static const Options OPTIONS = {"stream_pair", 1, OPT_NAMED, OPT_SPECS(SPECS)};

/* Pushes an end: reader, writer. */
static Stream *push_end(lua_State *L, Loop *loop, const StreamOptions *options) {
  Stream *s = asy_stream_new_carried(L, loop, options->limit, &PAIR);
  if (!limits_set(s, options)) asy_nomemory(L);
  asy_stream_push_reader(L, -1);
  lua_insert(L, -2);
  return s;
}

/// Two ends of a connection in memory: what is written to one is read from the other. Needs a running loop, and no task.
// Readers and writers are as those of a socket: what a turn writes arrives together, `drain` waits until the other end
// has read, `write_eof` ends one direction, a limit counts for a line; but nobody has an address. After
// `abort` the other end's reads raise ConnectionResetError. A function that serves a socket serves an end likewise,
// and on the virtual clock its timeouts take no time.
// @function stream_pair
// @tparam[opt] table opts of both ends: `limit` (65536), `read_timeout`, `write_timeout`
// @treturn StreamReader one end's
// @treturn StreamWriter
// @treturn StreamReader the other's
// @treturn StreamWriter
// @usage
// local function handler(reader, writer)
//   for line in reader:lines() do writer:send(line:upper(), "\n") end
// end
//
// local reader, writer, its_reader, its_writer = asyncio.stream_pair()
// local server = asyncio.create_task(handler, its_reader, its_writer)
// writer:send "hello\n"
// print((reader:readline():gsub("\n", ""))) --> HELLO
// writer:close()
// asyncio.await(server)
// its_writer:close()
static int stream_pair(lua_State *L) {
  asy_options_check(L, 1, &OPTIONS);
  lua_settop(L, 1);
  StreamOptions options = {.limit = STREAM_LIMIT};
  if (lua_istable(L, 1)) options = asy_stream_options(L, 1);
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  Stream *one = push_end(L, loop, &options), *other = push_end(L, loop, &options);
  one->uv.carried.other = other;
  other->uv.carried.other = one;
  stream_open_carried(one);
  stream_open_carried(other);
  return 4;
}

static const luaL_Reg functions[] = {{"stream_pair", stream_pair}, {NULL, NULL}};

/* stack: module */
void asy_open_pair(lua_State *L) {
  asy_options_note(L, &OPTIONS);
  asy_setfuncs(L, functions);
}
