/*
** connect.h - connections that this side opens.
*/
#ifndef ASY_CONNECT_H
#define ASY_CONNECT_H

#include "net/stream.h"

ASY_HIDDEN

void asy_open_connect(lua_State *L);

ASY_HIDDEN_END

#endif
