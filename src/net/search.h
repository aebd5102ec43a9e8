/*
** search.h - where the next piece of a stream ends: separators, and the limit that bounds the search.
** Knows neither Lua nor streams.
*/
#ifndef ASY_SEARCH_H
#define ASY_SEARCH_H

#include "base/asy.h"

ASY_HIDDEN

/* One look at unread bytes, of which the first `searched` hold no separator. */
typedef struct Search {
  const char *bytes;
  size_t length, searched;
  size_t end;   /* where the separator that ends first does; 0: there is none yet */
  size_t found; /* its length; while there is none, that of the longest */
} Search;

static inline Search search_begin(const char *bytes, size_t length, size_t searched) {
  return (Search){.bytes = bytes, .length = length, .searched = searched};
}

/* Looks for one of the separators, of n bytes, n > 0. Of two that end together the first one counts. */
void search_for(Search *s, const char *separator, size_t n);

/* How many bytes are known to lie before any separator, if they are more than the limit; else 0. */
size_t search_overrun(const Search *s, size_t limit);

ASY_HIDDEN_END

#endif
