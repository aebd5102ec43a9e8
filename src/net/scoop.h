/*
** scoop.h - takes datagrams from the kernel, several in one system call where it can. C only.
*/
#ifndef ASY_SCOOP_H
#define ASY_SCOOP_H

#include "net/address.h"

ASY_HIDDEN

#define SCOOP_MOST 64 /* datagrams in one go */

/* The address of anybody's. */
typedef union DatagramAddress {
  struct sockaddr any;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
  struct sockaddr_un un;
} DatagramAddress;

/* What they are taken into: the memory of a loop's endpoints, one after the other. */
struct Scoop;

typedef struct Scooped {
  const DatagramAddress *from;
  socklen_t salen;
  const char *bytes;
  size_t n;
  bool cut; /* it was longer than max_size: the rest is lost */
} Scooped;

/* Takes up to n. → how many; *status: UV_EAGAIN, there are no more; the socket's error, which it doesn't tell again; or
** 0. *scoop is made, and made larger, as it is needed. */
int scoop_take(struct Scoop **scoop, int fd, size_t max_size, int n, int *status);

/* The i-th of them, from 0, until somebody takes the next. */
Scooped scoop_get(const struct Scoop *scoop, int i);

/* Takes up to SCOOP_MOST, and throws them away. The rest as above. */
int scoop_discard(int fd, int *status);

void scoop_free(struct Scoop *scoop);

ASY_HIDDEN_END

#endif
