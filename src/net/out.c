/*
** out.c - bytes that are collected on their way out.
*/
#include "net/out.h"

#include <string.h>

#include "base/alloc.h"
#include "core/error.h"

#define SMALL 1024          /* strings up to that are copied: 64 writes of 16 bytes cost 3.9 us so, 6.1 by writev */
#define MAX_PIECE ((size_t)1 << 30) /* libuv counts a buffer's bytes in 32 bits */


static void out_release(lua_State *L, Loop *loop, Out *out) {
  for (size_t i = 0; i < out->nrefs; i++)
    if (out->refs[i].slot) asy_release(L, loop, out->refs[i].slot);
  out->nrefs = 0;
}

void out_free(Out *out) {
  buffer_free(&out->small);
  mem_free(out->refs);
  *out = (Out){.refs = NULL};
}

void asy_out_clear(lua_State *L, Loop *loop, Out *out) {
  if (out->nrefs) out_release(L, loop, out);
  buffer_give_back(&out->small, &loop->blocks);
  mem_free(out->refs);
  *out = (Out){.refs = NULL};
}

static bool out_reserve_refs(Out *out, size_t n) {
  size_t size = out->size ? out->size : 4;
  while (size < out->nrefs + n) size *= 2;
  if (size == out->size) return true;
  Ref *refs = mem_realloc(out->refs, size * sizeof *refs);
  if (!refs) return false;
  out->refs = refs;
  out->size = size;
  return true;
}

/* The string at idx. A giant becomes several pieces; the last one's slot stands for all. */
static void out_add_ref(lua_State *L, Loop *loop, Out *out, int idx, size_t n) {
  const char *data = lua_tostring(L, idx);
  if (!out_reserve_refs(out, n / MAX_PIECE + 1)) asy_nomemory(L);
  lua_pushvalue(L, idx);
  uint32_t slot = asy_hold(L, loop);
  for (size_t done = 0; done < n;) {
    size_t length = n - done < MAX_PIECE ? n - done : MAX_PIECE;
    bool last = done + length == n;
    out->refs[out->nrefs++] =
        (Ref){buffer_length(&out->small), data + done, length, last ? slot : 0};
    done += length;
  }
  out->bytes += n;
}

static void out_add_small(lua_State *L, Loop *loop, Out *out, const char *bytes, size_t n) {
  if ((!out->small.data && !buffer_take_block(&out->small, &loop->blocks, BUFFER_BLOCK)) ||
      !buffer_append(&out->small, bytes, n))
    asy_nomemory(L);
  out->bytes += n;
}

char *out_room(Loop *loop, Out *out, size_t n) {
  if (!out->small.data && !buffer_take_block(&out->small, &loop->blocks, buffer_block_for(n))) return NULL;
  return buffer_reserve(&out->small, n);
}

void asy_out_add(lua_State *L, Loop *loop, Out *out, int idx) {
  size_t n;
  const char *bytes = lua_tolstring(L, idx, &n);
  if (!n) return;
  if (n <= SMALL)
    out_add_small(L, loop, out, bytes, n);
  else
    out_add_ref(L, loop, out, idx, n);
}

bool out_take(Loop *loop, Out *out, Buffer *from, size_t n) {
  if (!out->small.data && n == buffer_length(from)) {
    out->small = *from;
    *from = (Buffer){NULL, 0, 0, 0};
  } else {
    if ((!out->small.data && !buffer_take_block(&out->small, &loop->blocks, buffer_block_for(n))) ||
        !buffer_append(&out->small, buffer_bytes(from), n))
      return false;
    buffer_consume(from, n);
  }
  out->bytes += n;
  return true;
}

/* Adds output, less what is sent of it already. */
static void add_piece(uv_buf_t *bufs, unsigned *n, unsigned max, size_t *skip, const char *bytes,
                      size_t length) {
  if (*skip >= length) {
    *skip -= length;
    return;
  }
  for (bytes += *skip, length -= *skip, *skip = 0; length && *n < max;) {
    size_t part = length < MAX_PIECE ? length : MAX_PIECE;
    bufs[(*n)++] = uv_buf_init((char *)bytes, (unsigned)part);
    bytes += part;
    length -= part;
  }
}

unsigned out_pieces(const Out *out, uv_buf_t *bufs, unsigned max) {
  size_t at = 0, skip = out->sent;
  const char *small = buffer_bytes(&out->small);
  unsigned n = 0;
  for (size_t i = 0; i < out->nrefs && n < max; i++) {
    const Ref *r = &out->refs[i];
    if (r->at > at) add_piece(bufs, &n, max, &skip, small + at, r->at - at);
    at = r->at;
    add_piece(bufs, &n, max, &skip, r->data, r->length);
  }
  if (buffer_length(&out->small) > at)
    add_piece(bufs, &n, max, &skip, small + at, buffer_length(&out->small) - at);
  return n;
}

void asy_out_trim(lua_State *L, Loop *loop, Out *out) {
  if (out->sent < out->bytes / 2) return;
  size_t at = 0, left = out->sent, gone = 0; /* at: so many of the small bytes; left: to be found still */
  for (; gone < out->nrefs && left >= out->refs[gone].at - at; gone++) {
    Ref *r = &out->refs[gone];
    left -= r->at - at;
    at = r->at;
    if (left < r->length) {
      r->data += left;
      r->length -= left;
      left = 0;
      break;
    }
    left -= r->length;
    if (r->slot) asy_release(L, loop, r->slot);
  }
  at += left;
  out->nrefs -= gone;
  if (gone) memmove(out->refs, out->refs + gone, out->nrefs * sizeof *out->refs);
  for (size_t i = 0; i < out->nrefs; i++) out->refs[i].at -= at;
  buffer_consume(&out->small, at);
  out->bytes -= out->sent;
  out->sent = 0;
}

unsigned out_most_pieces(const Out *out) { return (unsigned)(2 * out->nrefs + 2 + out->bytes / MAX_PIECE); }
