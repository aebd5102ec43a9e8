/*
** body.h - what runs in a task's coroutine: the user's function, protected, with a traceback when it fails.
*/
#ifndef ASY_BODY_H
#define ASY_BODY_H

#include "core/task.h"

ASY_HIDDEN

/* Raises unless the value at idx, no function, is one that can be made a task all the same. arg: the argument that
** it is, or is in. */
void asy_body_check(lua_State *L, int arg, int idx);

/* Prepares the coroutine's stack. stack: [fn] function or coroutine, n arguments, ...; the held table at `held` */
void asy_body_load(lua_State *L, Task *t, int fn, int n, int held);

/* Pushes the function that runs a task's function: it has a slot of the held table. */
void asy_body_push(lua_State *L);

ASY_HIDDEN_END

#endif
