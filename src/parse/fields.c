/*
** fields.c - see fields.h.
*/
#include "parse/fields.h"

#include "http/chars.h"
#include "http/url.h"
#include "parse/headers.h"

#define BY_HAND "'%s' is not set by hand: the call says how the message is framed"

/* One field */

typedef struct Text {
  const char *at;
  size_t n;
} Text;

static int fail(lua_State *L, int arg, const char *format, const char *name) {
  return luaL_argerror(L, arg, lua_pushfstring(L, format, name));
}

static void add_line(Fields *f, Text name, Text value) {
  char *to = out_room(f->out, name.n + value.n + 4);
  memcpy(to, name.at, name.n);
  to += name.n;
  *to++ = ':';
  *to++ = ' ';
  memcpy(to, value.at, value.n);
  to += value.n;
  *to++ = '\r';
  *to++ = '\n';
  f->out->at = to;
  f->n++;
}

static void note_length(lua_State *L, int arg, Fields *f, Text value) {
  uint64_t length;
  if (!http_number(value.at, value.n, &length)) fail(L, arg, "'%s' is no number", "Content-Length");
  if (f->plan.by_hand && f->plan.hand != length)
    fail(L, arg, "'%s' is there twice", "Content-Length");
  f->plan.by_hand = true;
  f->plan.hand = length;
}

static void note_connection(lua_State *L, int arg, Fields *f, Text value) {
  const char *member;
  size_t at = 0, length;
  while (http_member(value.at, value.n, &at, &member, &length)) {
    if (HTTP_SAME(member, length, "close"))
      f->plan.close = true;
    else if (length && !HTTP_SAME(member, length, "keep-alive") &&
             !HTTP_SAME(member, length, "upgrade"))
      fail(L, arg, "'%s' can say close, keep-alive and upgrade", "Connection");
  }
}

/* False: it is no line. */
static bool note(lua_State *L, int arg, Fields *f, HttpName name, Text value) {
  f->special = true;
  if (name == NAME_TRANSFER_ENCODING) return fail(L, arg, BY_HAND, "Transfer-Encoding");
  if (f->what == FIELDS_TRAILERS &&
      (name == NAME_CONTENT_LENGTH || name == NAME_CONNECTION || name == NAME_HOST))
    return fail(L, arg, "'%s' can't be a trailer",
                name == NAME_HOST         ? "Host"
                : name == NAME_CONNECTION ? "Connection"
                                          : "Content-Length");
  switch (name) {
  case NAME_CONTENT_LENGTH: note_length(L, arg, f, value); break;
  case NAME_CONNECTION: note_connection(L, arg, f, value); break;
  case NAME_HOST:
    if (f->has_host) fail(L, arg, "'%s' is there twice", "Host");
    if (!http_is_host(value.at, value.n)) fail(L, arg, "'%s' is no host", "Host");
    f->has_host = true;
    break;
  case NAME_DATE: f->has_date = true; break;
  default: f->plan.upgrade = true; /* Upgrade */
  }
  return f->what == FIELDS_KEPT || (name != NAME_CONTENT_LENGTH && name != NAME_CONNECTION);
}

static void add(lua_State *L, int arg, Fields *f, Text name, Text value) {
  if (!http_is_token(name.at, name.n)) fail(L, arg, "'%s' is no name of a field", name.at);
  if (!http_is_value(value.at, value.n)) {
    lua_pushlstring(L, name.at, name.n);
    fail(L, arg, "the value of '%s' has a control character", lua_tostring(L, -1));
  }
  HttpName known = http_name(name.at, name.n);
  bool plain = known == NAME_OTHER || known >= NAME_SET_COOKIE || known == NAME_EXPECT;
  if (plain || note(L, arg, f, known, value)) add_line(f, name, value);
}

/* Tables */

/* The name and the value stand at these places of the stack; a number there becomes a string. */
static void add_values(lua_State *L, int arg, Fields *f, int name, int value) {
  Text field, text;
  field.at = lua_tolstring(L, name, &field.n);
  if (lua_type(L, value) == LUA_TSTRING || lua_isinteger(L, value)) {
    text.at = lua_tolstring(L, value, &text.n);
    add(L, arg, f, field, text);
  } else {
    lua_pushfstring(L, "the value of '%s' is no string and no integer, but a %s", field.at,
                    lua_isnumber(L, value) ? "float" : luaL_typename(L, value));
    luaL_argerror(L, arg, lua_tostring(L, -1));
  }
}

