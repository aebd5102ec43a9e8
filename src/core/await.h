/*
** await.h - asyncio.await, and running a loop until something is done.
*/
#ifndef ASY_AWAIT_H
#define ASY_AWAIT_H

#include "core/task.h"

ASY_HIDDEN

void asy_open_await(lua_State *L);

ASY_HIDDEN_END

#endif
