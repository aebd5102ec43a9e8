/*
** poll.h - wait_readable, Loop:add_reader and the like: descriptors of other libraries.
*/
#ifndef ASY_POLL_H
#define ASY_POLL_H

#include "core/loop.h"

ASY_HIDDEN

void asy_open_poll(lua_State *L);

ASY_HIDDEN_END

#endif
