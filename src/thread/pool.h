/*
** pool.h - worker threads and the jobs they do, first come first served. Knows no Lua but what it
** passes to the worker.
**
** Pools and jobs are malloc'ed and counted: threads may outlive the Lua state that made them. A job
** belongs to its loop and to the pool at once, until one of them has done with it. Its loop's side is
** executor.c's business.
*/
#ifndef ASY_POOL_H
#define ASY_POOL_H

#include "base/asy.h"

#include <stdatomic.h>

#include "base/buffer.h"
#include "base/inbox.h"
#include "base/list.h"
#include "core/loop.h"
#include "thread/worker.h"

ASY_HIDDEN

typedef struct Pool Pool;

typedef enum JobOutcome {
  JOB_RESULT,    /* the message has the results */
  JOB_ERROR,     /* ... has the error and the traceback */
  JOB_NO_MEMORY, /* there is no message: the worker had no memory for one */
  JOB_CANCELLED, /* the pool was shut down before it began */
  JOB_BROKEN     /* the worker could not be made ready: the message is the reason, a plain text */
} JobOutcome;

typedef struct Job {
  atomic_int refs;
  Pool *pool;
  WorkerFunction *fn; /* NULL: the function is the first value of the message */
  Buffer message;     /* what it is called with; later what came of it */
  JobOutcome outcome;
  atomic_bool cancelled;
  bool watches;       /* it is no call, but waits for the pool's end */

  /* the pool's, under its lock */
  ListNode link;      /* in its queue, among those that wait for its end, or to be used again */
  Worker *worker;     /* who runs it */

  /* its loop's; on the loop's thread only, but for the posting */
  Message done;
  Inbox *inbox;
  Guest guest;
  Ready ready;
  Loop *loop;         /* NULL: nobody wants to know any more */
  struct HookedFuture *future;
  uint32_t slot;      /* where the loop holds the future */
} Job;

/* NULL when there is no memory: then the setup stays the caller's. */
Pool *pool_new(int max_workers, const char *name, const WorkerSetup *setup);
Pool *pool_ref(Pool *pool);
void pool_unref(Pool *pool);

/* A job with one reference, of that pool; NULL when there is no memory. It may be one that was used before. */
Job *job_new(Pool *pool, Inbox *inbox, void (*arrive)(Message *));
void job_unref(Job *job);

/* As job_unref, by the thread that makes the pool's jobs: keeps it for the next call. */
void job_recycle(Job *job);

/* By that thread: no more jobs will be made. */
void pool_retire(Pool *pool);

/* Puts a job into the queue, with a reference of the pool's; starts a thread if none is idle. It
** comes back through `done`. Otherwise the job is the caller's alone: POOL_SHUT, or negative when no
** thread could be started. */
#define POOL_SHUT 1
int pool_push(Pool *pool, Job *job);

/* The job comes back when the pool has been shut down and its threads have ended, except those whose
** job was cancelled. */
void pool_watch(Pool *pool, Job *job);

/* Takes a job back that has not begun; tells one under way. It no longer comes back, or its loop is not
** to care. */
void pool_cancel(Job *job);

/* No job is taken any more, threads end when there is none left. `cancel`: those in the queue come back
** as JOB_CANCELLED. */
void pool_shutdown(Pool *pool, bool cancel);

/* Blocks until the pool is as for pool_watch. */
void pool_wait(Pool *pool);

typedef struct PoolState {
  int max_workers, threads, idle, queued;
  bool shut, broken;
} PoolState;

PoolState pool_state(Pool *pool);

ASY_HIDDEN_END

#endif
