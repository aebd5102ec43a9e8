/*
** reel.c - a ring of events, in chunks: a short trace needs little memory.
*/
#include "dev/reel.h"

#include "base/alloc.h"

#define CHUNK 4096

static uint64_t chunks_of(uint64_t most) { return (most + CHUNK - 1) / CHUNK; }

bool reel_init(Reel *r, uint64_t most) {
  *r = (Reel){.most = most, .chunks = mem_calloc(chunks_of(most), sizeof *r->chunks)};
  if (r->chunks && (r->chunks[0] = mem_alloc(CHUNK * sizeof **r->chunks))) return true;
  reel_free(r);
  return false;
}

Event *reel_add(Reel *r) {
  if (r->next == r->most) r->next = 0;
  Event **chunk = &r->chunks[r->next / CHUNK];
  if (!*chunk && !(*chunk = mem_alloc(CHUNK * sizeof **chunk))) {
    r->most = r->next;
    r->next = 0;
    chunk = r->chunks;
  }
  r->n++;
  return &(*chunk)[r->next++ % CHUNK];
}

const Event *reel_get(const Reel *r, uint64_t i) {
  uint64_t at = r->n <= r->most ? i : (r->next + i) % r->most;
  return &r->chunks[at / CHUNK][at % CHUNK];
}

void reel_free(Reel *r) {
  for (uint64_t i = 0; r->chunks && i < chunks_of(r->most); i++) mem_free(r->chunks[i]);
  mem_free(r->chunks);
  *r = (Reel){0};
}
