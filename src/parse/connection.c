/*
** connection.c - an HTTP connection's object: what is fed, and the events that are in it.
*/
#include "parse/connection.h"

#include <string.h>

#include "parse/head.h"
#include "parse/headers.h"
#include "parse/send.h"
#include "parse/state.h"

#define FIRST_BLOCK 512

/* What is fed */

static void drop_input(lua_State *L, Connection *c) {
  if (!c->bytes) return;
  lua_pushnil(L);
  lua_setiuservalue(L, 1, 1);
  c->bytes = NULL;
  c->block = NULL;
  c->n = 0;
}

static bool has_room(const Connection *c, size_t n) {
  return c->block && c->size - (size_t)(c->bytes - c->block) - c->n >= n;
}

/* Puts what is there into a block, with room for n bytes more. */
static void move_input(lua_State *L, Connection *c, size_t n) {
  unsigned changes = c->changes;
  size_t size = 2 * (c->n + n);
  if (size < FIRST_BLOCK) size = FIRST_BLOCK;
  char *block = lua_newuserdatauv(L, size, 0);
  if (c->changes != changes) {
    lua_pop(L, 1);
    return;
  }
  memcpy(block, c->bytes, c->n);
  lua_setiuservalue(L, 1, 1); /* the old one is behind us */
  c->bytes = c->block = block;
  c->size = size;
}

/* Takes the string that is the second argument: as it is, or behind those bytes that are there. */
static void take(lua_State *L, Connection *c) {
  size_t n;
  const char *bytes = luaL_checklstring(L, 2, &n);
  luaL_argcheck(L, n, 2, "no bytes; the peer's end is feed_eof's");
  luaL_argcheck(L, !c->http.ended, 2, "the peer has ended");
  while (c->n && !has_room(c, n)) move_input(L, c, n);
  c->changes++;
  if (c->n) {
    memcpy(c->block + (c->bytes - c->block) + c->n, bytes, n);
    c->n += n;
    return;
  }
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 1, 1);
  c->bytes = bytes;
  c->block = NULL;
  c->n = n;
}

/* The event has been made: so much was used, and this is the state. */
static void commit(lua_State *L, Connection *c, const HttpConnection *h, size_t used) {
  c->http = *h;
  c->changes++;
  if (used) c->bytes += used;
  c->n -= used;
  if (!c->n) drop_input(L, c);
}

/* Events */

static int push_fault(lua_State *L, const HttpConnection *h) {
  lua_pushliteral(L, "error");
  lua_pushinteger(L, h->fault.status);
  lua_pushstring(L, h->fault.what);
  lua_pushinteger(L, (lua_Integer)h->fault.at);
  lua_pushboolean(L, h->fault.partial);
  return 5;
}

/* stack: connection, bytes or nil, into or nil */
static int push_head(lua_State *L, HttpConnection *h, const HttpFound *found) {
  HttpSaid said;
  if (lua_isnil(L, 3)) {
    lua_createtable(L, 0, 16);
    lua_replace(L, 3);
  }
  Headers *headers = asy_headers_new(L, http_count(h), found->n);
  char *bytes = headers_bytes(headers);
  memcpy(bytes, found->data, found->n);
  if (!http_read_head(h, bytes, found->n, headers->fields, &said)) return push_fault(L, h);
  return asy_head_push(L, h, bytes, &said, 3) ? 2 : push_fault(L, h);
}

static int push_trailers(lua_State *L, HttpConnection *h, const HttpFound *found) {
  lua_pushliteral(L, "end");
  Headers *headers = asy_headers_new(L, http_count(h), found->n);
  memcpy(headers_bytes(headers), found->data, found->n);
  return http_read_trailers(h, headers_bytes(headers), found->n, headers->fields)
             ? 2
             : push_fault(L, h);
}

/* A string that was fed, when it is nothing but a piece of the body. stack: connection, bytes or nil, into, input */
static int push_data(lua_State *L, const HttpFound *found) {
  size_t whole;
  lua_pushliteral(L, "data");
  if (lua_type(L, 4) == LUA_TSTRING && lua_tolstring(L, 4, &whole) == found->data &&
      whole == found->n)
    lua_pushvalue(L, 4);
  else
    lua_pushlstring(L, found->data, found->n);
  return 2;
}

