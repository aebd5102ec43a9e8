/*
** format.c - reading by formats, as liolib.c does, from a buffer.
*/
#include "files/format.h"

#include <ctype.h>
#include <locale.h>
#include <string.h>

#include "core/argument.h"

#define NUMERAL_MOST 200 /* bytes of a numeral, as in liolib.c */

static size_t rest(const File *f) { return buffer_length(&f->in) - f->used; }
static const char *bytes(const File *f) { return buffer_bytes(&f->in) + f->used; }

/* The next n bytes are read; `more` of them are not pushed. */
static Got push(lua_State *L, File *f, size_t n, size_t more) {
  const char *from = bytes(f);
  f->used += n + more; /* before strangers run */
  f->searched = 0;
  lua_pushlstring(L, from, n);
  return GOT;
}

static Got miss(lua_State *L) {
  lua_pushnil(L);
  return MISSED;
}

static Got need(File *f, size_t want) {
  f->want = want;
  return SHORT;
}

static Got read_line(lua_State *L, File *f, bool with_end) {
  size_t n = rest(f);
  const char *end = n > f->searched ? memchr(bytes(f) + f->searched, '\n', n - f->searched) : NULL;
  if (end) {
    size_t length = (size_t)(end - bytes(f));
    return push(L, f, length + with_end, !with_end);
  }
  f->searched = n;
  if (!f->ended) return need(f, 1);
  return n ? push(L, f, n, 0) : miss(L);
}

static Got read_bytes(lua_State *L, File *f, size_t n) {
  size_t there = rest(f);
  if (there < (n ? n : 1) && !f->ended) return need(f, n ? n - there : 1);
  if (!there) return miss(L);
  return push(L, f, there < n ? there : n, 0);
}

static Got read_all(lua_State *L, File *f) {
  if (!f->ended) return need(f, FILE_ALL);
  return push(L, f, rest(f), 0);
}

/* Numerals: what liolib.c takes for one, character by character */

typedef struct Numeral {
  const File *f;
  size_t i;   /* behind f->used */
  int n;
  bool failed, short_of;
  char text[NUMERAL_MOST + 1];
} Numeral;

static int peek(Numeral *r) {
  if (r->i < rest(r->f)) return (unsigned char)bytes(r->f)[r->i];
  if (!r->f->ended) r->short_of = true;
  return -1;
}

/* Takes the next character; false: there have been too many. */
static bool take(Numeral *r) {
  int c = peek(r);
  if (r->n >= NUMERAL_MOST) {
    r->failed = true;
    return false;
  }
  r->text[r->n++] = (char)c;
  r->i++;
  return true;
}

static bool take_one(Numeral *r, const char *of) {
  int c = peek(r);
  return c > 0 && !r->failed && strchr(of, c) && take(r);
}

static int take_digits(Numeral *r, bool hex) {
  int n = 0;
  for (int c; (c = peek(r)) >= 0 && (hex ? isxdigit(c) : isdigit(c)) && take(r);) n++;
  return n;
}

static void take_numeral(Numeral *r) {
  const char point[] = {lua_getlocaledecpoint(), '.', 0};
  bool hex = false;
  int count = 0;
  take_one(r, "+-");
  if (take_one(r, "0")) {
    if (take_one(r, "xX"))
      hex = true;
    else
      count = 1;
  }
  count += take_digits(r, hex);
  if (take_one(r, point)) count += take_digits(r, hex);
  if (count > 0 && take_one(r, hex ? "pP" : "eE")) {
    take_one(r, "+-");
    take_digits(r, false);
  }
  r->text[r->n] = 0;
}

static Got read_number(lua_State *L, File *f) {
  Numeral r = {.f = f};
  while (rest(f) && isspace((unsigned char)*bytes(f))) f->used++;
  take_numeral(&r);
  if (r.short_of) return need(f, 1);
  f->used += r.i;
  f->searched = 0;
  return !r.failed && lua_stringtonumber(L, r.text) ? GOT : miss(L);
}

/* All of them */

static char letter(lua_State *L, int idx) {
  const char *format = lua_tostring(L, idx);
  return format[*format == '*']; /* Lua 5.2 wrote them so */
}

void asy_format_check(lua_State *L, int first) {
  for (int i = first, top = lua_gettop(L); i <= top; i++) {
    if (lua_type(L, i) == LUA_TNUMBER) {
      int isint;
      lua_Integer n = lua_tointegerx(L, i, &isint);
      asy_argcheck(L, isint, i, "number has no integer representation");
      asy_argcheck(L, n >= 0, i, "number of bytes, 0 or more, expected");
    } else {
      if (lua_type(L, i) != LUA_TSTRING) asy_typeerror(L, i, i, "format", "");
      char c = letter(L, i);
      asy_argcheck(L, c && strchr("nlLa", c), i, "invalid format: \"n\", \"l\", \"L\", \"a\" or a number of bytes expected");
    }
  }
}

Got asy_format_read(lua_State *L, File *f, int idx) {
  if (!idx) return read_line(L, f, false);
  if (lua_type(L, idx) == LUA_TNUMBER) return read_bytes(L, f, (size_t)lua_tointeger(L, idx));
  switch (letter(L, idx)) {
  case 'n': return read_number(L, f);
  case 'a': return read_all(L, f);
  case 'L': return read_line(L, f, true);
  default: return read_line(L, f, false);
  }
}
