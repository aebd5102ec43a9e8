/*
** peer.h - a connection's methods in C that tell of the peer, and of what was agreed on.
*/
#ifndef ASY_SEC_PEER_H
#define ASY_SEC_PEER_H

#include "base/asy.h"

ASY_HIDDEN

/* Pushes the methods; pushes ssl.core's functions on a connection: compression, info. */
void asy_peer_methods(lua_State *L);
void asy_peer_functions(lua_State *L);

ASY_HIDDEN_END

#endif
