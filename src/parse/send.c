/*
** send.c - an HTTP connection's object: the bytes of what is said to the peer.
*/
#include "parse/send.h"

#include <string.h>

#include "http/chars.h"
#include "http/url.h"
#include "parse/fields.h"
#include "parse/state.h"

#define TOGETHER 16384 /* bytes of a body that are copied behind its head, to be one string */
#define COPIED 4096    /* likewise a chunk's */

static const char CRLF[2] = "\r\n";

static char *put(char *to, const char *bytes, size_t n) {
  memcpy(to, bytes, n);
  return to + n;
}

/* A wrong call; nothing has changed. */
static void check_plan(lua_State *L, const char *wrong) {
  if (wrong) luaL_error(L, "%s", wrong);
}

/* The bytes are there, and the state may move now: unless a finaliser has used the connection, while they were made. */
static HttpConnection *to_move(lua_State *L, Connection *c, unsigned changes) {
  if (c->changes != changes) luaL_error(L, "a finaliser has used the connection meanwhile");
  c->changes++;
  return &c->http;
}

/* Lines */

static void add_number_line(Out *out, uint64_t n) {
  out_text(out, "Content-Length: ");
  out_number(out, n);
  out_text(out, "\r\n");
}

static void add_connection(Out *out, const HttpPlan *p) {
  if (!p->says_close && !p->says_keep && !p->says_upgrade) return;
  out_text(out, "Connection: ");
  if (p->says_close) out_text(out, "close");
  if (p->says_keep) out_text(out, "keep-alive");
  if (p->says_upgrade && (p->says_close || p->says_keep)) out_text(out, ", ");
  if (p->says_upgrade) out_text(out, "upgrade");
  out_text(out, "\r\n");
}

/* What is said of the body and of the connection, and the empty line. */
static void end_head(Out *out, const HttpPlan *p) {
  if (p->says_length) add_number_line(out, p->length);
  if (p->says_chunked) out_text(out, "Transfer-Encoding: chunked\r\n");
  add_connection(out, p);
  out_text(out, "\r\n");
}

static void add_status(lua_State *L, Out *out, int status, int reason) {
  size_t n;
  if (status == 200 && lua_isnoneornil(L, reason)) {
    out_text(out, "HTTP/1.1 200 OK\r\n");
    return;
  }
  out_text(out, "HTTP/1.1 ");
  out_number(out, (uint64_t)status);
  out_char(out, ' ');
  if (!lua_isnoneornil(L, reason)) {
    const char *text = luaL_checklstring(L, reason, &n);
    luaL_argcheck(L, http_is_value(text, n), reason, "the reason has a control character");
    out_add(out, text, n);
  } else if (http_reason(status)) {
    out_add(out, http_reason(status), strlen(http_reason(status)));
  }
  out_text(out, "\r\n");
}

static void add_date(lua_State *L, Fields *f, int arg) {
  size_t n;
  if (lua_isnoneornil(L, arg)) return;
  const char *date = luaL_checklstring(L, arg, &n);
  luaL_argcheck(L, http_is_value(date, n), arg, "the date has a control character");
  if (f->has_date) return;
  out_text(f->out, "Date: ");
  out_add(f->out, date, n);
  out_text(f->out, "\r\n");
}

static int check_status(lua_State *L, int arg, int least, int most) {
  lua_Integer status = luaL_checkinteger(L, arg);
  if (status < least || status > most)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "a status from %d to %d expected, got %I", least, most,
                                  (LUAI_UACINT)status));
  return (int)status;
}

/* Bodies */

typedef struct Body {
  const char *bytes; /* NULL: it comes later, or there is none */
  size_t n;
} Body;

/* nil or false, true, a string, or how long it will be. */
static Body check_body(lua_State *L, int arg, HttpPlan *p) {
  Body body = {NULL, 0};
  switch (lua_type(L, arg)) {
  case LUA_TSTRING:
    body.bytes = lua_tolstring(L, arg, &body.n);
    p->body = p->has_length = true;
    p->length = body.n;
    break;
  case LUA_TNUMBER: {
    lua_Integer n = luaL_checkinteger(L, arg);
    luaL_argcheck(L, n >= 0 && (uint64_t)n <= HTTP_MOST, arg,
                  "a length can't be negative, and is 2^53 at most");
    p->body = p->has_length = true;
    p->length = (uint64_t)n;
    break;
  }
  case LUA_TBOOLEAN: p->body = lua_toboolean(L, arg); break;
  case LUA_TNIL:
  case LUA_TNONE: break;
  default: luaL_typeerror(L, arg, "string, length or boolean");
  }
  return body;
}

/* Pushes the head, with the body behind it, or the body, too. */
static int push_message(lua_State *L, Out *out, const HttpPlan *p, Body body, int arg) {
  bool sent = body.bytes && body.n && !p->drops;
  if (sent && body.n <= TOGETHER) out_add(out, body.bytes, body.n);
  out_push(out);
  if (!sent || body.n <= TOGETHER) return 1;
  lua_pushvalue(L, arg);
  return 2;
}

