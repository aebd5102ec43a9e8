/*
** peer.h - the addresses of a connection: the peer's, and its own; the errors that come of the peer.
*/
#ifndef ASY_PEER_H
#define ASY_PEER_H

#include "net/stream.h"

ASY_HIDDEN

/* Notes the address of an IP peer: the kernel forgets it when the peer is gone. */
void peer_note(Stream *s, const struct sockaddr *sa);

/* The peer's address in words, for errors; "" when there is none. `text` has room for ASY_ADDRESS_TEXT. */
void stream_name(const Stream *s, char *text);
void peer_text(const Stream *s, char *text);

/* The same; of a unix socket's nameless peer, our own. */
void peer_words(const Stream *s, char *text);

/* A WaitKind's `describe` where `on` is a Stream: its peer's words. */
void peer_describe(const Task *t, char *text);

/* Its `may_come`: not where libuv knows nothing of the stream. */
bool peer_may_come(const Task *t);

/* The error on the top is its peer's doing: the handler that fails with it is no failure of the program. */
void asy_peer_made(lua_State *L, const Stream *s);

/* Raises the OSError that the connection has met. */
int asy_peer_oserror(lua_State *L, const Stream *s, int status, const char *syscall) ASY_NORETURN;

/* Raises the ClosedError of a connection; where the server has closed it, that is no failure of the handler either. */
int asy_peer_closed(lua_State *L, const Stream *s, const char *text) ASY_NORETURN;

/* Whether the value at idx is an error that was noted for the connection of the handler with that number, or a group
** of nothing else. */
bool asy_peer_broke(lua_State *L, int idx, uint64_t handler);

/* The socket of the connection: of a stream on a descriptor that descriptor, if it is one. C only. */
bool peer_socket(const Stream *s, int *fd);

/* Pushes the table of an address, the peer's or our own; false, and nothing pushed, when it isn't known. */
bool asy_peer_push(lua_State *L, const Stream *s, bool peer);

/* Pushes {pid=, uid=, gid=} of who made the other end of a unix socket; false, and nothing pushed, when it isn't known. */
bool asy_peer_push_credentials(lua_State *L, const Stream *s);

ASY_HIDDEN_END

#endif
