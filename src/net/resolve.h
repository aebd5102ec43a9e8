/*
** resolve.h - names to addresses and back, off the loop.
*/
#ifndef ASY_RESOLVE_H
#define ASY_RESOLVE_H

#include "core/task.h"

ASY_HIDDEN

void asy_open_resolve(lua_State *L);

ASY_HIDDEN_END

#endif
