/*
** spare.h - ended coroutines, to be used again.
*/
#ifndef ASY_SPARE_H
#define ASY_SPARE_H

#include "core/task.h"

ASY_HIDDEN

/* Keeps an ended coroutine; its place in the table was made with it. stack: ..., task */
void asy_spare_keep(lua_State *L, Loop *loop, Task *t);

/* Pushes a coroutine to run a task in: an ended one, or a new one. held: index of the held table */
lua_State *asy_spare_push(lua_State *L, Loop *loop, int held);

ASY_HIDDEN_END

#endif
