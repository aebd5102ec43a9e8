/*
** testing.h - what asyncio.testing needs of a loop.
*/
#ifndef ASY_TESTING_H
#define ASY_TESTING_H

#include "base/asy.h"

ASY_HIDDEN

void asy_open_testing(lua_State *L);

ASY_HIDDEN_END

#endif
