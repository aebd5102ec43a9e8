/*
** timer.c - the deadline heap. Each entry carries its deadline, so sifting touches the array
** only; each timer carries its place, so cancelling needs no search.
*/
#include "base/timer.h"

#include "base/alloc.h"

#define ARITY 4 /* children of a node share a cache line or two */

static bool before(const TimerEntry *a, const TimerEntry *b) {
  return a->deadline < b->deadline || (a->deadline == b->deadline && a->order < b->order);
}

static void place(TimerHeap *h, size_t i, TimerEntry e) {
  h->entries[i] = e;
  e.timer->place = i + 1;
}

static void sift_up(TimerHeap *h, size_t i, TimerEntry e) {
  while (i > 0) {
    size_t parent = (i - 1) / ARITY;
    if (!before(&e, &h->entries[parent])) break;
    place(h, i, h->entries[parent]);
    i = parent;
  }
  place(h, i, e);
}

static void sift_down(TimerHeap *h, size_t i, TimerEntry e) {
  for (;;) {
    size_t first = i * ARITY + 1, least = first, end = first + ARITY;
    if (first >= h->n) break;
    if (end > h->n) end = h->n;
    for (size_t c = first + 1; c < end; c++)
      if (before(&h->entries[c], &h->entries[least])) least = c;
    if (!before(&h->entries[least], &e)) break;
    place(h, i, h->entries[least]);
    i = least;
  }
  place(h, i, e);
}

static bool resize(TimerHeap *h, size_t size) {
  TimerEntry *entries = mem_realloc(h->entries, size * sizeof *entries);
  if (!entries) return false;
  h->entries = entries;
  h->size = size;
  return true;
}

bool timer_set(TimerHeap *h, Timer *t, uint64_t deadline) {
  asy_assert(!t->place && t->fire);
  if (h->n == h->size && !resize(h, h->size ? 2 * h->size : 16)) return false;
  sift_up(h, h->n++, (TimerEntry){deadline, ++h->order, t});
  return true;
}

void timer_cancel(TimerHeap *h, Timer *t) {
  size_t i = t->place;
  if (!i--) return;
  t->place = 0;
  TimerEntry last = h->entries[--h->n];
  if (i < h->n) {
    if (i > 0 && before(&last, &h->entries[(i - 1) / ARITY]))
      sift_up(h, i, last);
    else
      sift_down(h, i, last);
  }
  if (h->size > 64 && h->n < h->size / 4) resize(h, h->size / 2); /* a failure costs nothing */
}

void timer_fire_due(TimerHeap *h, uint64_t now) {
  uint64_t last = h->order;
  while (h->n && h->entries[0].deadline <= now && h->entries[0].order <= last) {
    Timer *t = h->entries[0].timer;
    timer_cancel(h, t);
    t->fire(t);
  }
}

void timer_heap_free(TimerHeap *h) {
  mem_free(h->entries);
  h->entries = NULL;
  h->n = h->size = 0;
}
