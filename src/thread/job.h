/*
** job.h - a call that a worker thread is to make: what goes there, what comes back, the future of that.
**
** A job belongs to its loop and to its pool at once, until one of them has done with it. Its future is held
** by the loop until the job has come back, or was cancelled. All that concerns both is done on the loop's
** thread: so what comes first, cancellation or result, wins.
*/
#ifndef ASY_JOB_H
#define ASY_JOB_H

#include "base/asy.h"

#include <stdatomic.h>

#include "base/buffer.h"
#include "base/inbox.h"
#include "base/list.h"
#include "core/loop.h"
#include "thread/codec.h"
#include "thread/pool.h"

ASY_HIDDEN

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

  struct JobInPool {  /* under the pool's lock */
    ListNode link;    /* in its queue, among those that wait for its end, or to be used again */
    Worker *worker;   /* who runs it */
  } in_pool;

  struct JobInLoop {  /* on the loop's thread only, but for the posting */
    Message done;
    Inbox *inbox;
    Guest guest;
    Ready ready;
    Loop *loop;       /* NULL: nobody wants to know any more */
    struct HookedFuture *future;
    uint32_t slot;    /* where the loop holds the future */
  } in_loop;
} Job;

/* Pushes a future for a job of the pool. From now on the loop holds both; on an error, asy_job_abandon. */
Job *asy_job_begin(lua_State *L, Loop *loop, Pool *pool);

/* Packs n values from the stack into the job's message; raises, and abandons it, when that can't be. */
void asy_job_pack(lua_State *L, Job *job, int n, CodecWhat what);

void asy_job_abandon(lua_State *L, Job *job);

ASY_HIDDEN_END

#endif
