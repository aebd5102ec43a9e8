/*
** frames.c - a WebSocket connection's object: what is fed, the messages that are in it, and frames as strings.
*/
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "http/frame.h"
#include "net/grammar.h"
#include "parse/self.h"
#include "parse/text.h"

#define CLASS "asyncio.WebSocketConnection"

#define FEW 2048 /* bytes that are unmasked on the C stack */
#define AT_ONCE                                                                                    \
  65536 /* bytes that are looked at in one go: what a message's block is larger than needed by */
#define KEPT 16384     /* a block of up to this size waits for the next message */
#define TOGETHER 16384 /* a frame of up to this size is one string */
#define MASKS 16       /* asked of the system in one go */
#define MOST_MESSAGE ((lua_Integer)1 << 40)

enum { UV_INPUT = 1, UV_BLOCK };

typedef struct Frames {
  Grammar grammar; /* first: that is how a stream knows it */
  FrameReader reader;
  const char
      *bytes; /* these are still to be read: the user value UV_INPUT, a string that was fed */
  size_t n;
  char *block; /* the message under way: the user value UV_BLOCK, or NULL */
  size_t size, have;
  uint64_t steps; /* changes with each */
  bool server;
  uint8_t left; /* of the masks */
  uint8_t masks[MASKS][4];
} Frames;

static Frames *frames_check(lua_State *L) { return asy_self(L, CLASS); }

/* What is fed, and the message under way. Whatever allocates may run a finaliser, which may use the same connection. */

static void check_untouched(lua_State *L, const Frames *f, uint64_t steps, const GrammarInput *in) {
  if (f->steps != steps || (in->untouched && !in->untouched(in)))
    luaL_error(L, "a finaliser has used the WebSocketConnection while it was in use");
}

static void set_input(lua_State *L, Frames *f) {
  f->steps++;
  f->bytes = lua_tolstring(L, -1, &f->n);
  lua_setiuservalue(L, 1, UV_INPUT);
}

/* stack: connection */
static void use(lua_State *L, Frames *f, size_t used) {
  f->n -= used;
  if (f->n) {
    f->bytes += used;
  } else if (f->bytes) {
    lua_pushnil(L);
    lua_setiuservalue(L, 1, UV_INPUT);
    f->bytes = NULL;
  }
}

/* Room for n bytes behind those of the message. idx: the connection, as in all that follows */
static char *room(lua_State *L, Frames *f, int idx, size_t n, const GrammarInput *in) {
  if (f->size - f->have < n) {
    size_t size = f->have + n < f->size * 2 ? f->size * 2 : f->have + n;
    uint64_t steps = f->steps;
    char *block = lua_newuserdatauv(L, size, 0);
    check_untouched(L, f, steps, in);
    if (f->have) memcpy(block, f->block, f->have);
    lua_setiuservalue(L, idx, UV_BLOCK);
    f->block = block;
    f->size = size;
  }
  return f->block + f->have;
}

static void end_message(lua_State *L, Frames *f, int idx) {
  f->have = 0;
  if (f->size <= KEPT) return;
  lua_pushnil(L);
  lua_setiuservalue(L, idx, UV_BLOCK);
  f->block = NULL;
  f->size = 0;
}

/* Events */

static GrammarEvent event_of(FrameKind kind) { return kind == FRAME_TEXT ? GRAMMAR_TEXT : GRAMMAR_BINARY; }

/* What is neither: pushes its name and what belongs to it. */
static int push_other(lua_State *L, const FrameReader *r, FrameEvent event,
                      const FrameFound *found) {
  if (event == FRAME_CONTROL) {
    lua_pushstring(L, found->kind == FRAME_PING ? "ping" : "pong");
    lua_pushlstring(L, r->control, found->length);
    return 2;
  }
  lua_pushstring(L, event == FRAME_CLOSED ? "close" : "error");
  lua_pushinteger(L, r->code);
  if (event == FRAME_CLOSED)
    lua_pushlstring(L, r->control + 2, found->length);
  else
    lua_pushstring(L, r->wrong);
  return 3;
}

