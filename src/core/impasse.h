/*
** impasse.h - says why a call cannot wait where it was made.
*/
#ifndef ASY_IMPASSE_H
#define ASY_IMPASSE_H

#include "core/loop.h"

ASY_HIDDEN

typedef enum Impasse {
  ASY_NO_TASK,      /* outside of any task */
  ASY_NO_YIELD,     /* a C function that can't be suspended is in the way */
  ASY_STRANGE_CORO  /* in a coroutine that the standard library resumed */
} Impasse;

/* Raises an asyncio.Error that names the call, the place, and the remedy. top: the innermost
** coroutine of the task, in which Lua may not be able to yield; NULL without a task. */
int asy_impasse(lua_State *L, Impasse why, lua_State *top) ASY_NORETURN;

ASY_HIDDEN_END

#endif