/* name → value, or a list of values */
static void add_map(lua_State *L, int arg, Fields *f) {
  for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {
    int value = lua_gettop(L);
    if (lua_type(L, value - 1) != LUA_TSTRING)
      luaL_argerror(L, arg,
                    lua_pushfstring(L, "a field's name is a %s", luaL_typename(L, value - 1)));
    if (lua_type(L, value) != LUA_TTABLE) {
      add_values(L, arg, f, value - 1, value);
      continue;
    }
    for (lua_Integer i = 1; lua_rawgeti(L, value, i) != LUA_TNIL; i++, lua_pop(L, 1))
      add_values(L, arg, f, value - 1, value + 1);
    lua_pop(L, 1);
  }
}

/* {name, value}, … */
static void add_list(lua_State *L, int arg, Fields *f) {
  int pair = lua_gettop(L) + 1;
  for (lua_Integer i = 1; lua_rawgeti(L, arg, i) != LUA_TNIL; i++, lua_settop(L, pair - 1)) {
    if (lua_type(L, pair) != LUA_TTABLE)
      luaL_argerror(L, arg,
                    lua_pushfstring(L, "item %d is no {name, value}, but a %s", (int)i,
                                    luaL_typename(L, pair)));
    lua_rawgeti(L, pair, 1);
    lua_rawgeti(L, pair, 2);
    if (lua_type(L, pair + 1) != LUA_TSTRING)
      luaL_argerror(L, arg, lua_pushfstring(L, "item %d has no name", (int)i));
    add_values(L, arg, f, pair + 1, pair + 2);
  }
  lua_pop(L, 1);
}

static void add_headers(lua_State *L, int arg, Fields *f, const Headers *h) {
  const char *bytes = headers_bytes(h);
  if (h->plain) {
    out_add(f->out, bytes, h->size);
    f->n += h->n;
    return;
  }
  for (int i = 0; i < h->n; i++) {
    const HttpField *field = &h->fields[i];
    add(L, arg, f, (Text){bytes + field->name.from, field->name.n},
        (Text){bytes + field->value.from, field->value.n});
  }
}

void asy_fields_add(lua_State *L, int arg, Fields *f) {
  if (lua_isnoneornil(L, arg)) return;
  const Headers *h = asy_headers_test(L, arg);
  if (h) {
    add_headers(L, arg, f, h);
    return;
  }
  luaL_checktype(L, arg, LUA_TTABLE);
  luaL_checkstack(L, 8, NULL);
  bool list = lua_rawgeti(L, arg, 1) != LUA_TNIL;
  lua_pop(L, 1);
  if (list)
    add_list(L, arg, f);
  else
    add_map(L, arg, f);
}

/// Makes Headers of a table. They are looked at once, and may be sent as often as one likes then, for less than the table.
// @function parsers.headers
// @tparam table|Headers fields name → value or list of values, or a list of `{name, value}`; values are strings and integers
// @treturn Headers
// @raise an error where a name is none, or a value has a control character
static int fields_headers(lua_State *L) {
  Out out;
  HttpFault fault;
  Fields f = {.out = &out, .what = FIELDS_KEPT};
  luaL_checkany(L, 1);
  asy_out_begin(L, &out);
  asy_fields_add(L, 1, &f);
  luaL_argcheck(L, out_length(&out) <= INT32_MAX, 1, "the fields are too large");
  Headers *h = asy_headers_new(L, f.n, out_length(&out));
  memcpy(headers_bytes(h), out.start, h->size);
  h->plain = !f.special;
  http_split(headers_bytes(h), 0, h->fields, h->n, &fault); /* they are well formed */
  return 1;
}

void asy_fields_open(lua_State *L) {
  lua_pushcfunction(L, fields_headers);
  lua_setfield(L, -2, "headers");
}