/* A body that was given is sent. */
static void sent_body(HttpConnection *h, Body body) {
  if (!body.bytes || h->ours != HTTP_SEND_BODY) return;
  http_sent(h, body.n);
  http_sent_end(h);
}

/* Methods */

/// The head of an answer, with its body where that is a short string.
//
// The grammar's own fields are added: Content-Length, Transfer-Encoding and Connection. By hand the first must agree with
// the body, the second is refused, and `Connection = "close"` ends the connection with this answer.
// @function HTTPConnection:response
// @tparam integer status 200 to 999
// @tparam[opt] table|Headers headers name → value or list of values, or a list of `{name, value}`
// @tparam[opt] string|integer|boolean body all of it; how long it will be; true: unknown. Without one the answer has none
// @tparam[opt] string date the field Date, unless the headers have one
// @tparam[opt] string reason in place of the status's own
// @treturn string to be sent
// @treturn ?string the body, likewise, where it is too long to be copied
static int send_response(lua_State *L) {
  Connection *c = asy_connection_check(L);
  Out out;
  lua_settop(L, 6);
  Fields f = {.out = &out};
  f.plan.status = (uint16_t)check_status(L, 2, 200, 999);
  Body body = check_body(L, 4, &f.plan);
  asy_out_begin(L, &out);
  add_status(L, &out, f.plan.status, 6);
  asy_fields_add(L, 3, &f);
  add_date(L, &f, 5);
  unsigned changes = c->changes;
  check_plan(L, http_plan_response(&c->http, &f.plan));
  end_head(&out, &f.plan);
  int n = push_message(L, &out, &f.plan, body, 4);
  http_sent_response(to_move(L, c, changes), &f.plan);
  sent_body(&c->http, body);
  return n;
}

/// An answer before the final one, as 100 or 103; for an HTTP/1.0 client, which knows none, nothing.
// @function HTTPConnection:informational
// @tparam integer status 100 to 199, but not 101
// @tparam[opt] table|Headers headers
// @treturn string to be sent
static int send_informational(lua_State *L) {
  Connection *c = asy_connection_check(L);
  Out out;
  lua_settop(L, 4);
  int status = check_status(L, 2, 100, 199);
  luaL_argcheck(L, status != 101, 2, "101 is upgrade's");
  Fields f = {.out = &out, .what = FIELDS_TRAILERS};
  asy_out_begin(L, &out);
  add_status(L, &out, status, 4);
  asy_fields_add(L, 3, &f);
  check_plan(L, http_may_inform(&c->http));
  out_text(&out, "\r\n");
  if (c->http.old)
    lua_pushliteral(L, "");
  else
    out_push(&out);
  return 1;
}

/// The answer to a request for another protocol, 101; what comes after it belongs to that, see `rest`.
// @function HTTPConnection:upgrade
// @tparam string protocol
// @tparam[opt] table|Headers headers
// @tparam[opt] string date
// @treturn string to be sent
static int send_upgrade(lua_State *L) {
  Connection *c = asy_connection_check(L);
  Out out;
  size_t n;
  lua_settop(L, 5);
  const char *protocol = luaL_checklstring(L, 2, &n);
  luaL_argcheck(L, n && http_is_value(protocol, n), 2, "this is no protocol");
  Fields f = {.out = &out};
  asy_out_begin(L, &out);
  add_status(L, &out, 101, 5);
  asy_fields_add(L, 3, &f);
  luaL_argcheck(L, !f.plan.by_hand && !f.plan.upgrade && !f.plan.close, 3,
                "Content-Length, Upgrade and close can't stand here");
  add_date(L, &f, 4);
  unsigned changes = c->changes;
  check_plan(L, http_may_upgrade(&c->http));
  out_text(&out, "Upgrade: ");
  out_add(&out, protocol, n);
  out_text(&out, "\r\nConnection: upgrade\r\n\r\n");
  out_push(&out);
  http_switch(to_move(L, c, changes));
  return 1;
}

/* The first line of a request: it is what a server would take. */
static void add_request_line(lua_State *L, Out *out) {
  HttpStart start;
  HttpFault fault;
  size_t n, length;
  const char *method = luaL_checklstring(L, 2, &n), *target = luaL_checklstring(L, 3, &length);
  luaL_argcheck(L, http_is_token(method, n), 2, "a method is a token");
  luaL_argcheck(L, length <= INT32_MAX && n <= INT32_MAX, 3, "this is too long");
  out_add(out, method, n);
  out_char(out, ' ');
  out_add(out, target, length);
  out_text(out, " HTTP/1.1");
  bool fine = http_request_line(out->start, out_length(out), &start, &fault);
  luaL_argcheck(L, fine, 3, fine ? NULL : fault.what);
  out_text(out, "\r\n");
}

