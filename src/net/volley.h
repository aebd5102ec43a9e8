/*
** volley.h - sends several datagrams in one system call, and in one walk through the kernel those of one length that go
** to one place. C only.
*/
#ifndef ASY_VOLLEY_H
#define ASY_VOLLEY_H

#include "net/scoop.h"

ASY_HIDDEN

#define VOLLEY_MOST 1024 /* the kernel's figure */

typedef struct Shot {
  const char *bytes;
  size_t n;
  DatagramAddress to;
  socklen_t salen; /* 0: to the peer of a connected socket */
} Shot;

/* Sends the first of these, as many as go. → how many; *status: why no more, 0 when all did. *plain: this is no UDP, or
** the system doesn't cut datagrams out of one buffer, which is noted here. */
int volley_send(int fd, const Shot *shots, int n, bool *plain, int *status);

ASY_HIDDEN_END

#endif
