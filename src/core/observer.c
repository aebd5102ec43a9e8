/*
** observer.c - tells the observers. A state has one for each bit, and each of its loops knows which there are.
*/
#include "core/observer.h"

#define OBSERVERS 2 /* WATCHED_TRACED and WATCHED_METERED, in this order */

_Static_assert(sizeof((Runtime *)0)->observers == OBSERVERS * sizeof(Observer *),
               "a place for each bit");

static uint8_t bit_of(int i) { return (uint8_t)(WATCHED_TRACED << i); }

/* Calls that function of all observers of the loop that have one. */
#define TELL(loop, tells, ...)                                                                     \
  do {                                                                                             \
    for (int i_ = 0; i_ < OBSERVERS; i_++) {                                                       \
      Observer *o_ = ((loop)->watched & bit_of(i_)) ? (loop)->rt->observers[i_] : NULL;              \
      if (o_ && o_->tells) o_->tells(o_, __VA_ARGS__);                                             \
    }                                                                                              \
  } while (0)

/* Who there is */

void observers_join(Loop *loop) {
  loop->watched &= WATCHED_DEBUG;
  for (int i = 0; i < OBSERVERS; i++)
    if (loop->rt->observers[i]) loop->watched |= bit_of(i);
}

void observers_debug(Loop *loop, bool on) {
  loop->debug = on;
  loop->watched &= WATCHED_OBSERVED;
  if (on) loop->watched |= WATCHED_DEBUG;
}

void observers_in_child(Loop *loop) {
  for (int i = 0; i < OBSERVERS; i++) loop->rt->observers[i] = NULL;
  observers_join(loop);
}

/* What they are told */

void observers_begins(Loop *loop, Task *t) { TELL(loop, begins, t); }

void asy_observers_stops(lua_State *L, Loop *loop, Task *t) {
  StepEnd how =
      lua_status(t->co) == LUA_YIELD && t->phase != TASK_RUNNING ? STEP_PARKED : STEP_ENDED;
  TELL(loop, stops, L, t, how);
}

void asy_observers_made(lua_State *L, Loop *loop, Task *t) { TELL(loop, made, L, t); }

void asy_observers_ended(lua_State *L, Loop *loop, Task *t) { TELL(loop, ended, L, t); }

void observers_woken(Task *t) { TELL(t->loop, woken, t); }

void observers_polls(Loop *loop) { TELL(loop, polls, loop); }

void observers_polled(Loop *loop) { TELL(loop, polled, loop); }

void asy_observers_calls(lua_State *L, Loop *loop) { TELL(loop, calls, L, loop); }

void asy_observers_called(lua_State *L, Loop *loop) { TELL(loop, called, L, loop); }

void observers_collected(Loop *loop, uint64_t start) {
  TELL(loop, collected, loop, start, uv_hrtime());
}

void observers_hands(Loop *loop, const void *job, const char *what) {
  TELL(loop, hands, loop, job, what);
}

void observers_handed(Loop *loop, const void *job) { TELL(loop, handed, loop, job); }

void asy_observers_closes(lua_State *L, Loop *loop) { TELL(loop, closes, L, loop); }
