/*
** pool.h - worker threads and the jobs they do, first come first served. Knows no Lua but what it
** passes to the worker.
**
** Pools and jobs (job.h) are malloc'ed and counted: threads may outlive the Lua state that made them.
*/
#ifndef ASY_POOL_H
#define ASY_POOL_H

#include "base/asy.h"

#include "base/inbox.h"
#include "thread/worker.h"

ASY_HIDDEN

typedef struct Pool Pool;
struct Job;

/* Takes the template and the setup. NULL when there is no memory: then they stay the caller's. */
Pool *pool_new(int max_workers, const char *name, const WorkerTemplate *t, Setup *setup);

/* Takes a setup, which the workers get before the next job that they begin. */
void pool_renew(Pool *pool, Setup *setup);
void pool_unref(Pool *pool);

/* A job with one reference, of that pool; NULL when there is no memory. It may be one that was used before. */
struct Job *pool_job_new(Pool *pool, Inbox *inbox, void (*arrive)(Message *));
void pool_job_unref(struct Job *job);

/* As pool_job_unref, by the thread that makes the pool's jobs: keeps it for the next call. */
void pool_job_recycle(struct Job *job);

/* By that thread: no more jobs will be made. */
void pool_retire(Pool *pool);

/* Puts a job into the queue, with a reference of the pool's; starts a thread if none is idle. It
** comes back as a message, which `arrive` gets. Otherwise the job is the caller's alone: POOL_SHUT, or
** negative when no thread could be started. */
#define POOL_SHUT 1
int pool_push(Pool *pool, struct Job *job);

/* The job comes back when the pool has been shut down and its threads have ended, except those whose
** job was cancelled. */
void pool_watch(Pool *pool, struct Job *job);

/* Takes a job back that has not begun; tells one under way. It no longer comes back, or its loop is not
** to care. */
void pool_cancel(struct Job *job);

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
