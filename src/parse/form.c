/*
** form.c - escapes, and what queries and forms are made of: application/x-www-form-urlencoded.
*/
#include <string.h>

#include "http/percent.h"
#include "parse/out.h"
#include "parse/text.h"

#include <lualib.h>

#define MOST_PAIRS 1000

/* Escapes */

/* Pushes it decoded; false: an escape is none, and nothing is pushed. */
static bool push_decoded(lua_State *L, const char *bytes, size_t n, bool plus) {
  luaL_Buffer b;
  size_t length = 0;
  if (!memchr(bytes, '%', n) && !(plus && memchr(bytes, '+', n))) {
    lua_pushlstring(L, bytes, n);
    return true;
  }
  char *to = luaL_buffinitsize(L, &b, n);
  bool fine = http_decode(bytes, n, plus, to, &length);
  luaL_pushresultsize(&b, fine ? length : 0);
  if (!fine) lua_pop(L, 1);
  return fine;
}

static int no_escape(lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "a % is followed by no two hex digits");
  return 2;
}

/// Undoes escapes: `%41` is `A`.
// @function parsers.decode
// @tparam string text
// @treturn ?string nil where an escape is none
// @treturn ?string what is wrong then
static int text_decode(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  return push_decoded(L, text, n, false) ? 1 : no_escape(L);
}

static void check_size(lua_State *L, size_t n, int arg) {
  luaL_argcheck(L, n < (size_t)INT32_MAX, arg, "the text is too long");
}

/// Escapes all but letters, digits and `-._~`.
// @function parsers.encode
// @tparam string text
// @tparam[opt] string keep characters that stay as they are, too
// @treturn string
static int text_encode(lua_State *L) {
  size_t n, kept;
  luaL_Buffer b;
  const char *text = luaL_checklstring(L, 1, &n), *keep = luaL_optlstring(L, 2, "", &kept);
  check_size(L, n, 1);
  char *to = luaL_buffinitsize(L, &b, 3 * n);
  luaL_pushresultsize(&b, http_encode(text, n, keep, kept, false, to));
  return 1;
}

/* Forms, read */

/* stack: result, ..., name, value → result, ... */
static void add_pair(lua_State *L, int result) {
  lua_pushvalue(L, -2);
  int had = lua_rawget(L, result);
  if (had == LUA_TNIL) {
    lua_pop(L, 1);
    lua_rawset(L, result);
    return;
  }
  if (had != LUA_TTABLE) { /* the second of that name: from now on they are a list */
    lua_createtable(L, 2, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -2);
    lua_rawset(L, result);
  }
  lua_insert(L, -2);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 2);
}

/// Reads a query, or a form of the type application/x-www-form-urlencoded.
// @function parsers.decode_form
// @tparam string text
// @tparam[opt=1000] integer most pairs
// @treturn ?table name → value, or list of values where the name is there more than once; nil where it is no form
// @treturn ?string what is wrong then
static int form_decode(lua_State *L) {
  size_t n;
  const char *at = luaL_checklstring(L, 1, &n), *end = at + n;
  lua_Integer most = luaL_optinteger(L, 2, MOST_PAIRS), pairs = 0;
  lua_settop(L, 1);
  lua_newtable(L);
  while (at < end) {
    const char *amp = memchr(at, '&', (size_t)(end - at)), *to = amp ? amp : end;
    const char *equals = memchr(at, '=', (size_t)(to - at));
    if (to > at) {
      if (++pairs > most) {
        lua_pushnil(L);
        lua_pushliteral(L, "there are too many pairs");
        return 2;
      }
      const char *name_end = equals ? equals : to, *value = equals ? equals + 1 : to;
      if (!push_decoded(L, at, (size_t)(name_end - at), true)) return no_escape(L);
      if (!push_decoded(L, value, (size_t)(to - value), true)) return no_escape(L);
      add_pair(L, 2);
    }
    at = to + 1;
  }
  lua_settop(L, 2);
  return 1;
}

