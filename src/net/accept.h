/*
** accept.h - a server takes its clients from the kernel: when it may, and so many at a time that others get a turn.
**
** The callback of a listener's poll accepts; streams and tasks are made later, where Lua runs (asy_accept_serve).
*/
#ifndef ASY_ACCEPT_H
#define ASY_ACCEPT_H

#include "net/handler.h"

ASY_HIDDEN

/* For a new server. */
void accept_init(Server *sv);

/* The listener with that number, from 0; NULL when there are fewer. */
const Listener *server_listener(const Server *sv, int n);

/* Polls the listeners, if it may. */
void accept_start(Server *sv);

/* Makes a stream and a task of what was accepted, as far as there is room; accepts on where that had to wait. stack:
** ..., server */
void asy_accept_serve(lua_State *L, Server *sv);

/* Takes all who wait with the kernel, though there may be no room for them. Those who would be too many for our memory,
** or descriptors, stay there. C only. */
void accept_rest(Server *sv);

/* Closes the listeners. */
void accept_close(Server *sv);

/* Closes what was accepted and is not served yet. */
void accept_refuse(Server *sv);

ASY_HIDDEN_END

#endif
