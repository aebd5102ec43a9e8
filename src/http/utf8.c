/*
** utf8.c - UTF-8 that comes in pieces.
*/
#include "http/utf8.h"

#include <string.h>

#define LOW 0x80
#define HIGH 0xBF

/* The first byte of a character. Its second is narrowed where a longer form, a surrogate or what lies beyond U+10FFFF
** would begin: RFC 3629's table. */
static bool begin(Utf8 *u, uint8_t c) {
  *u = (Utf8){.low = LOW, .high = HIGH};
  if (c < 0x80) return true;
  if (c < 0xC2 || c > 0xF4) return false;
  u->need = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
  if (c == 0xE0) u->low = 0xA0;
  if (c == 0xED) u->high = 0x9F;
  if (c == 0xF0) u->low = 0x90;
  if (c == 0xF4) u->high = 0x8F;
  return true;
}

static bool go_on(Utf8 *u, uint8_t c) {
  if (c < u->low || c > u->high) return false;
  *u = (Utf8){.need = u->need - 1, .low = LOW, .high = HIGH};
  return true;
}

/* Most of what people send: eight at a time. */
static size_t ascii_run(const char *bytes, size_t n) {
  size_t i = 0;
  for (uint64_t eight; i + sizeof eight <= n; i += sizeof eight) {
    memcpy(&eight, bytes + i, sizeof eight);
    if (eight & 0x8080808080808080U) break;
  }
  return i;
}

bool utf8_feed(Utf8 *u, const char *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (!u->need && (i += ascii_run(bytes + i, n - i)) == n) break;
    uint8_t c = (uint8_t)bytes[i];
    if (!(u->need ? go_on(u, c) : begin(u, c))) return false;
  }
  return true;
}

bool utf8_is_text(const char *bytes, size_t n) {
  Utf8 u = {0};
  return utf8_feed(&u, bytes, n) && utf8_is_whole(&u);
}
