/*
** reel.h - the last so many events of a trace, in the order in which they ended. C only.
*/
#ifndef ASY_REEL_H
#define ASY_REEL_H

#include "base/asy.h"

#include <stdint.h>

ASY_HIDDEN

typedef enum EventKind {
  EVENT_MADE, /* task; other: by which task, 0: none. text: where its function is, place: where it was made, on: the loop */
  EVENT_STEP, /* task; other: its end. text: what it waits for then, place: where that is, on: for what of the kind */
  EVENT_WOKEN, /* task; other: by which task, 0: the loop */
  EVENT_ENDED, /* task; other: the loop. flags: a FutureState. text: its name, place: its error, on: where its function is */
  EVENT_LEFT,  /* the same for one whose loop is closed before it has ended. flags: a TaskPhase */
  EVENT_POLL,  /* task: the loop; other: its end */
  EVENT_CALL,  /* likewise */
  EVENT_SWEPT, /* likewise; the collector worked */
  EVENT_CYCLE, /* task: the loop; a cycle of the collector is over */
  EVENT_MEMORY, /* task: the loop; other: how much Lua has, bytes */
  EVENT_HANDED, /* task, or 0; other: a job's address. text: what a thread is to do, on: the loop */
  EVENT_BACK    /* other: the job's address; it has come back */
} EventKind;

/* Of a step. */
#define EVENT_PARKS 1   /* it waits after it */
#define EVENT_READY 2   /* it only gave way */
#define EVENT_ON_TASK 4 /* `on` is the number of the task that it waits for, not a phrase */
/* Of a wake-up. */
#define EVENT_CANCELS 1

typedef struct Event {
  uint64_t at; /* ns since the trace began */
  uint64_t task, other;
  uint32_t text, place; /* phrases.h */
  uint32_t on;
  uint8_t kind, flags;
} Event;

_Static_assert(sizeof(Event) == 40, "an event is small");

typedef struct Reel {
  Event **chunks; /* made when they are first needed */
  uint64_t most;  /* fewer than were asked for, when memory has run out */
  uint64_t next;  /* where the next one goes */
  uint64_t n;     /* the number of all there have been */
} Reel;

/* Room for so many; false: there is no memory for the first. */
bool reel_init(Reel *r, uint64_t most);

/* The place of a new event; the oldest goes where there is no more room. */
Event *reel_add(Reel *r);

static inline uint64_t reel_length(const Reel *r) { return r->n < r->most ? r->n : r->most; }

/* The number of the first that is there. */
static inline uint64_t reel_first(const Reel *r) { return r->n - reel_length(r); }

/* The i-th of those that are there, from 0 on. */
const Event *reel_get(const Reel *r, uint64_t i);

void reel_free(Reel *r);

ASY_HIDDEN_END

#endif
