/*
** waitq.h - one fair, cancel-safe waiting line, under every lock and queue.
**
** Whoever is first in the line is served first: what becomes free is handed to it before it runs, so
** nobody can overtake. One that has been handed something stands in `handed` until it has run; a task
** that never will (its loop closes) gives it back.
*/
#ifndef ASY_WAITQ_H
#define ASY_WAITQ_H

#include "core/task.h"

ASY_HIDDEN

typedef struct Waitq {
  ListNode line;   /* Waiters, first come first */
  ListNode handed; /* Waiters that own what they waited for and have not run yet */
} Waitq;

void waitq_init(Waitq *q);

static inline bool waitq_empty(const Waitq *q) { return list_empty(&q->line); }

int waitq_length(const Waitq *q);

/* The first task in the line; NULL when it is empty. */
Task *waitq_first(const Waitq *q);

/* Wakes all, handing them nothing. */
static inline void waitq_wake_all(Waitq *q, int code) { waiter_wake_all(&q->line, code); }

/* Wakes a task of the line as the owner of something. Its kind's finish must call waitq_took. */
void waitq_hand(Waitq *q, Task *t, int code);
static inline void waitq_took(Task *t) { list_remove(&t->waiter.link); }

/* Suspends the task at the end of the line. Return its value from the C function. */
static inline int asy_waitq_park(lua_State *L, Task *t, Waitq *q, const WaitKind *kind, void *on) {
  list_append(&q->line, &t->waiter.link);
  return asy_park(L, t, kind, on);
}

/* The abort of every kind that waits in a line and owns nothing yet. */
Abort asy_waitq_abort(lua_State *L, Task *t);

/* The finish of every kind whose method returns nothing. */
int asy_waitq_finish(lua_State *L, Task *t);

/* For the finaliser of what the line belongs to, its first argument: whoever stands in it (strangers have
** closed their coroutines, else they would hold it) is woken, and no longer points here. The object is no
** object any more: another finaliser may bring it back to life, but this one never runs again. */
void asy_waitq_destroy(lua_State *L, Waitq *q);

/* For objects that are used by the tasks of one loop at a time: *id is that loop's. Raises in the
** tasks of another; when the former loop is closed, true: what its tasks held is nobody's now. */
bool asy_waitq_bind_anew(lua_State *L, const Task *t, uint64_t *id, const char *what);

static inline bool asy_waitq_bind(lua_State *L, const Task *t, uint64_t *id, const char *what) {
  return *id != t->loop->id && asy_waitq_bind_anew(L, t, id, what);
}

ASY_HIDDEN_END

#endif