static int push_event(lua_State *L, HttpConnection *h, HttpEvent event, const HttpFound *found) {
  switch (event) {
  case HTTP_HEAD: return push_head(L, h, found);
  case HTTP_DATA: return push_data(L, found);
  case HTTP_TRAILERS: return push_trailers(L, h, found);
  case HTTP_END: lua_pushliteral(L, "end"); return 1;
  case HTTP_PAUSED: lua_pushliteral(L, "paused"); return 1;
  case HTTP_CLOSE: lua_pushliteral(L, "closed"); return 1;
  case HTTP_FAULT: return push_fault(L, h);
  default: lua_pushnil(L); return 1;
  }
}

/* All or nothing: when memory runs out, the next call finds the same event; and where a finaliser has used the connection
** meanwhile, this is about what it has left. stack: connection, bytes or nil, into */
static int next_event(lua_State *L, Connection *c) {
  for (;;) {
    HttpFound found;
    HttpConnection h = c->http;
    unsigned changes = c->changes;
    lua_settop(L, 3);
    lua_getiuservalue(L, 1, 1); /* what is read stays, whatever happens to the connection */
    HttpEvent event = http_read(&h, c->bytes ? c->bytes : "", c->n, &found);
    int n = push_event(L, &h, event, &found);
    if (c->changes != changes) continue;
    commit(L, c, &h, found.used);
    return n;
  }
}

static void check_into(lua_State *L, int arg) {
  if (!lua_isnoneornil(L, arg)) luaL_checktype(L, arg, LUA_TTABLE);
}

/* Methods */

/// Gives bytes that have come from the peer, and returns what `next` would. A string is looked at where it is; only a head
// or a line that isn't whole yet is copied.
// @function HTTPConnection:feed
// @tparam string bytes at least one
// @tparam[opt] table into what a head is put into: a new table when there is none
// @return an event, as `next`
static int connection_feed(lua_State *L) {
  Connection *c = asy_connection_check(L);
  check_into(L, 3);
  lua_settop(L, 3);
  take(L, c);
  return next_event(L, c);
}

/// The next event in what was fed:
//
// - `nil`: there is none without more bytes;
// - `"request"` or `"response"`, and the table with its head; `"informational"`: an answer that is not the final one;
// - `"data"` and a piece of the body; `"end"` and perhaps its trailers (Headers): both only after a head whose `body` is true;
// - `"paused"`: the message is complete, and the next isn't looked at before `next_cycle`;
// - `"closed"`: the peer has ended, between messages;
// - `"error"`, the status that a server answers, what is wrong, at which byte of all, and whether the peer has ended too
//   early. It is final.
//
// A head has `version` (`"1.1"` or `"1.0"`), `headers`, `body`, `keep_alive`, and, where they are there, `content_length`,
// `chunked`, `upgrade`. A request's has `method`, `target` as it was sent, `path` decoded, `query_string`, `host`, `scheme`
// of an absolute target, `expect_continue`; an answer's has `status` and `reason`.
// @function HTTPConnection:next
// @tparam[opt] table into what a head is put into
// @return the event and what belongs to it
static int connection_next(lua_State *L) {
  Connection *c = asy_connection_check(L);
  check_into(L, 2);
  lua_settop(L, 2);
  lua_pushnil(L);
  lua_insert(L, 2);
  return next_event(L, c);
}

/// The peer has ended, in order. Returns what `next` would.
// @function HTTPConnection:feed_eof
// @tparam[opt] table into what a head is put into
// @return an event, as `next`
static int connection_feed_eof(lua_State *L) {
  Connection *c = asy_connection_check(L);
  check_into(L, 2);
  c->http.ended = true;
  c->changes++;
  return connection_next(L);
}

/// Where the two sides are: `"idle"`, `"send_response"`, `"send_body"`, `"done"`, `"must_close"`, `"closed"`,
// `"might_switch_protocol"`, `"switched_protocol"` or `"error"`; they are those of Python's h11.
// @function HTTPConnection:states
// @treturn string ours
// @treturn string theirs
static int connection_states(lua_State *L) {
  const Connection *c = asy_connection_check(L);
  lua_pushstring(L, http_state_names[c->http.ours]);
  lua_pushstring(L, http_state_names[c->http.theirs]);
  return 2;
}

/// Begins the next exchange, when both sides are done with this one.
// @function HTTPConnection:next_cycle
// @treturn boolean false: there is none, the connection is to be closed
// @raise an error when one of them isn't done
static int connection_next_cycle(lua_State *L) {
  Connection *c = asy_connection_check(L);
  int next = http_next_cycle(&c->http);
  c->changes++;
  if (next < 0)
    return luaL_error(L, "the exchange is not finished: ours is %s, theirs %s",
                      http_state_names[c->http.ours], http_state_names[c->http.theirs]);
  lua_pushboolean(L, next);
  return 1;
}

