/*
** buffer.c - growable bytes.
*/
#include "buffer.h"

#include <stdlib.h>
#include <string.h>

char *buffer_reserve(Buffer *b, size_t n) {
  size_t length = buffer_length(b), size = b->size;
  if (size - b->end >= n) return b->data ? b->data + b->end : NULL;
  if (n > SIZE_MAX / 4 - length) return NULL;
  if (b->start >= length && size - length >= n) { /* the front is free: cheaper than growing */
    memmove(b->data, b->data + b->start, length);
  } else {
    while (size < length + n) size = size ? size * 2 : n;
    char *data = b->start ? malloc(size) : realloc(b->data, size); /* large blocks just move */
    if (!data) return NULL;
    if (b->start) {
      memcpy(data, b->data + b->start, length);
      free(b->data);
    }
    b->data = data;
    b->size = size;
  }
  b->start = 0;
  b->end = length;
  return b->data + length;
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
  b->start += n;
  if (b->start == b->end) b->start = b->end = 0;
}

void buffer_free(Buffer *b) {
  free(b->data);
  *b = (Buffer){NULL, 0, 0, 0};
}
