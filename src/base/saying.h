/*
** saying.h - a sentence of limited length, and where in it a value stands: `.list[3]["a key"]`. Allocates nothing.
*/
#ifndef ASY_SAYING_H
#define ASY_SAYING_H

#include "base/asy.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

ASY_HIDDEN

typedef struct Saying {
  size_t length;
  char text[500];
} Saying;

/* Adds to the text; what is too long for it ends with dots. */
static inline void say(Saying *s, const char *fmt, ...) {
  va_list ap;
  size_t room = sizeof s->text - s->length;
  if (room == 1) return;
  va_start(ap, fmt);
  int n = vsnprintf(s->text + s->length, room, fmt, ap); // NOLINT(clang-analyzer-valist.Uninitialized)
  va_end(ap);
  if (n >= 0 && (size_t)n < room) {
    s->length += (size_t)n;
  } else {
    s->length = sizeof s->text - 1;
    memcpy(s->text + s->length - 3, "...", 4);
  }
}

static inline bool saying_is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static inline bool saying_is_identifier(const char *s, size_t length) {
  if (!length || !saying_is_letter(s[0])) return false;
  for (size_t i = 1; i < length; i++)
    if (!saying_is_letter(s[i]) && !(s[i] >= '0' && s[i] <= '9')) return false;
  return true;
}

static inline void say_string_key(Saying *s, const char *key, size_t length) {
  if (saying_is_identifier(key, length)) {
    say(s, ".%s", key);
    return;
  }
  say(s, "[\"");
  for (size_t i = 0; i < length && i < 40; i++) {
    unsigned char c = (unsigned char)key[i];
    if (c == '"' || c == '\\')
      say(s, "\\%c", c);
    else if (c < 32 || c == 127)
      say(s, "\\%03d", c);
    else
      say(s, "%c", c);
  }
  say(s, length > 40 ? "...\"]" : "\"]");
}

/* A key on Lua's stack. Converts nothing there. */
static inline void asy_say_key(Saying *s, lua_State *L, int key) {
  size_t length;
  switch (lua_type(L, key)) {
  case LUA_TSTRING: {
    const char *text = lua_tolstring(L, key, &length);
    say_string_key(s, text, length);
    break;
  }
  case LUA_TNUMBER:
    if (lua_isinteger(L, key))
      say(s, "[" LUA_INTEGER_FMT "]", (LUAI_UACINT)lua_tointeger(L, key));
    else
      say(s, "[" LUA_NUMBER_FMT "]", (LUAI_UACNUMBER)lua_tonumber(L, key));
    break;
  case LUA_TBOOLEAN: say(s, "[%s]", lua_toboolean(L, key) ? "true" : "false"); break;
  default: say(s, "[%s]", lua_typename(L, lua_type(L, key)));
  }
}

/* "a" or "an": a userdata */
static inline const char *say_article(const char *noun) {
  return noun[0] && strchr("aeioAEIO", noun[0]) ? "an" : "a";
}

ASY_HIDDEN_END

#endif
