/*
** lock.h - asyncio.Lock; a Condition waits on one.
*/
#ifndef ASY_LOCK_H
#define ASY_LOCK_H

#include "core/waitq.h"

ASY_HIDDEN

typedef struct Lock {
  Waitq q;
  uint64_t loop_id;
  uint64_t owner; /* the number of the task that holds it; 0: free */
  Guard guard;    /* among its owner's */
  int line;       /* where the owner took it: for the report of one that is never released */
  char source[LUA_IDSIZE];
} Lock;

/* The Lua functions, for Condition: lock in place of the condition. */
int asy_lock_new(lua_State *L);
int asy_lock_release(lua_State *L);

/* What `acquire` does, of a lock or of what has one; `again` is that function. Returns the value at 1. */
int asy_lock_take(lua_State *L, Lock *lock, lua_CFunction again);

/* What the end of its block does. */
int asy_lock_leave(lua_State *L, Lock *lock);
/* The number of the task that holds the lock for which t waits; 0: it waits for none. */
uint64_t lock_waited_for(const Task *t);

/* Pushes "free", or "locked by" whom, and where. */
void asy_lock_push_state(lua_State *L, const Lock *lock);

/* Hands the lock to the first that waits, or frees it. */
void lock_pass(Lock *lock);

/* Notes where the owner, which runs, takes it: the place that calls the C function. */
void asy_lock_note_place(lua_State *L, Lock *lock);

/* Makes the task wait for the lock, or own it at once: then it is woken with `code`. The task is in
** no line, parked, and its kind's finish calls waitq_took. */
void lock_queue(Lock *lock, Task *t, int code);

ASY_HIDDEN_END

#endif
