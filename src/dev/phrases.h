/*
** phrases.h - texts that a trace says again and again: each is kept once, under a number, as long as anything kept
** says it. C only.
*/
#ifndef ASY_PHRASES_H
#define ASY_PHRASES_H

#include "base/asy.h"

#include <stdint.h>

ASY_HIDDEN

#define PHRASE_MOST 400 /* bytes of a text; what is longer is cut */

typedef struct Phrase {
  char *text; /* NULL: its place is free */
  uint32_t n; /* bytes */
  uint32_t hash;
  int line;      /* of a place in a source, 0: it is none */
  uint64_t used; /* the last event that says it */
} Phrase;

typedef struct Phrases {
  Phrase *all; /* the first says nothing */
  uint32_t n, size;
  uint32_t live;   /* of these */
  uint32_t hole;   /* before it no place is free */
  uint32_t *table; /* numbers by hash, twice as many places as `size` */
} Phrases;

/* The number of a text that the event with that number says; 0: there is no memory. `oldest`: the first that is kept. */
uint32_t phrases_add(Phrases *p, const char *text, size_t n, uint64_t used, uint64_t oldest);

/* The same for "source:line". `key`: the same for all places in that source, as long as it is there. */
uint32_t phrases_add_place(Phrases *p, const void *key, const char *source, int line, uint64_t used,
                           uint64_t oldest);

static inline const Phrase *phrases_get(const Phrases *p, uint32_t i) {
  return i < p->n ? &p->all[i] : NULL;
}

void phrases_free(Phrases *p);

ASY_HIDDEN_END

#endif
