/*
** chars.c - see chars.h.
*/
#include "http/chars.h"

#include <string.h>

#define V CHAR_VALUE
#define G (CHAR_VALUE | CHAR_TARGET)
#define T (CHAR_VALUE | CHAR_TARGET | CHAR_TOKEN)
#define U (T | CHAR_UNRESERVED)
#define D (U | CHAR_DIGIT | CHAR_HEX)
#define X (U | CHAR_ALPHA | CHAR_HEX)
#define A (U | CHAR_ALPHA)

const uint8_t http_chars[256] = {
    ['\t'] = V,
    [' '] = V,
    ['!'] = T,
    ['"'] = G,
    ['#'] = V | CHAR_TOKEN,
    ['$'] = T,
    ['%'] = T,
    ['&'] = T,
    ['\''] = T,
    ['('] = G,
    [')'] = G,
    ['*'] = T,
    ['+'] = T,
    [','] = G,
    ['-'] = U,
    ['.'] = U,
    ['/'] = G,
    ['0' ... '9'] = D,
    [':'] = G,
    [';'] = G,
    ['<'] = G,
    ['='] = G,
    ['>'] = G,
    ['?'] = G,
    ['@'] = G,
    ['A' ... 'F'] = X,
    ['G' ... 'Z'] = A,
    ['['] = G,
    ['\\'] = G,
    [']'] = G,
    ['^'] = T,
    ['_'] = U,
    ['`'] = T,
    ['a' ... 'f'] = X,
    ['g' ... 'z'] = A,
    ['{'] = G,
    ['|'] = T,
    ['}'] = G,
    ['~'] = U,
    [0x80 ... 0xff] = V,
};

bool http_is_token(const char *bytes, size_t n) { return n && http_run(bytes, n, CHAR_TOKEN) == n; }

/* Eight at once: the top bit of each byte of the result is set where it is below 0x20, or DEL. What is 0x80 and more may
** be taken for one, too; and HTAB is; so they are looked at singly. */
static uint64_t suspects(uint64_t word) {
  const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
  uint64_t low = word - ones * 0x20;
  uint64_t del = (word ^ ones * 0x7f) - ones;
  return (low | del) & tops;
}

size_t http_value_run(const char *bytes, size_t n) {
  size_t i = 0;
  for (uint64_t word; i + 8 <= n; i += 8) {
    memcpy(&word, bytes + i, 8);
    if (!suspects(word)) continue;
    size_t run = http_run(bytes + i, 8, CHAR_VALUE);
    if (run != 8) return i + run;
  }
  return i + http_run(bytes + i, n - i, CHAR_VALUE);
}

bool http_same(const char *bytes, size_t n, const char *lower, size_t length) {
  if (n != length) return false;
  for (size_t i = 0; i < n; i++)
    if (http_lower(bytes[i]) != lower[i]) return false;
  return true;
}

bool http_alike(const char *a, const char *b, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (a[i] != b[i] && http_lower(a[i]) != http_lower(b[i])) return false;
  return true;
}

bool http_number(const char *bytes, size_t n, uint64_t *out) {
  uint64_t value = 0;
  if (n < 1 || n > 16 || http_run(bytes, n, CHAR_DIGIT) != n) return false;
  for (size_t i = 0; i < n; i++) value = value * 10 + (uint64_t)(bytes[i] - '0');
  *out = value;
  return value <= HTTP_MOST;
}

bool http_member(const char *bytes, size_t n, size_t *at, const char **member, size_t *length) {
  if (*at > n) return false;
  const char *from = bytes + *at, *comma = memchr(from, ',', n - *at);
  const char *to = comma ? comma : bytes + n;
  *at = (size_t)(to - bytes) + 1;
  while (from < to && (*from == ' ' || *from == '\t')) from++;
  while (from < to && (to[-1] == ' ' || to[-1] == '\t')) to--;
  *member = from;
  *length = (size_t)(to - from);
  return true;
}
