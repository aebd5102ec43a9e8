/*
** signal.h - signals as callbacks, and Ctrl-C.
*/
#ifndef ASY_SIGNAL_H
#define ASY_SIGNAL_H

#include "core/loop.h"

ASY_HIDDEN

void asy_open_signal(lua_State *L);

ASY_HIDDEN_END

#endif
