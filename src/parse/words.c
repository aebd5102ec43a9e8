/*
** words.c - dates, statuses' words, tokens.
*/
#include <time.h>

#include "http/chars.h"
#include "http/connection.h"
#include "http/date.h"
#include "parse/text.h"

/// A moment as HTTP writes it: `"Sun, 06 Nov 1994 08:49:37 GMT"`.
// @function parsers.date
// @tparam integer seconds since 1970
// @treturn string
static int words_date(lua_State *L) {
  char date[HTTP_DATE];
  luaL_argcheck(L, http_write_date(luaL_checkinteger(L, 1), date), 1,
                "the year is not one of 0 to 9999");
  lua_pushlstring(L, date, sizeof date);
  return 1;
}

/// The moment that such a text means, in any of HTTP's three forms.
// @function parsers.parse_date
// @tparam string text
// @treturn ?integer seconds since 1970; nil: it is none
static int words_parse_date(lua_State *L) {
  int64_t seconds;
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  if (http_read_date(text, n, (int64_t)time(NULL), &seconds))
    lua_pushinteger(L, seconds);
  else
    lua_pushnil(L);
  return 1;
}

/// The usual words for a status.
// @function parsers.reason
// @tparam integer status
// @treturn ?string
static int words_reason(lua_State *L) {
  lua_Integer status = luaL_checkinteger(L, 1);
  lua_pushstring(L,
                 status >= 0 && status <= 999 ? http_reason((int)status) : NULL); /* nil for none */
  return 1;
}

/// Whether a text may be the name of a field or a method.
// @function parsers.is_token
// @tparam string text
// @treturn boolean
static int words_is_token(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  lua_pushboolean(L, http_is_token(text, n));
  return 1;
}

static const luaL_Reg functions[] = {{"date", words_date},
                                     {"parse_date", words_parse_date},
                                     {"reason", words_reason},
                                     {"is_token", words_is_token},
                                     {NULL, NULL}};

void asy_words_open(lua_State *L) { luaL_setfuncs(L, functions, 0); }
