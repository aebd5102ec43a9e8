/*
** server.h - asyncio.Server: listening sockets, and a task for each connection.
*/
#ifndef ASY_SERVER_H
#define ASY_SERVER_H

#include "net/stream.h"

ASY_HIDDEN

void asy_open_server(lua_State *L);

ASY_HIDDEN_END

#endif
