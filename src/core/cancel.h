/*
** cancel.h - cancellation, as the other files of a task need it; task.h has the rest.
*/
#ifndef ASY_CANCEL_H
#define ASY_CANCEL_H

#include "core/shielded.h"

ASY_HIDDEN

/* Pushes the first request that is due and takes it off the queue. */
void asy_cancel_take(lua_State *L, Task *t);

/* Tells what a parked task waits for of a request; whether that lets it go at once. It may also have woken it.
** Never raises. */
bool asy_cancel_tell(lua_State *L, Task *t);

/* A request to a task that hasn't ended, as if one that awaits it were cancelled: none where one is on its way. */
void asy_cancel_ask(lua_State *L, Task *t);

/* Some requests are due that weren't: a shield is gone. A parked task is told. */
void asy_cancel_release(lua_State *L, Task *t);

/* Whether one is due. */
static inline bool asy_cancel_due(lua_State *L, Task *t) {
  return t->requests && (!t->shield || asy_shield_due(L, t));
}

/* It lets go of what it waits for, which is not told; whether it is let go. */
bool asy_cancel_drop(lua_State *L, Task *t);

/* Debug mode, a hook: a function of the running task returns. Notes where a cancellation is caught, and where the
** task's own function ends that has caught one. */
void asy_cancel_note(lua_State *L, lua_Debug *ar);

/* Debug mode: a task that has caught a cancellation suspends again. Reports where it was caught. */
void asy_cancel_went_on(lua_State *L, Loop *loop, Task *t);

/* Debug mode: a task returned. Reports when it had caught a cancellation. idx: its userdata */
void asy_cancel_returned(lua_State *L, Loop *loop, Task *t, int idx);

ASY_HIDDEN_END

#endif
