/*
** socket.h - the options of TCP sockets; sockets that were made elsewhere.
*/
#ifndef ASY_SOCKET_H
#define ASY_SOCKET_H

#include "core/options.h"

ASY_HIDDEN

typedef struct TcpOptions {
  bool nodelay, keepalive;
  int idle, interval, count; /* of keepalive's probes: seconds, seconds, how many are lost */
} TcpOptions;

/* Reads `nodelay` and `keepalive` from a table that was checked. */
TcpOptions asy_tcp_options(lua_State *L, int idx);

/* Gives them to a TCP socket. */
void tcp_options_set(const TcpOptions *options, int fd);

/* Bytes that our kernel has and the peer's hasn't (of a unix socket: the peer, and more than bytes); 0 when that isn't
** known. */
int socket_unsent(int fd);

/* Pushes an object for other libraries; the descriptor stays its owner's to close. */
void asy_socket_push(lua_State *L, int fd);

ASY_HIDDEN_END

#endif
