/*
** timer.h - deadlines in a heap: earliest first, equal ones in the order they were set.
** Knows neither Lua nor libuv. Setting and cancelling are O(log n).
*/
#ifndef ASY_TIMER_H
#define ASY_TIMER_H

#include "base/asy.h"

ASY_HIDDEN

#define NS_PER_S UINT64_C(1000000000) /* all times here are in ns */

static inline double ns_seconds(uint64_t ns) { return (double)ns / (double)NS_PER_S; }

typedef struct Timer {
  size_t place;                 /* where its entry stands in the heap, from 1; 0: not set */
  void (*fire)(struct Timer *); /* called once, after the timer has left the heap; C only */
} Timer;

typedef struct TimerEntry {
  uint64_t deadline; /* ns on the loop's clock */
  uint64_t order;    /* running number: decides between equal deadlines */
  Timer *timer;
} TimerEntry;

typedef struct TimerHeap {
  TimerEntry *entries; /* a 4-ary heap */
  size_t n, size;
  uint64_t order; /* the last running number given */
} TimerHeap;

#define TIMER_NEVER UINT64_MAX

/* Sets a timer that isn't set. False when there is no memory: then nothing has changed. */
bool timer_set(TimerHeap *h, Timer *t, uint64_t deadline);

/* Takes a timer out; one that isn't set stays so. */
void timer_cancel(TimerHeap *h, Timer *t);

/* The earliest deadline, or TIMER_NEVER. */
static inline uint64_t timer_next(const TimerHeap *h) {
  return h->n ? h->entries[0].deadline : TIMER_NEVER;
}

/* Fires all whose deadline is not after `now`; those that firing adds wait for the next call. */
void timer_fire_due(TimerHeap *h, uint64_t now);

void timer_heap_free(TimerHeap *h);

ASY_HIDDEN_END

#endif
