/*
** read.c - MessagePack into values.
*/
#include "pack/pack.h"

#include <string.h>

static bool fail(PackReader *r, const char *why) {
  r->why = why;
  return false;
}

static bool fail_at_end(PackReader *r, const char *why) {
  r->ended = true;
  return fail(r, why);
}

static size_t rest(const PackReader *r) { return r->n - r->at; }

/* A number of so many bytes, the highest first, which go. False: there are less. */
static bool take(PackReader *r, int bytes, uint64_t *value) {
  if (rest(r) < (size_t)bytes) return fail_at_end(r, "an end inside of a number or a length");
  *value = 0;
  for (int i = 0; i < bytes; i++) *value = *value << 8 | (uint8_t)r->bytes[r->at++];
  return true;
}

static bool take_integer(PackReader *r, int bytes, bool is_signed, PackToken *t) {
  uint64_t bits;
  if (!take(r, bytes, &bits)) return false;
  if (!is_signed && bits > INT64_MAX) return fail(r, "an integer of more than 63 bits");
  int unused = 64 - 8 * bytes;
  t->kind = PACK_INTEGER;
  t->integer = is_signed && bits >> (8 * bytes - 1) ? (int64_t)(bits | ~(UINT64_MAX >> unused)) : (int64_t)bits;
  return true;
}

static bool take_float(PackReader *r, int bytes, PackToken *t) {
  uint64_t bits;
  if (!take(r, bytes, &bits)) return false;
  t->kind = PACK_FLOAT;
  if (bytes == 4) {
    uint32_t half = (uint32_t)bits;
    float number;
    memcpy(&number, &half, sizeof number);
    t->number = number;
  } else
    memcpy(&t->number, &bits, sizeof t->number);
  return true;
}

static bool take_string(PackReader *r, uint64_t length, PackToken *t) {
  if (length > rest(r)) return fail_at_end(r, "an end inside of a string");
  t->kind = PACK_STRING;
  t->bytes = r->bytes + r->at;
  t->length = (size_t)length;
  r->at += t->length;
  return true;
}

static bool enter(PackReader *r, PackKind kind, uint64_t length, PackToken *t) {
  uint64_t values = kind == PACK_MAP ? 2 * length : length;
  if (r->depth >= r->most_deep) return fail(r, "a list or map that is nested too deep");
  t->kind = kind;
  t->length = (size_t)length;
  r->owed += values;
  r->depth++;
  return true;
}

static bool sized_string(PackReader *r, int bytes, PackToken *t) {
  uint64_t length;
  return take(r, bytes, &length) && take_string(r, length, t);
}

static bool sized_container(PackReader *r, PackKind kind, int bytes, PackToken *t) {
  uint64_t length;
  return take(r, bytes, &length) && enter(r, kind, length, t);
}

static bool plain(PackKind kind, bool value, PackToken *t) {
  t->kind = kind;
  t->integer = value;
  return true;
}

/* What is said by a mark of its own. */
static bool marked(PackReader *r, uint8_t mark, PackToken *t) {
  switch (mark) {
  case 0xC0: return plain(PACK_NIL, false, t);
  case 0xC2: return plain(PACK_BOOLEAN, false, t);
  case 0xC3: return plain(PACK_BOOLEAN, true, t);
  case 0xC4: case 0xC5: case 0xC6: return sized_string(r, 1 << (mark - 0xC4), t);
  case 0xCA: return take_float(r, 4, t);
  case 0xCB: return take_float(r, 8, t);
  case 0xCC: case 0xCD: case 0xCE: case 0xCF: return take_integer(r, 1 << (mark - 0xCC), false, t);
  case 0xD0: case 0xD1: case 0xD2: case 0xD3: return take_integer(r, 1 << (mark - 0xD0), true, t);
  case 0xD9: case 0xDA: case 0xDB: return sized_string(r, 1 << (mark - 0xD9), t);
  case 0xDC: case 0xDD: return sized_container(r, PACK_LIST, 2 << (mark - 0xDC), t);
  case 0xDE: case 0xDF: return sized_container(r, PACK_MAP, 2 << (mark - 0xDE), t);
  case 0xC1: return fail(r, "a byte that means nothing");
  default: return fail(r, "an extension, which is not read");
  }
}

static bool next(PackReader *r, PackToken *t) {
  if (r->at == r->n) return fail_at_end(r, "an end where a value should begin");
  if (r->depth > 0) r->owed--;
  uint8_t mark = (uint8_t)r->bytes[r->at++];
  if (mark >= 0x80 && mark < 0x90) return enter(r, PACK_MAP, mark & 0x0F, t);
  if (mark >= 0x90 && mark < 0xA0) return enter(r, PACK_LIST, mark & 0x0F, t);
  if (mark >= 0xA0 && mark < 0xC0) return take_string(r, mark & 0x1F, t);
  if (mark >= 0xC0 && mark < 0xE0) return marked(r, mark, t);
  t->kind = PACK_INTEGER;
  t->integer = mark < 0x80 ? mark : mark - 0x100;
  return true;
}

/* Each value that is owed takes a byte at least. */
bool pack_next(PackReader *r, PackToken *t) {
  size_t began = r->at;
  if (r->why) return false;
  if (next(r, t) && (r->owed <= rest(r) || fail_at_end(r, "an end inside of a list or map"))) return true;
  r->at = began;
  return false;
}
