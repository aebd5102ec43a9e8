/*
** buffer.c - growable bytes.
*/
#include "base/buffer.h"

#include <string.h>

#if defined(__linux__)
#include <sys/mman.h>
#if !defined(MADV_POPULATE_WRITE)
#define MADV_POPULATE_WRITE 23
#endif
#endif

#include "base/alloc.h"

#define PAGE ((uintptr_t)4096) /* at least: a kernel with larger ones says no */
#define PAGES ((size_t)64 * PAGE)

static const int MAX_BLOCKS[BUFFER_CLASSES] = {ASY_KEEP(512), ASY_KEEP(128), ASY_KEEP(64)}; /* 5.5 MiB at most */

char *buffer_reserve(Buffer *b, size_t n) {
  size_t length = buffer_length(b), size = b->size;
  if (size - b->end >= n) return b->data ? b->data + b->end : NULL;
  if (n > SIZE_MAX / 4 - length) return NULL;
  if (b->start >= length && size - length >= n) { /* the front is free: cheaper than growing */
    memmove(b->data, b->data + b->start, length);
  } else {
    while (size < length + n) size = size ? size * 2 : n;
    char *data = b->start ? mem_alloc(size) : mem_realloc(b->data, size); /* large blocks just move */
    if (!data) return NULL;
    if (b->start) {
      memcpy(data, b->data + b->start, length);
      mem_free(b->data);
    }
    b->data = data;
    b->size = size;
  }
  b->start = 0;
  b->end = length;
  return b->data + length;
}

void buffer_touch_ahead(const Buffer *b, size_t n) {
#if defined(__linux__)
  size_t next = b->end / PAGES * PAGES + PAGES;
  if (b->size < BUFFER_LARGE || (b->end - n) / PAGES == b->end / PAGES || next >= b->size) return;
  uintptr_t from = ((uintptr_t)b->data + next + PAGE - 1) & ~(PAGE - 1);
  uintptr_t last = ((uintptr_t)b->data + (b->size - next < PAGES ? b->size : next + PAGES)) & ~(PAGE - 1);
  if (from < last) madvise((void *)from, last - from, MADV_POPULATE_WRITE); // NOLINT(performance-no-int-to-ptr)
#else
  (void)b;
  (void)n;
#endif
}

bool buffer_append(Buffer *b, const char *bytes, size_t n) {
  if (!n) return true;
  char *room = buffer_reserve(b, n);
  if (!room) return false;
  memcpy(room, bytes, n);
  buffer_added(b, n);
  return true;
}

void buffer_consume(Buffer *b, size_t n) {
  asy_assert(n <= b->end - b->start);
  b->start += n;
  if (b->start == b->end) b->start = b->end = 0;
}

void buffer_free(Buffer *b) {
  mem_free(b->data);
  *b = (Buffer){NULL, 0, 0, 0};
}

typedef struct FreeBlock {
  struct FreeBlock *next;
} FreeBlock;

/* The class of blocks of that size; -1: none. */
static int class_of(size_t size) {
  if (size == BUFFER_BLOCK) return 0;
  return size == 8 * BUFFER_BLOCK ? 1 : size == 64 * BUFFER_BLOCK ? 2 : -1;
}

bool buffer_take_block(Buffer *b, BlockPool *pool, size_t size) {
  int c = class_of(size);
  FreeBlock *block = c < 0 ? NULL : pool->of[c].first;
  if (block) {
    pool->of[c].first = block->next;
    pool->of[c].n--;
  } else if (!(block = mem_alloc(size)))
    return false;
  *b = (Buffer){(char *)block, 0, 0, size};
  return true;
}

void buffer_give_back(Buffer *b, BlockPool *pool) {
  int c = class_of(b->size);
  if (c >= 0 && pool->of[c].n < MAX_BLOCKS[c]) {
    FreeBlock *block = (void *)b->data;
    block->next = pool->of[c].first;
    pool->of[c].first = block;
    pool->of[c].n++;
  } else
    mem_free(b->data);
  *b = (Buffer){NULL, 0, 0, 0};
}

void block_pool_free(BlockPool *pool) {
  for (int c = 0; c < BUFFER_CLASSES; c++) {
    for (FreeBlock *block; (block = pool->of[c].first);) {
      pool->of[c].first = block->next;
      mem_free(block);
    }
    pool->of[c].n = 0;
  }
}