/* A piece of a message; the last one ends it, and pushes it. `small`: it is not in the block yet. */
static GrammarEvent read_piece(lua_State *L, Frames *f, int idx, const char *piece, bool small,
                               const FrameFound *found, const GrammarInput *in) {
  uint64_t steps = f->steps;
  if (!found->final) {
    if (small) memcpy(room(L, f, idx, found->length, in), piece, found->length);
    f->have += found->length;
    return GRAMMAR_WANTS;
  }
  if (f->have)
    lua_pushlstring(L, f->block, f->have + found->length);
  else
    lua_pushlstring(L, piece, found->length);
  check_untouched(L, f, steps, in);
  end_message(L, f, idx);
  return event_of(found->kind);
}

/* The message under way, or what else the bytes say. All or nothing: when memory runs out, the next call finds the same
** bytes. */
static GrammarEvent read_step(lua_State *L, Frames *f, int idx, GrammarInput *in) {
  char few[FEW];
  FrameFound found;
  FrameReader r = f->reader;
  GrammarEvent result = GRAMMAR_WANTS;
  uint64_t steps = f->steps;
  size_t n = in->n < AT_ONCE ? in->n : AT_ONCE;
  bool small = !f->have && n <= FEW;
  char *to = small ? few : room(L, f, idx, n, in);
  *few = 0; /* cppcheck does not see that it is written to by way of `to` */
  FrameEvent event = frame_read(&r, in->bytes, n, to, &found);
  if (event == FRAME_DATA) {
    result = read_piece(L, f, idx, to, small, &found, in);
    in->pushed = result != GRAMMAR_WANTS;
  } else if (event != FRAME_WANTS) {
    in->pushed = push_other(L, &r, event, &found);
    check_untouched(L, f, steps, in);
    result = GRAMMAR_OTHER;
  }
  f->reader = r;
  f->steps++;
  in->used = found.used;
  return result;
}

/* One step: the next event, or none yet. Most messages are short, and there at once. */
static GrammarEvent read_event(lua_State *L, Grammar *g, int idx, GrammarInput *in) {
  Frames *f = (Frames *)g;
  char few[FEW];
  FrameFound found;
  uint64_t steps = f->steps;
  *few = 0;
  if (!frame_read_whole(&f->reader, in->bytes, in->n, few, sizeof few, &found)) return read_step(L, f, idx, in);
  lua_pushlstring(L, few, found.length);
  check_untouched(L, f, steps, in);
  f->steps++;
  in->used = found.used;
  in->pushed = 1;
  return event_of(found.kind);
}

/* stack: connection */
static int next_event(lua_State *L, Frames *f) {
  GrammarInput in;
  GrammarEvent event;
  do {
    in = (GrammarInput){.bytes = f->bytes ? f->bytes : "", .n = f->n};
    event = read_event(L, &f->grammar, 1, &in);
    use(L, f, in.used);
  } while (event == GRAMMAR_WANTS && f->n);
  if (event == GRAMMAR_OTHER) return in.pushed;
  if (event == GRAMMAR_WANTS) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushstring(L, event == GRAMMAR_TEXT ? "text" : "binary");
  lua_insert(L, -2);
  return 2;
}

/// Gives bytes that have come from the peer, and returns what `next` would.
// @function WebSocketConnection:feed
// @tparam string bytes
// @return an event, as `next`
static int frames_feed(lua_State *L) {
  Frames *f = frames_check(L);
  luaL_checktype(L, 2, LUA_TSTRING);
  lua_settop(L, 2);
  if (f->n) {
    uint64_t steps = f->steps;
    lua_pushlstring(L, f->bytes, f->n);
    lua_insert(L, 2);
    lua_concat(L, 2);
    check_untouched(L, f, steps, &(GrammarInput){0});
  }
  set_input(L, f);
  return next_event(L, f);
}

/// The next event in what was fed:
//
// - `nil`: there is none without more bytes;
// - `"text"` or `"binary"`, and a whole message;
// - `"ping"` or `"pong"`, and what it carries;
// - `"close"`, its code (1005: it has none) and its reason: nothing is read any more;
// - `"error"`, the code with which to close, and what is wrong. It is final.
// @function WebSocketConnection:next
// @return the event and what belongs to it
static int frames_next(lua_State *L) {
  Frames *f = frames_check(L);
  lua_settop(L, 1);
  return next_event(L, f);
}

