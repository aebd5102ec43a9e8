/*
** pollset.h - descriptors watched by the kernel: a descriptor of its own, which can be read when one of them is ready.
**
** Not libuv's uv_poll, one for each: that makes the descriptor non-blocking for everybody who shares
** it, ends the process when it was closed before the next poll, and takes the events of a later stream
** that has got the same number. Nor does it know a descriptor that a stream of libuv's has.
*/
#ifndef ASY_POLLSET_H
#define ASY_POLLSET_H

#include "base/asy.h"

ASY_HIDDEN

#define POLLSET_READ 1
#define POLLSET_WRITE 2
#define POLLSET_END 4 /* the other side has ended, or the connection broke, whatever lies there unread; by itself only */

/* One that is ready, at least for these. */
typedef struct PollsetEvent {
  int fd;
  uint32_t tag; /* as it was armed with */
  int events;
} PollsetEvent;

/* A new set's descriptor, or a negative status. */
int pollset_open(void);

/* Tells of fd once, when it can be read or written, or has ended: then it has to be armed again. `known`: it is in
** the set. UV_EPERM: it can't be watched, since it is always ready. UV_ENOENT: it was known, but has
** been closed meanwhile. 0 or a negative status. */
int pollset_arm(int set, int fd, uint32_t tag, int events, bool known);

/* Takes it out; whether it was still there doesn't matter. */
void pollset_remove(int set, int fd);

/* Those that are ready now: how many, at most n. */
int pollset_take(int set, PollsetEvent *events, int n);

ASY_HIDDEN_END

#endif
