/*
** out.c - see out.h.
*/
#include "parse/out.h"

void asy_out_begin(lua_State *L, Out *out) {
  lua_pushnil(L);
  out->L = L;
  out->slot = lua_gettop(L);
  out->start = out->at = out->few;
  out->end = out->few + OUT_FEW;
}

void out_grow(Out *out, size_t n) {
  size_t used = out_length(out), size = 2 * (used + n);
  char *block = lua_newuserdatauv(out->L, size, 0);
  memcpy(block, out->start, used);
  lua_replace(out->L, out->slot);
  out->start = block;
  out->at = block + used;
  out->end = block + size;
}

void out_number(Out *out, uint64_t n) {
  char digits[20];
  size_t i = sizeof digits;
  do digits[--i] = (char)('0' + n % 10);
  while (n /= 10);
  out_add(out, digits + i, sizeof digits - i);
}
