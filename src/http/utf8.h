/*
** utf8.h - whether bytes that come in pieces are UTF-8 (RFC 3629). A wrong byte is found as soon as it is there, not at
** its character's end.
*/
#ifndef ASY_HTTP_UTF8_H
#define ASY_HTTP_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

typedef struct Utf8 { /* zeroed: between two characters */
  uint8_t need;       /* bytes of the character that are still to come, ... */
  uint8_t low, high;  /* ... the next of which lies between these */
} Utf8;

/* False: no text goes on like this. */
bool utf8_feed(Utf8 *u, const char *bytes, size_t n);

static inline bool utf8_is_whole(const Utf8 *u) { return u->need == 0; }

bool utf8_is_text(const char *bytes, size_t n);

#pragma GCC visibility pop

#endif
