/*
** write.c - values into MessagePack. Integers and lengths in the shortest form, floats in eight bytes, so that each
** arrives as what it was.
*/
#include "pack/pack.h"

#include <string.h>

/* The lowest bytes of a number, the highest of them first. */
static char *put(char *to, uint8_t mark, uint64_t value, int bytes) {
  *to++ = (char)mark;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) *to++ = (char)(uint8_t)(value >> shift);
  return to;
}

char *pack_put_nil(char *to) { return put(to, 0xC0, 0, 0); }

char *pack_put_boolean(char *to, bool value) { return put(to, value ? 0xC3 : 0xC2, 0, 0); }

static char *put_negative(char *to, int64_t value) {
  uint64_t bits = (uint64_t)value;
  if (value >= -32) return put(to, (uint8_t)bits, 0, 0);
  if (value >= INT8_MIN) return put(to, 0xD0, bits, 1);
  if (value >= INT16_MIN) return put(to, 0xD1, bits, 2);
  if (value >= INT32_MIN) return put(to, 0xD2, bits, 4);
  return put(to, 0xD3, bits, 8);
}

char *pack_put_integer(char *to, int64_t value) {
  uint64_t bits = (uint64_t)value;
  if (value < 0) return put_negative(to, value);
  if (value < 0x80) return put(to, (uint8_t)bits, 0, 0);
  if (value <= UINT8_MAX) return put(to, 0xCC, bits, 1);
  if (value <= UINT16_MAX) return put(to, 0xCD, bits, 2);
  if (value <= UINT32_MAX) return put(to, 0xCE, bits, 4);
  return put(to, 0xCF, bits, 8);
}

char *pack_put_float(char *to, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return put(to, 0xCB, bits, 8);
}

/* A length: in the mark itself, if it is less than `few`; else behind it, in two or four bytes. */
static char *put_length(char *to, size_t length, uint8_t mark, size_t few, uint8_t two, uint8_t four) {
  if (length < few) return put(to, (uint8_t)(mark | length), 0, 0);
  return length <= UINT16_MAX ? put(to, two, length, 2) : put(to, four, length, 4);
}

char *pack_put_string(char *to, size_t length, bool text) {
  if (length <= UINT8_MAX && (!text || length >= 32)) return put(to, text ? 0xD9 : 0xC4, length, 1);
  return text ? put_length(to, length, 0xA0, 32, 0xDA, 0xDB) : put_length(to, length, 0, 0, 0xC5, 0xC6);
}

char *pack_put_list(char *to, size_t values) { return put_length(to, values, 0x90, 16, 0xDC, 0xDD); }

char *pack_put_map(char *to, size_t pairs) { return put_length(to, pairs, 0x80, 16, 0xDE, 0xDF); }
