/*
** inotify.c - the kernel's records.
*/
#include "files/inotify.h"

#include <string.h>

/* The kernel's struct inotify_event, without its name, so that this reads anywhere what one has written. */
typedef struct Head {
  int32_t wd;
  uint32_t mask, cookie, length; /* of the name, with the zeros behind it */
} Head;

_Static_assert(sizeof(Head) == 16, "the kernel's record has no holes");

bool inotify_next(const char *bytes, size_t n, size_t *at, InotifyRecord *r) {
  Head head;
  if (n < *at || n - *at < sizeof head) return false;
  memcpy(&head, bytes + *at, sizeof head);
  size_t left = n - *at - sizeof head;
  const char *name = head.length ? bytes + *at + sizeof head : "";
  if (head.length > left || (head.length && name[head.length - 1])) return false;
  *at += sizeof head + head.length;
  *r = (InotifyRecord){head.wd, head.mask, head.cookie, name};
  return true;
}
