/*
** listener.h - listening sockets, and what they accept.
**
** They are our own, under uv_poll, so that accepting can pause when descriptors run out without losing
** the clients that wait: libuv would accept and close them.
*/
#ifndef ASY_LISTENER_H
#define ASY_LISTENER_H

#include "core/handle.h"
#include "net/socket.h"
#include "net/sockfile.h"

ASY_HIDDEN

struct Server;

typedef struct ListenOptions {
  int backlog;         /* clients that may wait */
  bool reuse_address, reuse_port; /* SO_REUSEADDR, SO_REUSEPORT; no unix socket's */
  TcpOptions tcp;      /* of what is accepted */
  bool foreign;        /* the sockets were made elsewhere: they keep the options that they have */
  bool cleanup_socket; /* a unix socket's file goes with its listener */
} ListenOptions;

typedef struct Listener {
  Handle handle;
  uv_poll_t poll;        /* whose callback is the server's; it accepts */
  struct Server *server; /* to which it belongs */
  ListNode link;         /* in the server's listeners */
  int fd;                /* -1: closed */
  SockFile file;         /* of a unix socket, to be removed with it */
} Listener;

/* A connection that has been accepted and has no stream yet. */
typedef struct Accepted {
  int fd;
  IpAddress peer; /* family AF_UNIX: without its path */
} Accepted;

/* A socket that listens at an address, its `poll` not started; NULL with a status. A unix socket's file that is
** left over is replaced. The server is the caller's to set. */
Listener *listener_new(Loop *loop, const ListenOptions *options, const struct sockaddr *sa, socklen_t len,
                       int *status);

/* The same for a socket that was made elsewhere and listens (socket.h). It is the listener's from now on, and stays
** the caller's where there is none. */
Listener *listener_adopt(Loop *loop, int fd, int *status);

/* Takes a client that waits; false, with errno, when there is none. */
bool listener_accept(const Listener *l, Accepted *a);

/* Keeps new clients out, but not those who have begun to connect. Whether there may be such: then it should be open
** for a moment yet. False where that can't be told apart. */
bool listener_keep_out(Listener *l);

/* Gives a connection the options that it hasn't got from its listener. */
void listener_set_options(const ListenOptions *options, const Accepted *a);

/* Closes the socket at once, and frees the listener when libuv has let go of it. */
void listener_close(Listener *l);

/* How one is shut when its loop closes; for handles_each. */
void listener_shut(Shutter *shutter);

ASY_HIDDEN_END

#endif
