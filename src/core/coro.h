/*
** coro.h - coroutines inside a task: asyncio.coroutine, and await of a coroutine.
*/
#ifndef ASY_CORO_H
#define ASY_CORO_H

#include "core/task.h"

ASY_HIDDEN

/* asyncio.await for a coroutine, the only value on the stack: runs it to its end. */
int asy_coro_await(lua_State *L);

ASY_HIDDEN_END

#endif
