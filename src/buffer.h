/*
** buffer.h - growable bytes: written at the end, taken from the front. Knows no Lua.
*/
#ifndef ASY_BUFFER_H
#define ASY_BUFFER_H

#include "asy.h"

ASY_HIDDEN

typedef struct Buffer {
  char *data;        /* NULL: nothing is allocated */
  size_t start, end; /* the bytes are data[start..end) */
  size_t size;
} Buffer;

static inline size_t buffer_length(const Buffer *b) { return b->end - b->start; }
static inline const char *buffer_bytes(const Buffer *b) { return b->data ? b->data + b->start : ""; }

/* Room for n bytes at the end; NULL when there is no memory, and nothing has changed. */
char *buffer_reserve(Buffer *b, size_t n);

/* The first n bytes of that room are now content. */
static inline void buffer_added(Buffer *b, size_t n) { b->end += n; }

/* False when there is no memory. */
bool buffer_append(Buffer *b, const char *bytes, size_t n);

/* Takes n bytes off the front. */
void buffer_consume(Buffer *b, size_t n);

/* Gives the memory back; the content is gone. */
void buffer_free(Buffer *b);

ASY_HIDDEN_END

#endif
