/*
** datagram.h - sockets of datagrams: one is sent, or received, whole.
*/
#ifndef ASY_FACE_DATAGRAM_H
#define ASY_FACE_DATAGRAM_H

#include <sys/socket.h>

#include "face/face.h"

ASY_HIDDEN

/* The methods send and sendto, of the string at 2. sa: to whom; NULL: it is connected. */
int asy_datagram_send(lua_State *L, FaceSocket *s, const struct sockaddr *sa, socklen_t len);

/* Pushes who has sent something: how many values. A negative number: there is no datagram, but these instead. */
typedef int DatagramSender(lua_State *L, const struct sockaddr *sa, socklen_t len);

/* The methods receive and receivefrom; sender: NULL, if it isn't asked for. */
int asy_datagram_receive(lua_State *L, FaceSocket *s, DatagramSender *sender);

ASY_HIDDEN_END

#endif
