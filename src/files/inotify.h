/*
** inotify.h - what the kernel writes about changes of files: records, one behind the other. C only, and no call of the
** system's.
*/
#ifndef ASY_INOTIFY_H
#define ASY_INOTIFY_H

#include "base/asy.h"

#if defined(__linux__)
#define ASY_HAS_INOTIFY 1
#endif

ASY_HIDDEN

typedef struct InotifyRecord {
  int wd;
  uint32_t mask;
  uint32_t cookie;  /* of the two records of one renaming */
  const char *name; /* in the bytes, and ended by a zero; "": the record is of what is watched itself */
} InotifyRecord;

/* Takes the record at `*at` of n bytes, and moves on. False: there is none, or what is left is no whole one. */
bool inotify_next(const char *bytes, size_t n, size_t *at, InotifyRecord *r);

ASY_HIDDEN_END

#endif
