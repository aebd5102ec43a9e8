/*
** buffer.h - growable bytes: written at the end, taken from the front. Knows no Lua.
*/
#ifndef ASY_BUFFER_H
#define ASY_BUFFER_H

#include "base/asy.h"

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

/* n bytes were added, and more will be: a large buffer's pages are had some at a time, which costs less than one by one
** when they are first touched. */
void buffer_touch_ahead(const Buffer *b, size_t n);

/* False when there is no memory. */
bool buffer_append(Buffer *b, const char *bytes, size_t n);

/* Takes n bytes off the front. */
void buffer_consume(Buffer *b, size_t n);

/* Gives the memory back; the content is gone. */
void buffer_free(Buffer *b);

#define BUFFER_LARGE ((size_t)1 << 20) /* bytes; from here on it is worth while to think of pages */

#define BUFFER_CLASSES 3
#define BUFFER_BLOCK ((size_t)1024) /* the smallest block; the others are 8 and 64 times as large */

/* Blocks of memory kept to be used again: a busy connection needs two for each message, and malloc would
** give large ones back to the system and fetch them again, page by page. */
typedef struct BlockPool {
  struct {
    struct FreeBlock *first;
    int n;
  } of[BUFFER_CLASSES];
} BlockPool;

/* The size of the block for so many bytes to come. */
static inline size_t buffer_block_for(size_t n) {
  return n > 8 * BUFFER_BLOCK ? 64 * BUFFER_BLOCK : n > BUFFER_BLOCK ? 8 * BUFFER_BLOCK : BUFFER_BLOCK;
}

/* Gives an unallocated buffer a block of one of the sizes. False when there is no memory. */
bool buffer_take_block(Buffer *b, BlockPool *pool, size_t size);

/* As buffer_free; a block goes to the pool. */
void buffer_give_back(Buffer *b, BlockPool *pool);

void block_pool_free(BlockPool *pool);

ASY_HIDDEN_END

#endif
