/*
** standard.h - stdin, stdout and stderr as streams.
*/
#ifndef ASY_STANDARD_H
#define ASY_STANDARD_H

#include "core/loop.h"

ASY_HIDDEN

void asy_open_standard(lua_State *L);

ASY_HIDDEN_END

#endif
