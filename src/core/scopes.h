/*
** scopes.h - what a task should have closed.
*/
#ifndef ASY_SCOPES_H
#define ASY_SCOPES_H

#include "core/task.h"

ASY_HIDDEN

/* Behind the error of a scope that is made where there is no task. */
#define ASY_MAKE_IT_THERE ": make it in a function that asyncio.run or asyncio.create_task runs"

/* The task has ended: what it should have closed is reported and let go. stack: ..., task */
void asy_scopes_forget(lua_State *L, Loop *loop, Task *t);

/* For Guards: where who called stands; source has LUA_IDSIZE characters. Both stay as they are if that isn't known. */
void asy_scope_place(lua_State *L, int *line, char *source);

/* The same: reports what its task should have closed and never did. name: its class; line: where it was made, 0: that
** isn't known. stack: ..., task */
void asy_scope_report(lua_State *L, Loop *loop, const char *name, const char *source, int line);

/* A scope of a live task takes the request at `request` back, and off the count; whether the task had not got it yet.
** task: its index */
bool asy_scope_withdraw(lua_State *L, Task *t, int task, int request);

ASY_HIDDEN_END

#endif