/* Forms, written */

static void add_encoded(lua_State *L, Out *out, int idx) {
  size_t n;
  const char *text = lua_tolstring(L, idx, &n);
  check_size(L, n, 1);
  char *to = out_room(out, 3 * n);
  out->at += http_encode(text, n, "*", 1, true, to);
}

/* The name and the value stand at these places; numbers there become strings. */
static void write_pair(lua_State *L, Out *out, int name, int value) {
  if (lua_type(L, value) == LUA_TBOOLEAN) {
    lua_pushstring(L, lua_toboolean(L, value) ? "true" : "false");
    lua_replace(L, value);
  }
  if (!lua_isstring(L, value))
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "the value of '%s' is no string, number or boolean, but a %s",
                                  lua_tostring(L, name), luaL_typename(L, value)));
  if (out->at != out->start) out_char(out, '&');
  add_encoded(L, out, name);
  out_char(out, '=');
  add_encoded(L, out, value);
}

/* The same for all values, where that is a list. */
static void write_values(lua_State *L, Out *out, int name, int value) {
  if (lua_type(L, value) != LUA_TTABLE) {
    write_pair(L, out, name, value);
    return;
  }
  for (lua_Integer i = 1; lua_rawgeti(L, value, i) != LUA_TNIL; i++, lua_pop(L, 1))
    write_pair(L, out, name, lua_gettop(L));
  lua_pop(L, 1);
}

/* name → value or list, by the names' order, so that the text is the same each time: stack: table, out's slot */
static void write_map(lua_State *L, Out *out) {
  lua_Integer n = 0;
  lua_newtable(L);
  int names = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_argerror(L, 1, lua_pushfstring(L, "a name is a %s", luaL_typename(L, -2)));
    lua_pushvalue(L, -2);
    lua_rawseti(L, names, ++n);
  }
  lua_pushvalue(L, lua_upvalueindex(1)); /* table.sort */
  lua_pushvalue(L, names);
  lua_call(L, 1, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, names, i);
    lua_pushvalue(L, -1);
    lua_rawget(L, 1);
    write_values(L, out, names + 1, names + 2);
    lua_settop(L, names);
  }
}

static void write_list(lua_State *L, Out *out) {
  int pair = lua_gettop(L) + 1;
  for (lua_Integer i = 1; lua_rawgeti(L, 1, i) != LUA_TNIL; i++, lua_settop(L, pair - 1)) {
    if (lua_type(L, pair) != LUA_TTABLE)
      luaL_argerror(L, 1,
                    lua_pushfstring(L, "item %d is no {name, value}, but a %s", (int)i,
                                    luaL_typename(L, pair)));
    lua_rawgeti(L, pair, 1);
    lua_rawgeti(L, pair, 2);
    if (lua_type(L, pair + 1) != LUA_TSTRING)
      luaL_argerror(L, 1, lua_pushfstring(L, "item %d has no name", (int)i));
    write_values(L, out, pair + 1, pair + 2);
  }
  lua_pop(L, 1);
}

/// Makes a query, or a form of the type application/x-www-form-urlencoded.
// @function parsers.encode_form
// @tparam table values name → string, number, boolean or list of them, in the names' order; or a list of `{name, value}`
// @treturn string
static int form_encode(lua_State *L) {
  Out out;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  asy_out_begin(L, &out);
  bool list = lua_rawgeti(L, 1, 1) != LUA_TNIL;
  lua_pop(L, 1);
  if (list)
    write_list(L, &out);
  else
    write_map(L, &out);
  out_push(&out);
  return 1;
}

static const luaL_Reg functions[] = {
    {"decode", text_decode}, {"encode", text_encode}, {"decode_form", form_decode}, {NULL, NULL}};

void asy_form_open(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 0);
  lua_getfield(L, -1, "sort");
  lua_remove(L, -2);
  lua_pushcclosure(L, form_encode, 1);
  lua_setfield(L, -2, "encode_form");
}
