/*
** parser.c - RESP's events, a token at a time.
*/
#include "resp/resp.h"

#include <string.h>

/* The token at hand: its first byte says what it is, then comes the rest of its line. */
typedef struct Token {
  const char *bytes;
  size_t n;     /* that there are */
  size_t line;  /* bytes of the line behind the first byte, without its end */
  size_t used;
} Token;

static const char WRONG_LENGTH[] = "a length that is no number";

void resp_init(RespParser *p) {
  p->depth = 0;
  p->owing = false;
  p->searched = 0;
  p->why = NULL;
}

static RespStatus wrong(RespParser *p, const char *why) {
  p->why = why;
  return RESP_WRONG;
}

/* Digits, without needless zeros. most: what it may be */
static bool read_digits(const char *s, size_t n, uint64_t most, uint64_t *value) {
  if (n == 0 || (n > 1 && *s == '0')) return false;
  uint64_t sum = 0;
  for (size_t i = 0; i < n; i++) {
    unsigned digit = (unsigned)(unsigned char)s[i] - '0';
    if (digit > 9 || sum > (most - digit) / 10) return false;
    sum = sum * 10 + digit;
  }
  *value = sum;
  return true;
}

static bool read_integer(const char *s, size_t n, int64_t *value) {
  bool minus = n > 0 && *s == '-', sign = minus || (n > 0 && *s == '+');
  uint64_t sum;
  if (!read_digits(s + sign, n - sign, (uint64_t)INT64_MAX + minus, &sum)) return false;
  *value = minus ? (int64_t)(0 - sum) : (int64_t)sum;
  return true;
}

static size_t count_digits(const char *s, size_t n) {
  size_t i = 0;
  while (i < n && s[i] >= '0' && s[i] <= '9') i++;
  return i;
}

static bool is(const char *s, size_t n, const char *word) { return strlen(word) == n && memcmp(s, word, n) == 0; }

/* [+-] digits [. digits] [e [+-] digits], or what is no number but a double */
static bool is_double(const char *s, size_t n) {
  if (is(s, n, "inf") || is(s, n, "-inf") || is(s, n, "nan") || is(s, n, "-nan")) return true;
  size_t i = n > 0 && (*s == '-' || *s == '+'), digits = count_digits(s + i, n - i);
  if (digits == 0) return false;
  i += digits;
  if (i < n && s[i] == '.') {
    digits = count_digits(s + i + 1, n - i - 1);
    if (digits == 0) return false;
    i += 1 + digits;
  }
  if (i < n && (s[i] == 'e' || s[i] == 'E')) {
    i++;
    if (i < n && (s[i] == '-' || s[i] == '+')) i++;
    digits = count_digits(s + i, n - i);
    if (digits == 0) return false;
    i += digits;
  }
  return i == n;
}

static bool is_big(const char *s, size_t n) {
  size_t sign = n > 0 && (*s == '-' || *s == '+');
  return n > sign && count_digits(s + sign, n - sign) == n - sign;
}

/* Finds the end of the line that the token begins with. */
static RespStatus find_line(RespParser *p, Token *t) {
  size_t from = 1 + p->searched;
  const char *lf = t->n > from ? memchr(t->bytes + from, '\n', t->n - from) : NULL;
  size_t line = lf ? (size_t)(lf - t->bytes) - 1 : t->n - 1; /* with its CR */
  if (line > RESP_LINE + 1) return wrong(p, "a line without an end");
  if (!lf) {
    p->searched = line;
    return RESP_MORE;
  }
  p->searched = 0;
  if (line == 0 || lf[-1] != '\r') return wrong(p, "a line that ends without CR");
  t->line = line - 1;
  t->used = line + 2;
  if (memchr(t->bytes + 1, '\r', t->line)) return wrong(p, "a CR within a line");
  return RESP_EVENT;
}

/* A string that is announced by its length: RESP_MORE leaves all of it for the next time. */
static RespStatus read_bulk(RespParser *p, Token *t, RespEvent *e) {
  uint64_t length;
  if (t->bytes[0] == '$' && is(t->bytes + 1, t->line, "-1")) {
    e->kind = RESP_NULL;
    return RESP_EVENT;
  }
  if (is(t->bytes + 1, t->line, "?")) return wrong(p, "a streamed string: its length is not known, which no Redis sends");
  if (!read_digits(t->bytes + 1, t->line, (uint64_t)INT64_MAX / 4, &length)) return wrong(p, WRONG_LENGTH);
  size_t rest = t->n - t->used, n = (size_t)length;
  const char *end = t->bytes + t->used + n;
  if (rest > n && *end != '\r') return wrong(p, "a string that goes on behind its length");
  if (rest < n + 2) return RESP_MORE;
  if (end[1] != '\n') return wrong(p, "a string that goes on behind its length");
  e->at = t->used;
  e->length = n;
  t->used += n + 2;
  if (t->bytes[0] == '=') { /* what kind of text it is stands before it: "txt:" */
    if (n < 4 || t->bytes[e->at + 3] != ':') return wrong(p, "a verbatim string that doesn't say what it is");
    e->at += 4;
    e->length -= 4;
  }
  return RESP_EVENT;
}

