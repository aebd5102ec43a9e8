/*
** hope.h - whether a loop that is about to wait for ever can still be woken, and what becomes of one that can't.
*/
#ifndef ASY_HOPE_H
#define ASY_HOPE_H

#include "core/handle.h"
#include "core/task.h"

ASY_HIDDEN

/* Whether it is open and can bring anything still. What the loop keeps for good must say so itself. */
static inline bool handle_may_come(const Handle *h) {
  if (!handle_counts(h)) return false;
  return h->may_come ? h->may_come(h) : !h->kept;
}

/* What its run is for, if that is a task; or NULL. */
Task *loop_main(const Loop *loop);

/* Nothing runs, no timer is set: whether anything can come all the same. C only, and quick where it can. */
bool loop_has_hope(Loop *loop);

/* The same of a loop of which that isn't plain: asks its tasks what they wait for. Allocates nothing. */
bool asy_loop_has_hope(lua_State *L, Loop *loop);

/* Nothing can come any more: a DeadlockError is raised where what the run is for awaits, else out of the run. Or
** something has come meanwhile, by a finaliser: then nothing is. */
void asy_deadlock(lua_State *L, Loop *loop);

ASY_HIDDEN_END

#endif
