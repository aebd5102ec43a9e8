/*
** fuzz/inotify.c - what is taken for the kernel's records of changes: whatever the bytes are, each record lies in
** them with its name and the zero behind it, and every step moves on.
**
** Input: the bytes.
*/
#include "files/inotify.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check(bool holds) {
  if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
  char *copy = malloc(length + 1); /* of that size, so that a sanitizer sees who reads beyond */
  size_t at = 0, before = 0;
  InotifyRecord record;
  if (!copy) return 0;
  memcpy(copy, bytes, length);
  char *exact = length ? realloc(copy, length) : copy;
  if (exact) copy = exact;
  for (; inotify_next(copy, length, &at, &record); before = at) {
    size_t named = strlen(record.name);
    check(at > before && at <= length);
    check(!named || (record.name >= copy + before && record.name + named < copy + at));
  }
  check(at == before);
  check(!inotify_next(copy, length, &at, &record) && at == before);
  free(copy);
  return 0;
}
