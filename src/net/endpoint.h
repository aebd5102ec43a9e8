/*
** endpoint.h - a datagram socket of a loop: what comes is taken in batches and waits for receivers, who sends waits for
** room. C only.
*/
#ifndef ASY_ENDPOINT_H
#define ASY_ENDPOINT_H

#include "core/handle.h"
#include "core/waitq.h"
#include "net/datagram.h"
#include "net/packets.h"
#include "net/sockfile.h"
#include "net/volley.h"

ASY_HIDDEN

#define ENDPOINT_ERRORS 16 /* that came by ICMP and wait to be raised; further ones are dropped */

typedef struct Endpoint {
  Handle handle;  /* open: the socket is */
  uv_poll_t poll;
  int polled;     /* events that it is started with; 0: it isn't */
  int fd;
  int family;
  bool connected, icmp_errors;
  bool plain;     /* no UDP, or the system doesn't cut one buffer into datagrams, on the way that they have gone so far */
  size_t max_size;
  int max_queue;
  Packets queue;    /* what nobody has taken yet */
  int handed;       /* for so many of these receivers have been woken */
  Waitq receivers, senders;
  ListNode closers; /* Waiters: for it to be closed */
  Timer retry;      /* where no poll tells of room: senders try again */
  uint64_t pause;   /* ... after so long, ns */
  int batch;        /* datagrams to ask for at the next read */
  bool many;        /* several are wanted at once */
  int calm;         /* single ones to come before more are asked for */
  int status;       /* of a connected one: the error to be raised once, or 0 */
  IcmpError *errors; /* of others: likewise, room for ENDPOINT_ERRORS, or NULL */
  int nerrors;
  uint64_t received, sent, dropped, kernel_dropped, oversized;
  SockFile file;
  struct Known *known; /* addresses of peers (known.c), or NULL */
  char *site;       /* debug mode: where it was made; or NULL */
  char name[ASY_ADDRESS_TEXT];
} Endpoint;

/* What a woken receiver is to do. */
enum { ENDPOINT_HANDED, ENDPOINT_LOOK };

/* One for a socket, which it takes; NULL: a status says why, and the socket stays the caller's. The caller is its
** box. */
Endpoint *endpoint_new(Loop *loop, int fd, int family, int *status);

/* Closes the socket; all that wait are woken. Once more does nothing. */
void endpoint_close(Endpoint *e);

/* Takes what has come, as far as there is room for it. */
void endpoint_read(Endpoint *e);

/* They are received several at a time from now on: reads begin with many. */
void endpoint_want_many(Endpoint *e);

/* The first n datagrams have been given to somebody. */
void endpoint_gave(Endpoint *e, int n);

/* So many may be taken by who has not been handed one. */
static inline int endpoint_free(const Endpoint *e) { return e->queue.n - e->handed; }

/* Hands what is free to those who wait for it. */
void endpoint_wake_receivers(Endpoint *e);

/* Who was woken, with that code, is gone: another may have what it was woken for. */
void endpoint_pass(Endpoint *e, int code);

/* Takes the next error off; false: there is none. */
bool endpoint_take_error(Endpoint *e, IcmpError *error);

/* Sends one. 0, or a negative status: UV_EAGAIN, there is no room. */
int endpoint_send(Endpoint *e, const DatagramAddress *to, socklen_t salen, const char *bytes, size_t n);

/* The same with several, as many of them as go: → how many. */
int endpoint_send_many(Endpoint *e, const Shot *shots, int n, int *status);

/* Has its senders try again when there may be room, if any waits. False: there is no memory for that. */
bool endpoint_await_room(Endpoint *e);

/* Wakes the first of them. */
void endpoint_wake_sender(Endpoint *e);

/* Whether there is one place for all, and so a line: not one for each peer, as unix sockets have. The kernel tells when
** there is room in it. */
static inline bool endpoint_has_line(const Endpoint *e) { return e->family != AF_UNIX || e->connected; }

/* Whether others have to wait because one does. */
static inline bool endpoint_in_line(const Endpoint *e) {
  return endpoint_has_line(e) && !(list_empty(&e->senders.line) && list_empty(&e->senders.handed));
}

/* Visits the open ones of a loop; frees what they share. */
void endpoints_each(Loop *loop, void (*visit)(Handle *h, void *arg), void *arg);
void endpoints_forget(Loop *loop);

ASY_HIDDEN_END

#endif
