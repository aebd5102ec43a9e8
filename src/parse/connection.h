/*
** connection.h - an HTTP connection's constructor.
*/
#ifndef ASY_PARSE_CONNECTION_H
#define ASY_PARSE_CONNECTION_H

#include "base/asy.h"

ASY_HIDDEN

/* Adds it to the module's table at the top. */
void asy_connection_open(lua_State *L);

ASY_HIDDEN_END

#endif
