/*
** head.c - a head becomes a table.
*/
#include "parse/head.h"

#include <string.h>

#include "http/chars.h"
#include "http/percent.h"
#include "parse/headers.h"

/* Puts what is at the top there; raw, so that a class may be there already. */
static void set(lua_State *L, int into, const char *key) {
  lua_pushstring(L, key);
  lua_insert(L, -2);
  lua_rawset(L, into);
}

static void set_true(lua_State *L, int into, const char *key) {
  lua_pushstring(L, key);
  lua_pushboolean(L, 1);
  lua_rawset(L, into);
}

static void set_text(lua_State *L, int into, const char *key, const char *bytes, size_t n) {
  lua_pushstring(L, key);
  lua_pushlstring(L, bytes, n);
  lua_rawset(L, into);
}

/* What requests and answers have in common. stack: ..., headers → ... */
static void set_message(lua_State *L, const HttpConnection *h, const HttpSaid *said, int into) {
  bool body = h->phase != PHASE_OVER && h->phase != PHASE_HEAD;
  const Headers *headers = lua_touserdata(L, -1);
  if (!h->start.old && said->asks_upgrade && said->upgrade >= 0) {
    HttpSpan value = headers->fields[said->upgrade].value;
    set_text(L, into, "upgrade", headers_bytes(headers) + value.from, value.n);
  }
  set(L, into, "headers");
  lua_pushliteral(L, "version");
  lua_pushstring(L, h->start.old ? "1.0" : "1.1");
  lua_rawset(L, into);
  lua_pushliteral(L, "body");
  lua_pushboolean(L, body);
  lua_rawset(L, into);
  lua_pushliteral(L, "keep_alive");
  lua_pushboolean(L, h->keep);
  lua_rawset(L, into);
  if (said->chunked) set_true(L, into, "chunked");
  if (said->has_length) {
    lua_pushliteral(L, "content_length");
    lua_pushinteger(L, (lua_Integer)said->length);
    lua_rawset(L, into);
  }
}

/* Pushes it decoded; false: it can't be, and nothing is pushed. */
static bool push_path(lua_State *L, const char *path, size_t n) {
  if (!memchr(path, '%', n)) {
    lua_pushlstring(L, path, n);
    return true;
  }
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, n);
  size_t length;
  bool fine = http_decode(path, n, false, to, &length) && !memchr(to, 0, length);
  luaL_pushresultsize(&b, fine ? length : 0);
  if (!fine) lua_pop(L, 1);
  return fine;
}

static bool set_path(lua_State *L, const HttpStart *s, const char *target, int into) {
  if (s->form == FORM_AUTHORITY) return true;
  if (!s->path.n) { /* of an absolute one */
    lua_pushliteral(L, "/");
  } else if (!push_path(L, target + s->path.from, s->path.n))
    return false;
  set(L, into, "path");
  if (s->has_query) set_text(L, into, "query_string", target + s->query.from, s->query.n);
  return true;
}

static void set_host(lua_State *L, const HttpStart *s, const char *target, const HttpSaid *said,
                     int into) {
  const Headers *headers = lua_touserdata(L, -1);
  if (s->has_host) {
    set_text(L, into, "host", target + s->host.from, s->host.n);
  } else if (said->host >= 0) {
    HttpSpan host = headers->fields[said->host].value;
    set_text(L, into, "host", headers_bytes(headers) + host.from, host.n);
  }
  if (s->form == FORM_ABSOLUTE) {
    lua_pushstring(L, s->is_https ? "https" : "http");
    set(L, into, "scheme");
  }
}

static bool push_request(lua_State *L, HttpConnection *h, const char *bytes, const HttpSaid *said,
                         int into) {
  const HttpStart *s = &h->start;
  const char *target = bytes + s->target.from;
  if (!set_path(L, s, target, into))
    return http_refuse(h, 400, "the path has an escape that is none", h->seen);
  set_text(L, into, "method", bytes, s->method.n);
  set_text(L, into, "target", target, s->target.n);
  set_host(L, s, target, said, into);
  if (said->expects_continue && !s->old) set_true(L, into, "expect_continue");
  set_message(L, h, said, into);
  lua_pushliteral(L, "request");
  return true;
}

static bool push_response(lua_State *L, const HttpConnection *h, const char *bytes,
                          const HttpSaid *said, int into) {
  lua_pushliteral(L, "status");
  lua_pushinteger(L, h->start.status);
  lua_rawset(L, into);
  set_text(L, into, "reason", bytes + h->start.reason.from, h->start.reason.n);
  set_message(L, h, said, into);
  if (h->start.status < 200 && h->start.status != 101)
    lua_pushliteral(L, "informational");
  else
    lua_pushliteral(L, "response");
  return true;
}

bool asy_head_push(lua_State *L, HttpConnection *h, const char *bytes, const HttpSaid *said,
                   int into) {
  bool fine =
      h->server ? push_request(L, h, bytes, said, into) : push_response(L, h, bytes, said, into);
  if (fine) lua_pushvalue(L, into);
  return fine;
}
