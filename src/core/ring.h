/*
** ring.h - whether a wait would close a ring: tasks that wait for each other, so that none ever goes on.
*/
#ifndef ASY_RING_H
#define ASY_RING_H

#include "core/task.h"

ASY_HIDDEN

/* Whether the future at idx could only be done after t. Allocates nothing. */
bool asy_ring_closes(lua_State *L, Task *t, int idx);

/* The same for a task. */
bool asy_ring_closes_by(lua_State *L, Task *t, Task *other);

/* A group's owner waits for its members from now on; whether one of these waits for it. */
bool asy_ring_leave(lua_State *L, struct Group *g);

/* Pushes the future that a parked task's kind gives as the i-th. */
void asy_awaited_push(lua_State *L, Task *t, int i);

/* Raises the error for a wait that would close a ring. */
int asy_ring_error(lua_State *L) ASY_NORETURN;

ASY_HIDDEN_END

#endif
