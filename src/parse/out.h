/*
** out.h - bytes that become one Lua string: on the C stack as long as they are few, then in a userdata.
*/
#ifndef ASY_PARSE_OUT_H
#define ASY_PARSE_OUT_H

#include "base/asy.h"

#include <string.h>

ASY_HIDDEN

#define OUT_FEW 1024

typedef struct Out {
  lua_State *L;
  int slot; /* where on Lua's stack the userdata stands */
  char *start, *at, *end;
  char few[OUT_FEW];
} Out;

/* Takes a place on the stack, which the caller pops with the rest. */
void asy_out_begin(lua_State *L, Out *out);
void out_grow(Out *out, size_t n);

/* Room for n bytes at the end. */
static inline char *out_room(Out *out, size_t n) {
  if ((size_t)(out->end - out->at) < n) out_grow(out, n);
  return out->at;
}

static inline void out_add(Out *out, const char *bytes, size_t n) {
  memcpy(out_room(out, n), bytes, n);
  out->at += n;
}
#define out_text(out, text) out_add((out), "" text, sizeof(text) - 1)

static inline void out_char(Out *out, char c) { *out_room(out, 1) = c, out->at++; }

void out_number(Out *out, uint64_t n);

static inline size_t out_length(const Out *out) { return (size_t)(out->at - out->start); }

/* Pushes all of it. */
static inline void out_push(Out *out) { lua_pushlstring(out->L, out->start, out_length(out)); }

ASY_HIDDEN_END

#endif
