/*
** waitq.h - one fair, cancel-safe waiting line. Whoever leaves it has been woken or detached.
*/
#ifndef ASY_WAITQ_H
#define ASY_WAITQ_H

#include "task.h"

ASY_HIDDEN

typedef struct Waitq {
  ListNode line; /* Waiters, first come first */
} Waitq;

static inline void waitq_init(Waitq *q) { list_init(&q->line); }
static inline bool waitq_empty(const Waitq *q) { return list_empty(&q->line); }
static inline void waitq_wake_all(Waitq *q, int code) { asy_wake_all(&q->line, code); }

/* Suspends the task at the end of the line. Return its value from the C function. */
static inline int waitq_park(lua_State *L, Task *t, Waitq *q, const WaitKind *kind, void *on) {
  list_append(&q->line, &t->waiter.link);
  return asy_park(L, t, kind, on);
}

/* The abort of every kind that waits in a line and owns nothing yet. */
Abort waitq_abort(lua_State *L, Task *t);

/* The finish of every kind whose method returns nothing. */
int waitq_finish(lua_State *L, Task *t);

ASY_HIDDEN_END

#endif