/// How many bytes of a message that is not whole yet have come.
// @function WebSocketConnection:pending
// @treturn integer
static int frames_pending(lua_State *L) {
  const Frames *f = frames_check(L);
  size_t n = f->have + f->n;
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

/* Written */

/* A client's masks cannot be foreseen (RFC 6455 10.3). */
static const uint8_t *next_mask(lua_State *L, Frames *f) {
  if (!f->left) {
    if (getentropy(f->masks, sizeof f->masks)) luaL_error(L, "the system gives no random numbers");
    f->left = MASKS;
  }
  return f->masks[--f->left];
}

/* Writes a message's frame to `to`; 0: it is no text. */
static size_t write_message(lua_State *L, Grammar *g, GrammarEvent event, const char *data, size_t n, char *to) {
  Frames *f = (Frames *)g;
  if (event == GRAMMAR_TEXT && !utf8_is_text(data, n)) return 0;
  const uint8_t *mask = f->server ? NULL : next_mask(L, f);
  FrameKind kind = event == GRAMMAR_TEXT ? FRAME_TEXT : FRAME_BINARY;
  size_t first = frame_write_head((uint8_t *)to, kind, n, mask);
  if (mask)
    frame_mask(to + first, data, n, mask, 0);
  else
    memcpy(to + first, data, n);
  return first + n;
}

static const GrammarOps OPS = {GRAMMAR_ABI, FRAME_MOST_HEAD, read_event, write_message};

/* _grammar() → what a stream knows of it (net/grammar.h) */
static int frames_grammar(lua_State *L) {
  lua_pushlightuserdata(L, &frames_check(L)->grammar);
  return 1;
}

/* The frame's payload stands at that place of the stack. */
static int push_frame(lua_State *L, Frames *f, FrameKind kind, int idx) {
  size_t n;
  const char *data = lua_tolstring(L, idx, &n);
  const uint8_t *mask = f->server ? NULL : next_mask(L, f);
  uint8_t head[FRAME_MOST_HEAD];
  size_t first = frame_write_head(head, kind, n, mask);
  if (f->server && n > TOGETHER) {
    lua_pushlstring(L, (char *)head, first);
    lua_pushvalue(L, idx);
    return 2;
  }
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, first + n);
  memcpy(to, head, first);
  if (mask)
    frame_mask(to + first, data, n, mask, 0);
  else
    memcpy(to + first, data, n);
  luaL_pushresultsize(&b, first + n);
  return 1;
}

/// A frame that carries a whole message, a Ping or a Pong, as bytes to be sent: one string, or, of a long message, two.
// @function WebSocketConnection:frame
// @tparam string kind `"text"` (UTF-8), `"binary"`, `"ping"` or `"pong"` (up to 125 bytes)
// @tparam string data
// @treturn ?string its bytes; nil: a text is not UTF-8
// @treturn ?string the others
static int frames_frame(lua_State *L) {
  static const char *const NAMES[] = {"text", "binary", "ping", "pong", NULL};
  static const FrameKind KINDS[] = {FRAME_TEXT, FRAME_BINARY, FRAME_PING, FRAME_PONG};
  Frames *f = frames_check(L);
  FrameKind kind = KINDS[luaL_checkoption(L, 2, NULL, NAMES)];
  size_t n;
  const char *data = luaL_checklstring(L, 3, &n);
  luaL_argcheck(L, kind < FRAME_CLOSE || n <= FRAME_MOST_CONTROL, 3,
                "a Ping or a Pong carries up to 125 bytes");
  if (kind == FRAME_TEXT && !utf8_is_text(data, n)) {
    lua_pushnil(L);
    return 1;
  }
  return push_frame(L, f, kind, 3);
}

/// A Close frame, as bytes to be sent.
// @function WebSocketConnection:close
// @tparam[opt] integer code 1000 to 1003, 1007 to 1014, 3000 to 4999; none without one
// @tparam[opt] string reason UTF-8, up to 123 bytes
// @treturn string
static int frames_close(lua_State *L) {
  Frames *f = frames_check(L);
  lua_Integer code = luaL_optinteger(L, 2, 0);
  size_t n;
  const char *reason = luaL_optlstring(L, 3, "", &n);
  luaL_argcheck(
      L, lua_isnoneornil(L, 2) || (code > 0 && code <= 4999 && frame_may_say((unsigned)code)), 2,
      "a code to close with is one of 1000 to 1003, 1007 to 1014, 3000 to 4999");
  luaL_argcheck(L, n <= FRAME_MOST_CONTROL - 2, 3, "a reason has up to 123 bytes");
  luaL_argcheck(L, utf8_is_text(reason, n), 3, "a reason must be UTF-8");
  luaL_argcheck(L, code || !n, 3, "a reason needs a code");
  char payload[FRAME_MOST_CONTROL] = {(char)(code >> 8), (char)code};
  memcpy(payload + 2, reason, n);
  lua_pushlstring(L, payload, code ? n + 2 : 0);
  return push_frame(L, f, FRAME_CLOSE, lua_gettop(L));
}

