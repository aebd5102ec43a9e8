/*
** child.h - a child of this process, and what a loop knows of it. C only.
**
** Its status is taken on the loop's thread, in a turn of the loop's or in a call of its user's: until that says that it
** has ended, the pid is its own, and no signal can hit a stranger; a pidfd is asked, where there is one, so that this holds
** although somebody else reaps it. The leader of a group is not reaped before somebody says that the group is done
** with, or its loop closes: so long the group's number is its own, too.
*/
#ifndef ASY_CHILD_H
#define ASY_CHILD_H

#include "core/handle.h"
#include "os/spawn.h"

ASY_HIDDEN

typedef enum ChildState {
  CHILD_RUNS,
  CHILD_ENDED,  /* its code is known; it leads a group, and is still there for that */
  CHILD_REAPED, /* its code is known, the pid may be another's */
  CHILD_LOST,   /* it has ended, but somebody else has taken its status; the pid may be another's, not its pidfd */
  CHILD_LEFT    /* its loop has closed before it ended: a thread waits for it */
} ChildState;

typedef struct Child {
  Handle handle;   /* open until it is reaped */
  uv_poll_t poll;  /* of `fd` */
  pid_t pid;
  int fd;          /* can be read when it has ended; a pidfd is kept as long as this; -1: none */
  bool pidfd;
  bool leads;      /* a group of its own */
  bool detached;   /* nobody is expected to wait for it */
  bool dropped;    /* its user has let go of it */
  bool killed;     /* SIGKILL has been sent: it will end */
  bool ending;     /* its block has been left: it is killed before it outlives its user, or the loop */
  ChildState state;
  int code;        /* the exit status; a signal's is negative */
  ListNode line;   /* Waiters: for its end */
  char *site;      /* debug mode: where it was started; or NULL */
  char name[];     /* what was started, for people */
} Child;

/* A record for a child that isn't there yet; NULL: no memory. The caller is its box. */
Child *child_new(Loop *loop, const char *name);

/* Starts it. 0, or a negative status, with its stage. */
int child_start(Child *c, const SpawnOrder *order, SpawnStage *stage);

/* Looks whether it has ended: tells those who wait. */
void child_look(Child *c);

/* Its group is done with: it is reaped, now or when it ends. */
void child_release(Child *c);

/* Its user is gone. What runs is reaped when it ends. */
void child_drop(Child *c);

/* 0; UV_ESRCH: it has been reaped, or its status was taken; or another negative status. */
int child_signal(Child *c, int signum);

/* Whether anybody but itself is in the group that it leads, and lives. */
typedef enum Company { COMPANY_NONE, COMPANY_LIVES, COMPANY_UNKNOWN } Company;
Company child_company(const Child *c);

/* Visits those that run. */
void children_each(Loop *loop, void (*visit)(Handle *h, void *arg), void *arg);

ASY_HIDDEN_END

#endif