/// Takes the bytes that were fed and belong to no message: after an upgrade they are the other protocol's.
// @function HTTPConnection:rest
// @treturn string empty where there are none
static int connection_rest(lua_State *L) {
  Connection *c = asy_connection_check(L);
  unsigned changes;
  do {
    changes = c->changes;
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, 1);
    lua_pushlstring(L, c->bytes ? c->bytes : "", c->n);
  } while (c->changes != changes);
  c->changes++;
  c->http.seen += c->n;
  drop_input(L, c);
  return 1;
}

/// How many bytes were fed that have not been looked at.
// @function HTTPConnection:pending
// @treturn integer
static int connection_pending(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)asy_connection_check(L)->n);
  return 1;
}

/// This exchange is the last one; a head that is sent from now on says so.
// @function HTTPConnection:must_close
static int connection_must_close(lua_State *L) {
  Connection *c = asy_connection_check(L);
  http_must_close(&c->http);
  c->changes++;
  return 0;
}

static int connection__tostring(lua_State *L) {
  const Connection *c = asy_connection_check(L);
  lua_pushfstring(L, "<HTTPConnection %s ours=%s theirs=%s>", c->http.server ? "server" : "client",
                  http_state_names[c->http.ours], http_state_names[c->http.theirs]);
  return 1;
}

/// One HTTP/1.1 connection, as its server or its client sees it, without input and output: bytes that came are fed, and give
// events; what is to be sent is returned as bytes. `asyncio.parsers.http` makes one.
// @type HTTPConnection
// @usage
// local client = asyncio.parsers.http { role = "client" }
// local server = asyncio.parsers.http { role = "server" }
// local event, request = server:feed(client:request("GET", "/tea?kind=green", "localhost"))
// print(event, request.method, request.path, request.query_string) --> request  GET  /tea  kind=green
// print(client:feed(server:response(200, nil, "hot")), client:next()) --> response  data  hot

static const luaL_Reg receives[] = {{"feed", connection_feed},
                                    {"next", connection_next},
                                    {"feed_eof", connection_feed_eof},
                                    {"states", connection_states},
                                    {"next_cycle", connection_next_cycle},
                                    {"rest", connection_rest},
                                    {"pending", connection_pending},
                                    {"must_close", connection_must_close},
                                    {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__tostring", connection__tostring}, {NULL, NULL}};

/* A number of the table's that the Lua layer has looked at. */
static uint32_t limit(lua_State *L, const char *key, uint32_t fallback) {
  lua_Integer n = lua_getfield(L, 1, key) == LUA_TNIL ? fallback : lua_tointeger(L, -1);
  lua_pop(L, 1);
  return n < 1 || n > INT32_MAX / 2 ? fallback : (uint32_t)n;
}

/* stack: options, which asyncio/parsers.lua has checked */
static int connection_new(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "role");
  const char *role = lua_tostring(L, -1);
  HttpLimits limits = {.chunk_line = limit(L, "max_chunk_line", 4096)};
  limits.head.first = limit(L, "max_line", 8190);
  limits.head.other = limits.trailers.other = limit(L, "max_field_size", 8190);
  limits.head.total = limit(L, "max_header_size", 16384);
  limits.head.fields = limits.trailers.fields = limit(L, "max_fields", 128);
  limits.trailers.total = limit(L, "max_trailer_size", 4096);
  Connection *c = lua_newuserdatauv(L, sizeof *c, 1);
  memset(c, 0, sizeof *c);
  http_init(&c->http, !role || strcmp(role, "client") != 0, &limits);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_setmetatable(L, -2);
  return 1;
}

/* stack: ..., class; adds the functions to the table at the top but one, as closures over the class */
static void add_methods(lua_State *L, const luaL_Reg *functions, bool more) {
  lua_pushvalue(L, -1 - more);
  luaL_setfuncs(L, functions, 1);
}

void asy_connection_open(lua_State *L) {
  luaL_newmetatable(L, CONNECTION_CLASS);
  add_methods(L, metamethods, false);
  lua_createtable(L, 0, 24);
  add_methods(L, receives, true);
  add_methods(L, asy_connection_sends, true);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "methods");
  lua_setfield(L, -2, "__index");
  lua_pushcclosure(L, connection_new, 1);
  lua_setfield(L, -2, "http");
}
