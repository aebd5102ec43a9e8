/*
** out.h - bytes that are collected on their way out: small strings copied one after the other, large ones in between.
*/
#ifndef ASY_OUT_H
#define ASY_OUT_H

#include "net/stream.h"

ASY_HIDDEN

/* Adds the string at idx, or raises. */
void asy_out_add(lua_State *L, Loop *loop, Out *out, int idx);

/* Room for n bytes at the end, or NULL; the first n of it are output now. */
char *out_room(Loop *loop, Out *out, size_t n);
static inline void out_added(Out *out, size_t n) {
  buffer_added(&out->small, n);
  out->bytes += n;
}

/* Adds the first n bytes of a buffer, which loses them: the whole of it becomes ours where it can. False when there is
** no memory, and nothing has changed. */
bool out_take(Loop *loop, Out *out, Buffer *from, size_t n);

/* The first pieces that are not sent yet, `max` at most; returns how many. */
unsigned out_pieces(const Out *out, uv_buf_t *bufs, unsigned max);

/* The most pieces that there can be. */
unsigned out_most_pieces(const Out *out);

/* Forgets what is gone, once that is half of it: with a peer that always leaves some, nothing else would. */
void asy_out_trim(lua_State *L, Loop *loop, Out *out);

/* Drops it all. */
void asy_out_clear(lua_State *L, Loop *loop, Out *out);

/* Memory only: with no Lua left its strings' slots are gone anyway. */
void out_free(Out *out);

ASY_HIDDEN_END

#endif
