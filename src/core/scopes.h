/*
** scopes.h - what a task should have closed.
*/
#ifndef ASY_SCOPES_H
#define ASY_SCOPES_H

#include "core/task.h"

ASY_HIDDEN

/* The task has ended: what it should have closed is reported and let go. stack: ..., task */
void asy_scopes_forget(lua_State *L, Loop *loop, Task *t);

ASY_HIDDEN_END

#endif
