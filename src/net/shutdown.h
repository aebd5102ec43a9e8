/*
** shutdown.h - a server's end: closed, shut down, and waited for. Its methods for that are here, too.
*/
#ifndef ASY_SHUTDOWN_H
#define ASY_SHUTDOWN_H

#include "net/handler.h"

ASY_HIDDEN

/* For a new server. */
void shutdown_init(Server *sv);

/* Its finaliser runs, or its loop has closed: no timer of it will come. */
void shutdown_forget(Server *sv);

/* If it has been waited long for its end: says for whom. */
void asy_shutdown_report(lua_State *L, Server *sv);

ASY_HIDDEN_END

#endif
