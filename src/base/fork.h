/*
** fork.h - who must know in a forked child that it is in another process.
*/
#ifndef ASY_FORK_H
#define ASY_FORK_H

#include "base/asy.h"
#include "base/list.h"

#include <pthread.h>

ASY_HIDDEN

/* Told in the child, where only the thread that forked goes on. `ours`: the one that watches is that thread. */
typedef struct ForkWatch {
  ListNode link;
  pthread_t thread;
  void (*in_child)(struct ForkWatch *, bool ours);
} ForkWatch;

void fork_watch(ForkWatch *w, void (*in_child)(ForkWatch *, bool ours));
/* Any thread; also of what was never watched, but is zero or initialised. */
void fork_unwatch(ForkWatch *w);

ASY_HIDDEN_END

#endif
