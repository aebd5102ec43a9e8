/*
** meter.c - an observer that adds up tasks' times.
**
** They stand in a table of its own by the tasks' numbers, open-addressed, so that a task is no larger where nothing is
** measured. What is in none has not moved since measuring began: it was idle.
*/
#include "dev/meter.h"

#include "base/alloc.h"

#define FIRST_SIZE 64

typedef enum Doing { IS_IDLE, IS_READY, IS_BUSY } Doing;

typedef struct Times {
  uint64_t number;      /* 0: a free place */
  uint64_t since, mark; /* when it was seen first, and what it does now began */
  uint64_t busy, scheduled, steps;
  TaskTimes told; /* when it was taken last; idle: by uv_hrtime */
  Doing doing;
} Times;

typedef struct Meter {
  Observer observer; /* first */
  int users;
  uint64_t began;
  Times *table;
  size_t size, n; /* a power of two; less than three quarters of it */
} Meter;

/* The table */

static size_t home(const Meter *m, uint64_t number) {
  return (size_t)(number * 0x9e3779b97f4a7c15u >> 32) & (m->size - 1);
}

/* Its place, or the free one where it would stand. */
static Times *find(const Meter *m, uint64_t number) {
  size_t i = home(m, number);
  while (m->table[i].number && m->table[i].number != number) i = (i + 1) & (m->size - 1);
  return &m->table[i];
}

static bool grow(Meter *m) {
  Meter old = *m;
  Times *table = mem_calloc(2 * m->size, sizeof *table);
  if (!table) return false;
  m->table = table;
  m->size *= 2;
  for (size_t i = 0; i < old.size; i++)
    if (old.table[i].number) *find(m, old.table[i].number) = old.table[i];
  mem_free(old.table);
  return true;
}

/* NULL: there is no memory, it is not measured. */
static Times *take(Meter *m, const Task *t, uint64_t since, Doing doing) {
  Times *times = find(m, t->number);
  if (times->number) return times;
  if (4 * (m->n + 1) > 3 * m->size) {
    if (!grow(m)) return NULL;
    times = find(m, t->number);
  }
  *times = (Times){.number = t->number, .since = since, .mark = since, .doing = doing};
  m->n++;
  return times;
}

/* Those that stand behind it, and would not be found behind a gap, move up. */
static void forget(Meter *m, uint64_t number) {
  Times *gap = find(m, number);
  if (!gap->number) return;
  size_t at = (size_t)(gap - m->table), mask = m->size - 1;
  for (size_t i = (at + 1) & mask; m->table[i].number; i = (i + 1) & mask) {
    if (((i - home(m, m->table[i].number)) & mask) < ((i - at) & mask)) continue;
    m->table[at] = m->table[i];
    at = i;
  }
  m->table[at].number = 0;
  m->n--;
}

/* What is told */

static void moves_on(Times *times, Doing next, uint64_t now) {
  uint64_t took = now - times->mark;
  if (times->doing == IS_BUSY) times->busy += took;
  if (times->doing == IS_READY) times->scheduled += took;
  times->doing = next;
  times->mark = now;
}

static void on_made(Observer *o, lua_State *L, Task *t) {
  (void)L;
  take((Meter *)o, t, uv_hrtime(), IS_READY);
}

static void on_woken(Observer *o, Task *t) {
  Times *times = take((Meter *)o, t, ((Meter *)o)->began, IS_IDLE);
  if (times) moves_on(times, IS_READY, uv_hrtime());
}

static void on_begins(Observer *o, Task *t) {
  Times *times = take((Meter *)o, t, ((Meter *)o)->began, IS_READY);
  if (!times) return;
  moves_on(times, IS_BUSY, uv_hrtime());
  times->steps++;
}

static void on_stops(Observer *o, lua_State *L, Task *t, StepEnd how) {
  (void)L;
  (void)how;
  Times *times =
      take((Meter *)o, t, uv_hrtime(), IS_BUSY); /* a new one: measuring began in this step */
  if (times) moves_on(times, list_linked(&t->ready.link) ? IS_READY : IS_IDLE, uv_hrtime());
}

static void on_ended(Observer *o, lua_State *L, Task *t) {
  (void)L;
  forget((Meter *)o, t->number);
}

/* Users */

bool meter_want(Runtime *rt) {
  Meter *m = (Meter *)rt->observers[1];
  if (m) {
    m->users++;
    return true;
  }
  m = mem_calloc(1, sizeof *m);
  Times *table = m ? mem_calloc(FIRST_SIZE, sizeof *table) : NULL;
  if (!table) {
    mem_free(m);
    return false;
  }
  m->observer = (Observer){.made = on_made,
                           .begins = on_begins,
                           .stops = on_stops,
                           .ended = on_ended,
                           .woken = on_woken};
  m->users = 1;
  m->began = uv_hrtime();
  m->table = table;
  m->size = FIRST_SIZE;
  observer_set(rt, WATCHED_METERED, &m->observer);
  list_each(node, &rt->loops) loop_set_exact(asy_container(node, Loop, link), true);
  return true;
}

void meter_leave(Runtime *rt) {
  Meter *m = (Meter *)rt->observers[1];
  if (!m || --m->users) return;
  observer_set(rt, WATCHED_METERED, NULL);
  list_each(node, &rt->loops) loop_set_exact(asy_container(node, Loop, link), false);
  mem_free(m->table);
  mem_free(m);
}

/* What it has come to. */
static Times so_far(const Times *times, uint64_t now) {
  Times was = *times;
  moves_on(&was, IS_IDLE, now);
  return was;
}

static TaskTimes times_of(uint64_t busy, uint64_t scheduled, uint64_t steps, uint64_t all) {
  uint64_t moved = busy + scheduled;
  return (TaskTimes){busy, scheduled, all > moved ? all - moved : 0, steps};
}

bool meter_read(const Runtime *rt, const Task *t, TaskTimes *out) {
  const Meter *m = (const Meter *)rt->observers[1];
  if (!m) return false;
  const Times *times = find(m, t->number), none = {.since = m->began, .mark = m->began};
  uint64_t now = uv_hrtime();
  Times was = so_far(times->number ? times : &none, now);
  *out = times_of(was.busy, was.scheduled, was.steps, now - was.since);
  return true;
}

bool meter_take(const Runtime *rt, const Task *t, uint64_t since, TaskTimes *out) {
  const Meter *m = (const Meter *)rt->observers[1];
  if (!m) return false;
  uint64_t now = uv_hrtime();
  Times *times = find(m, t->number);
  if (!times->number) {
    *out = (TaskTimes){.idle = now - since};
    return true;
  }
  Times was = so_far(times, now);
  const TaskTimes *told = &times->told;
  if (told->idle > since) since = told->idle;
  if (was.since > since) since = was.since;
  *out = times_of(was.busy - told->busy, was.scheduled - told->scheduled, was.steps - told->steps,
                  now - since);
  times->told = (TaskTimes){was.busy, was.scheduled, now, was.steps};
  return true;
}
