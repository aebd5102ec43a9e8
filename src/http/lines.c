/*
** lines.c - see lines.h.
*/
#include "http/lines.h"

#include <string.h>

/* Which limit is passed by the first `reach` bytes of the block, the present line's content and CR being those up to `end`. */
static bool check_limits(const HttpLines *l, size_t end, size_t reach, const HttpBounds *bounds,
                         bool head, HttpFault *fault) {
  bool first = head && l->n == 0;
  uint64_t too_long = (uint64_t)l->line + (first ? bounds->first : bounds->other) + 2;
  uint64_t too_much = (uint64_t)bounds->total + 1;
  if (end >= too_long && too_long <= too_much)
    return http_wrong(fault, first ? 414 : 431,
                      first ? "the first line is too long" : "a field is too long", l->line);
  if (reach >= too_much) {
    if (first) return http_wrong(fault, 414, "the first line is too long", l->line);
    return http_wrong(fault, 431, head ? "the head is too large" : "the trailers are too large",
                      l->line);
  }
  return true;
}

HttpLine http_line(HttpLines *l, const char *bytes, size_t n, const HttpBounds *bounds, bool head,
                   HttpFault *fault) {
  const char *lf = n > l->looked ? memchr(bytes + l->looked, '\n', n - l->looked) : NULL;
  size_t end = lf ? (size_t)(lf - bytes) : n;
  if (!check_limits(l, end, lf ? end + 1 : end, bounds, head, fault)) return LINE_WRONG;
  if (!lf) {
    l->looked = (uint32_t)n;
    return LINE_MORE;
  }
  if (end == l->line || bytes[end - 1] != '\r') {
    http_wrong(fault, 400, "a line ends with LF alone", end);
    return LINE_WRONG;
  }
  bool empty = end == l->line + 1u;
  l->line = l->looked = (uint32_t)end + 1;
  if (empty) return LINE_EMPTY;
  if (++l->n > bounds->fields + (head ? 1u : 0u)) {
    http_wrong(fault, 431, "there are too many fields", end);
    return LINE_WRONG;
  }
  return LINE_WHOLE;
}
