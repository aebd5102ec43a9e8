/*
** lines.h - finding a block of lines that an empty one ends: a head, or trailers; and its limits.
**
** The block is looked at from its first byte, each time with more of it. What is found does not depend on how much more it
** is each time: a limit is passed by the first byte that passes it.
*/
#ifndef ASY_HTTP_LINES_H
#define ASY_HTTP_LINES_H

#include "http/fault.h"

#include <stddef.h>

#pragma GCC visibility push(hidden)

typedef struct HttpBounds {
  uint32_t first, other; /* bytes of the first line, of each other; without CR LF */
  uint32_t total;        /* of all, with them */
  uint32_t fields;       /* lines, not counting the first of a head */
} HttpBounds;

typedef struct HttpLines {
  uint32_t line;   /* where the present line begins */
  uint32_t looked; /* so far it has been looked for its end */
  uint32_t n;      /* lines before it */
} HttpLines;

typedef enum HttpLine {
  LINE_MORE,  /* there isn't a whole one */
  LINE_WHOLE, /* one more: from `line` as it was to `line` as it is, with CR LF */
  LINE_EMPTY, /* likewise, and it is empty */
  LINE_WRONG
} HttpLine;

/* The next line of the block. head: its first line is none of the fields. */
HttpLine http_line(HttpLines *lines, const char *bytes, size_t n, const HttpBounds *bounds,
                   bool head, HttpFault *fault);

#pragma GCC visibility pop

#endif