static int frames__tostring(lua_State *L) {
  const Frames *f = frames_check(L);
  lua_pushfstring(L, "<WebSocketConnection %s%s>", f->server ? "server" : "client",
                  f->reader.wrong    ? " failed"
                  : f->reader.closed ? " closed"
                                     : "");
  return 1;
}

/* stack: options, which asyncio/parsers.lua has checked */
static int frames_new(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "role");
  bool server = lua_isstring(L, -1) && !strcmp(lua_tostring(L, -1), "server");
  lua_Integer most = lua_getfield(L, 1, "max_message") == LUA_TNIL ? 1 << 20 : lua_tointeger(L, -1);
  luaL_argcheck(L, most > 0 && most <= MOST_MESSAGE, 1, "max_message is out of range");
  Frames *f = lua_newuserdatauv(L, sizeof *f, UV_BLOCK);
  memset(f, 0, sizeof *f);
  frame_reader_init(&f->reader, server, (uint64_t)most);
  f->server = server;
  f->grammar.ops = &OPS;
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_setmetatable(L, -2);
  return 1;
}

/* The opening handshake */

/// A new value for `Sec-WebSocket-Key`, of the system's random numbers.
// @function parsers.websocket_key
// @treturn string
static int frames_key(lua_State *L) {
  uint8_t random[16];
  char key[24];
  if (getentropy(random, sizeof random)) return luaL_error(L, "the system gives no random numbers");
  frame_key(key, random);
  lua_pushlstring(L, key, sizeof key);
  return 1;
}

/// What `Sec-WebSocket-Accept` must be for a key.
// @function parsers.websocket_accept
// @tparam string key
// @treturn ?string nil: it is no key, which is the base64 of 16 bytes
static int frames_accept(lua_State *L) {
  size_t n;
  const char *key = luaL_checklstring(L, 1, &n);
  char accept[28];
  if (!frame_is_key(key, n)) {
    lua_pushnil(L);
    return 1;
  }
  frame_accept(accept, key, n);
  lua_pushlstring(L, accept, sizeof accept);
  return 1;
}

/// Whether a Close frame may carry that code.
// @function parsers.websocket_may_say
// @tparam integer code
// @treturn boolean
static int frames_may_say(lua_State *L) {
  lua_Integer code = luaL_checkinteger(L, 1);
  lua_pushboolean(L, code >= 1000 && code <= 4999 && frame_may_say((unsigned)code));
  return 1;
}

/// One WebSocket connection after its opening handshake, as its server or its client sees it, without input and output.
// `asyncio.parsers.websocket` makes one.
// @type WebSocketConnection
// @usage
// local client = asyncio.parsers.websocket { role = "client" }
// local server = asyncio.parsers.websocket { role = "server" }
// print(server:feed(client:frame("text", "hello"))) --> text  hello
// print(client:feed(server:close(1000, "bye"))) --> close  1000  bye

static const luaL_Reg methods[] = {{"feed", frames_feed},       {"next", frames_next},
                                   {"pending", frames_pending}, {"frame", frames_frame},
                                   {"close", frames_close},     {"_grammar", frames_grammar},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__tostring", frames__tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"websocket_key", frames_key},
                                     {"websocket_accept", frames_accept},
                                     {"websocket_may_say", frames_may_say},
                                     {NULL, NULL}};

void asy_frames_open(lua_State *L) {
  luaL_newmetatable(L, CLASS);
  lua_pushvalue(L, -1);
  luaL_setfuncs(L, metamethods, 1);
  lua_createtable(L, 0, 8);
  lua_pushvalue(L, -2);
  luaL_setfuncs(L, methods, 1);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "methods");
  lua_setfield(L, -2, "__index");
  lua_pushcclosure(L, frames_new, 1);
  lua_setfield(L, -2, "websocket");
  luaL_setfuncs(L, functions, 0);
}
