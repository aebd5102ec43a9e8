/*
** search.c - looking for separators.
*/
#include "net/search.h"

#include <string.h>

/* A separator of n bytes may begin in what was searched and end after it. */
static size_t overlap(size_t searched, size_t n) { return searched >= n ? searched - n + 1 : 0; }

void search_for(Search *s, const char *separator, size_t n) {
  size_t from = overlap(s->searched, n), left = s->length - from;
  const char *at = NULL;
  if (left >= n)
    at = n == 1 ? memchr(s->bytes + from, *separator, left) : memmem(s->bytes + from, left, separator, n);
  size_t end = at ? (size_t)(at - s->bytes) + n : 0;
  if (end && (!s->end || end < s->end)) {
    s->end = end;
    s->found = n;
  } else if (!s->end && n > s->found)
    s->found = n;
}

size_t search_overrun(const Search *s, size_t limit) {
  size_t before = s->end ? s->end - s->found : s->length + 1 > s->found ? s->length + 1 - s->found : 0;
  return before > limit ? before : 0;
}