static RespStatus read_container(RespParser *p, const Token *t, RespEvent *e) {
  uint64_t count;
  bool pairs = e->kind >= RESP_MAP;
  if (t->bytes[0] == '*' && is(t->bytes + 1, t->line, "-1")) {
    e->kind = RESP_NULL;
    return RESP_EVENT;
  }
  if (is(t->bytes + 1, t->line, "?")) return wrong(p, "a streamed list: its length is not known, which no Redis sends");
  if (!read_digits(t->bytes + 1, t->line, (uint64_t)INT64_MAX / 4, &count)) return wrong(p, WRONG_LENGTH);
  if (p->depth == RESP_DEPTH) return wrong(p, "more than 128 lists within each other");
  if (e->kind == RESP_PUSH && p->depth > 0) return wrong(p, "a push within a reply");
  if (e->kind == RESP_PUSH && count == 0) return wrong(p, "a push of nothing");
  e->integer = (int64_t)(pairs ? 2 * count : count);
  return RESP_EVENT;
}

/* What the token on a whole line is. */
static RespStatus read_token(RespParser *p, Token *t, RespEvent *e) {
  const char *s = t->bytes + 1;
  e->at = 1;
  e->length = t->line;
  switch (t->bytes[0]) {
  case '+': e->kind = RESP_STRING; return RESP_EVENT;
  case '-': e->kind = RESP_ERROR; return RESP_EVENT;
  case ':':
    e->kind = RESP_INTEGER;
    return read_integer(s, t->line, &e->integer) ? RESP_EVENT : wrong(p, "an integer that is none");
  case '$':
  case '=': e->kind = RESP_STRING; return read_bulk(p, t, e);
  case '!': e->kind = RESP_ERROR; return read_bulk(p, t, e);
  case ',': e->kind = RESP_DOUBLE; return is_double(s, t->line) ? RESP_EVENT : wrong(p, "a double that is none");
  case '(': e->kind = RESP_BIG; return is_big(s, t->line) ? RESP_EVENT : wrong(p, "a big number that is none");
  case '_': e->kind = RESP_NULL; return t->line == 0 ? RESP_EVENT : wrong(p, "a null with something in it");
  case '#':
    e->kind = RESP_BOOLEAN;
    e->integer = t->line == 1 && *s == 't';
    return t->line == 1 && (*s == 't' || *s == 'f') ? RESP_EVENT : wrong(p, "a boolean that is none");
  case '*': e->kind = RESP_LIST; break;
  case '~': e->kind = RESP_SET; break;
  case '>': e->kind = RESP_PUSH; break;
  case '%': e->kind = RESP_MAP; break;
  default: e->kind = RESP_ATTRIBUTE; break;
  }
  return read_container(p, t, e);
}

/* A value begins: where it stands. An attribute takes no place. */
static RespStatus place(RespParser *p, RespEvent *e) {
  e->depth = p->depth;
  if (e->kind == RESP_PUSH && p->owing) return wrong(p, "an attribute of a push");
  if (p->depth > 0) {
    RespFrame *f = &p->frames[p->depth - 1];
    e->parent = (RespKind)f->kind;
    e->index = f->done + 1;
    if (e->kind != RESP_ATTRIBUTE) f->done++;
  }
  p->owing = false;
  if (e->kind >= RESP_LIST)
    p->frames[p->depth++] = (RespFrame){.count = (uint64_t)e->integer, .kind = (uint8_t)e->kind};
  return RESP_EVENT;
}

/* All values of the innermost container have come. */
static RespStatus end_container(RespParser *p, RespEvent *e) {
  RespFrame f = p->frames[--p->depth];
  e->kind = (RespKind)f.kind;
  e->end = true;
  e->depth = p->depth;
  p->owing = f.kind == RESP_ATTRIBUTE;
  return RESP_EVENT;
}

RespStatus resp_next(RespParser *p, const char *bytes, size_t n, size_t *used, RespEvent *e) {
  *used = 0;
  if (p->why) return RESP_WRONG;
  *e = (RespEvent){.kind = RESP_NULL};
  if (p->depth > 0 && !p->owing && p->frames[p->depth - 1].done == p->frames[p->depth - 1].count)
    return end_container(p, e);
  if (n == 0) return RESP_MORE;
  if (!strchr("+-:$=!,(_#*~>%|", bytes[0]) || !bytes[0]) return wrong(p, "a byte that no value begins with");
  Token t = {.bytes = bytes, .n = n};
  RespStatus status = find_line(p, &t);
  if (status == RESP_EVENT) status = read_token(p, &t, e);
  if (status == RESP_EVENT) status = place(p, e);
  if (status == RESP_EVENT) *used = t.used;
  return status;
}
