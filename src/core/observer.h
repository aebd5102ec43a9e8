/*
** observer.h - those who look on: a byte of the loop, `watched`, says who does, and is all that is asked where nobody
** does. It is tested where debug mode is, which has a bit there, too.
**
** An observer never raises, allocates nothing in Lua, and leaves L's stack as it was; nothing that it sees can be
** changed by it. Each of its functions may be NULL.
*/
#ifndef ASY_OBSERVER_H
#define ASY_OBSERVER_H

#include "core/task.h"

ASY_HIDDEN

/* Bits of Loop.watched. */
enum {
  WATCHED_DEBUG = 1, /* debug mode */
  WATCHED_TRACED = 2,
  WATCHED_METERED = 4,
  WATCHED_OBSERVED = WATCHED_TRACED | WATCHED_METERED
};

/* How a step ended. */
typedef enum StepEnd {
  STEP_PARKED, /* t->kind and t->on say for what; it may be ready again, if it only gives way */
  STEP_ENDED   /* the task ends now; `ended` follows once its future has been settled */
} StepEnd;

typedef struct Observer {
  /* A task was made, and is ready. L: who made it, or the loop's state. stack: ..., task */
  void (*made)(struct Observer *o, lua_State *L, struct Task *t);
  void (*begins)(struct Observer *o, struct Task *t); /* a step */
  void (*stops)(struct Observer *o, lua_State *L, struct Task *t, StepEnd how);
  /* It has ended as its future says, maybe without a step (cancelled before the first). stack: ..., task */
  void (*ended)(struct Observer *o, lua_State *L, struct Task *t);
  /* A parked task is ready; t->code says what it was woken with. C only. Who woke it: rt->current; NULL: the loop, or
  ** the task that stopped last and has not `ended` yet. */
  void (*woken)(struct Observer *o, struct Task *t);
  /* Around a poll, which waits if there is nothing to do; around a callback of call_soon and the like. */
  void (*polls)(struct Observer *o, struct Loop *loop);
  void (*polled)(struct Observer *o, struct Loop *loop);
  void (*calls)(struct Observer *o, lua_State *L, struct Loop *loop);
  void (*called)(struct Observer *o, lua_State *L, struct Loop *loop);
  /* The collector worked for the loop from `start` to `end` (uv_hrtime). */
  void (*collected)(struct Observer *o, struct Loop *loop, uint64_t start, uint64_t end);
  /* A thread has something to do for the loop; it is done, or nobody waits for it any more. `job` is its address, the
  ** task that asked is rt->current, or NULL. */
  void (*hands)(struct Observer *o, struct Loop *loop, const void *job, const char *what);
  void (*handed)(struct Observer *o, struct Loop *loop, const void *job);
  /* The loop is being closed: its tasks will never run again. */
  void (*closes)(struct Observer *o, lua_State *L, struct Loop *loop);
} Observer;

/* For a new loop; its debug mode is switched; its tasks are the parent's, in a forked child. C only. */
void observers_join(Loop *loop);
void observers_debug(Loop *loop, bool on);
void observers_in_child(Loop *loop);

/* Has it look on at all loops of the state, those that are made later, too; NULL: nobody with that bit does any more.
** A forked child has no observers. C only. */
static inline void observer_set(Runtime *rt, uint8_t bit, Observer *o) {
  rt->observers[bit == WATCHED_TRACED ? 0 : 1] = o;
  list_each(node, &rt->loops) observers_join(asy_container(node, Loop, link));
}

/* The rest: called when Loop.watched is not 0. */

void observers_begins(Loop *loop, struct Task *t);
void asy_observers_stops(lua_State *L, Loop *loop, struct Task *t);
void asy_observers_made(lua_State *L, Loop *loop, struct Task *t);
void asy_observers_ended(lua_State *L, Loop *loop, struct Task *t);
void observers_polls(Loop *loop);
void observers_polled(Loop *loop);
void asy_observers_calls(lua_State *L, Loop *loop);
void asy_observers_called(lua_State *L, Loop *loop);
void observers_collected(Loop *loop, uint64_t start);
void observers_hands(Loop *loop, const void *job, const char *what);
void observers_handed(Loop *loop, const void *job);
void asy_observers_closes(lua_State *L, Loop *loop);

ASY_HIDDEN_END

#endif
