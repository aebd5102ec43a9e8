/*
** peer.h - the addresses of a connection: the peer's, and its own.
*/
#ifndef ASY_PEER_H
#define ASY_PEER_H

#include "net/stream.h"

ASY_HIDDEN

/* Notes the address of an IP peer: the kernel forgets it when the peer is gone. */
void peer_note(Stream *s, const struct sockaddr *sa);

/* The peer's address in words, for errors; "" when there is none. `text` has room for ASY_ADDRESS_TEXT. */
void peer_text(const Stream *s, char *text);

/* Pushes the table of an address, the peer's or our own; false, and nothing pushed, when it isn't known. */
bool asy_peer_push(lua_State *L, const Stream *s, bool peer);

ASY_HIDDEN_END

#endif
