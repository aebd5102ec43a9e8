/*
** known.h - the addresses of an endpoint's peers: one Lua table for each, as long as somebody has it.
*/
#ifndef ASY_KNOWN_H
#define ASY_KNOWN_H

#include "net/endpoint.h"

ASY_HIDDEN

/* User values of an endpoint's box. */
#define ENDPOINT_UV_ALL 1    /* the tables that somebody has, weak, by the address's bytes */
#define ENDPOINT_UV_RECENT 2 /* those of peers that wrote last, by their places in Known */
#define ENDPOINT_UVS 2

/* Makes the user values. stack: ..., box */
void asy_known_new(lua_State *L);

/* Pushes the table of an address that a datagram came from; box: the endpoint's place. */
void asy_known_push(lua_State *L, int box, Endpoint *e, const DatagramAddress *sa, socklen_t salen);

/* The address at idx, to which a datagram is to go; `arg`: the argument that it is, or is in. → its length. Argument
** errors for what this endpoint can't reach. */
socklen_t asy_known_check(lua_State *L, int idx, int arg, Endpoint *e, DatagramAddress *to);

ASY_HIDDEN_END

#endif
