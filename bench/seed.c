/*
** seed.c - preloaded, it makes the time $SEED: Lua seeds its hashes with that and with addresses, and which keys of a
** table collide is several per cent of a short operation.
*/
#include <stdlib.h>
#include <time.h>

time_t time(time_t *t) {
  const char *seed = getenv("SEED");
  time_t now = seed ? atol(seed) : 1;
  if (t) *t = now;
  return now;
}