/* Puts it before all other fields, which begin at that place, unless it is one of them. */
static void insert_host(lua_State *L, Fields *f, size_t place, int arg) {
  static const char name[6] = "Host: ";
  Out *out = f->out;
  size_t n;
  if (f->has_host) return;
  luaL_argcheck(L, !lua_isnil(L, arg), arg, "there is no host, here or in the fields");
  const char *host = luaL_checklstring(L, arg, &n);
  luaL_argcheck(L, http_is_host(host, n), arg, "this is no host");
  size_t behind = out_length(out) - place, all = n + sizeof name + sizeof CRLF;
  out_room(out, all);
  char *to = out->start + place;
  memmove(to + all, to, behind);
  put(put(put(to, name, sizeof name), host, n), CRLF, sizeof CRLF);
  out->at += all;
}

/// The head of a request, with its body where that is a short string; the same holds as for `response`.
// @function HTTPConnection:request
// @tparam string method
// @tparam string target a path, with its query; of a proxy's requests the URL, of CONNECT host and port
// @tparam ?string host the field Host; nil: it is among the headers, where it comes first
// @tparam[opt] table|Headers headers
// @tparam[opt] string|integer|boolean body
// @treturn string to be sent
// @treturn ?string the body, likewise, where it is too long to be copied
static int send_request(lua_State *L) {
  Connection *c = asy_connection_check(L);
  Out out;
  size_t n;
  lua_settop(L, 6);
  Fields f = {.out = &out};
  Body body = check_body(L, 6, &f.plan);
  asy_out_begin(L, &out);
  add_request_line(L, &out);
  size_t place = out_length(&out);
  asy_fields_add(L, 5, &f);
  insert_host(L, &f, place, 4);
  const char *method = lua_tolstring(L, 2, &n);
  unsigned changes = c->changes;
  check_plan(L, http_plan_request(&c->http, method, n, &f.plan));
  end_head(&out, &f.plan);
  int count = push_message(L, &out, &f.plan, body, 6);
  http_sent_request(to_move(L, c, changes), method, n, &f.plan);
  sent_body(&c->http, body);
  return count;
}

/// A piece of a body that a head has announced, framed as that said.
// @function HTTPConnection:data
// @tparam string piece
// @treturn ?string to be sent; nothing for an empty piece
// @treturn ?string of a long one, which isn't copied: the piece
// @treturn ?string and what stands after it
static int send_data(lua_State *L) {
  Connection *c = asy_connection_check(L);
  char head[20];
  size_t n, at = sizeof head;
  const char *piece = luaL_checklstring(L, 2, &n);
  lua_settop(L, 2);
  unsigned changes = c->changes;
  check_plan(L, http_may_send(&c->http, n));
  if (!n) return 0;
  if (c->http.sending != FRAMING_CHUNKED) {
    http_sent(to_move(L, c, changes), n);
    return 1;
  }
  head[--at] = '\n';
  head[--at] = '\r';
  for (size_t left = n; left; left >>= 4) head[--at] = "0123456789abcdef"[left & 15];
  if (n > COPIED) {
    lua_pushlstring(L, head + at, sizeof head - at);
    lua_insert(L, 2);
    lua_pushliteral(L, "\r\n");
    to_move(L, c, changes);
    return 3;
  }
  char all[sizeof head + COPIED + 2], *to = all;
  memcpy(to, head + at, sizeof head - at);
  to += sizeof head - at;
  put(put(to, piece, n), CRLF, sizeof CRLF);
  lua_pushlstring(L, all, (size_t)(to - all) + n + 2);
  to_move(L, c, changes);
  return 1;
}

/// The end of such a body.
// @function HTTPConnection:last
// @tparam[opt] table|Headers trailers for a body of unknown length; else they are left out
// @treturn string to be sent; it may be empty
static int send_last(lua_State *L) {
  Connection *c = asy_connection_check(L);
  Out out;
  Fields f = {.out = &out, .what = FIELDS_TRAILERS};
  lua_settop(L, 2);
  asy_out_begin(L, &out);
  out_text(&out, "0\r\n");
  asy_fields_add(L, 2, &f);
  unsigned changes = c->changes;
  check_plan(L, http_may_end(&c->http));
  if (c->http.sending == FRAMING_CHUNKED) {
    out_text(&out, "\r\n");
    out_push(&out);
  } else {
    lua_pushliteral(L, "");
  }
  http_sent_end(to_move(L, c, changes));
  return 1;
}

const luaL_Reg asy_connection_sends[] = {{"response", send_response},
                                         {"informational", send_informational},
                                         {"upgrade", send_upgrade},
                                         {"request", send_request},
                                         {"data", send_data},
                                         {"last", send_last},
                                         {NULL, NULL}};
