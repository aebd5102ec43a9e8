/*
** pool.c - the queue of jobs and the threads that do them.
**
** Everything in a Pool is guarded by its lock, but for what never changes. A thread holds the pool,
** the pool holds a job from pool_push until it has been sent back or cancelled. What leaves a list of
** the pool's is sent back under the lock, since its loop may cancel it at any moment. Threads are
** detached: one that is blocked for ever is left behind. Locks are taken in this order: pool, worker,
** channel, inbox.
*/
#include "thread/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <uv.h>

#include "base/alloc.h"
#include "base/detached.h"
#include "base/fork.h"
#include "base/mutex.h"
#include "core/process.h"
#include "thread/job.h"
#include "thread/parcel.h"

#define STREAK 3 /* jobs done since a thread slept, from which on it counts as busy */
#define YIELDS 3
#define ROOM 96 /* bytes that a job has for its message at first: results as small need no memory then */
#define MAX_SPARE ASY_KEEP(128)

struct Pool {
  ForkWatch fork;
  bool copied;    /* it is the parent's, in a forked child: its threads are not here */

  /* of the thread that makes its jobs, and on cache lines of its own */
  ListNode spare; /* Jobs to be used again */
  int nspare;
  bool retired;   /* no more jobs are made */
  char apart[64]; // cppcheck-suppress unusedStructMember

  atomic_int refs;
  uv_mutex_t lock;
  uv_cond_t work;    /* there is a job, or an end to it */
  uv_cond_t ended;   /* see settled() */
  ListNode queue;    /* Jobs not begun */
  ListNode watchers; /* Jobs that come back at the end */
  int max, threads;
  atomic_int queued; /* jobs in the queue */
  int starting;      /* threads that have not come to look for work yet */
  int idle;          /* threads that wait for work */
  int lost;          /* threads whose job was cancelled under way */
  bool signalled;    /* one of these is being woken */
  bool looking;      /* a thread is about to look for work */
  bool shut;
  char *broken;      /* why no worker can be made; NULL: nothing known against it */
  int last_thread;
  Setup *setup;      /* the newest */
  WorkerTemplate template; /* does not change */
  char name[16];     /* does not change; what Linux shows of a thread's name is 15 characters */
};

static const char NO_MEMORY[] = "not enough memory for a worker's Lua state";

/* Its locks may be held by threads that the child hasn't got. */
static void in_child(ForkWatch *w, bool ours) {
  Pool *pool = asy_container(w, Pool, fork);
  if (!ours) return;
  pool->copied = pool->shut = true;
  mutex_init(&pool->lock);
  uv_cond_init(&pool->work);
  uv_cond_init(&pool->ended);
}

Pool *pool_new(int max_workers, const char *name, const WorkerTemplate *t, Setup *setup) {
  Pool *pool = mem_calloc(1, sizeof *pool);
  if (!pool) return NULL;
  if (mutex_init(&pool->lock)) goto no_lock;
  if (uv_cond_init(&pool->work)) goto no_work;
  if (uv_cond_init(&pool->ended)) goto no_ended;
  atomic_store(&pool->refs, 1);
  list_init(&pool->spare);
  list_init(&pool->queue);
  list_init(&pool->watchers);
  pool->max = max_workers;
  pool->template = *t;
  pool->setup = setup;
  snprintf(pool->name, sizeof pool->name, "%s", name);
  fork_watch(&pool->fork, in_child);
  return pool;
no_ended:
  uv_cond_destroy(&pool->work);
no_work:
  uv_mutex_destroy(&pool->lock);
no_lock:
  mem_free(pool);
  return NULL;
}

static Pool *pool_ref(Pool *pool) {
  atomic_fetch_add(&pool->refs, 1);
  return pool;
}

void pool_unref(Pool *pool) {
  if (atomic_fetch_sub(&pool->refs, 1) != 1) return;
  fork_unwatch(&pool->fork);
  uv_cond_destroy(&pool->ended);
  uv_cond_destroy(&pool->work);
  uv_mutex_destroy(&pool->lock);
  worker_template_free(&pool->template);
  setup_unref(pool->setup);
  mem_free(pool->broken);
  mem_free(pool);
}

/* Jobs */

static Job *used_job(Pool *pool, Inbox *inbox) {
  Job *job = asy_container(list_take(&pool->spare), Job, in_pool.link);
  pool->nspare--;
  if (job->in_loop.inbox != inbox) {
    inbox_unref(job->in_loop.inbox);
    job->in_loop.inbox = inbox_ref(inbox);
  }
  job->outcome = JOB_RESULT;
  job->cancelled = job->watches = false;
  return job;
}

Job *pool_job_new(Pool *pool, Inbox *inbox, void (*arrive)(Message *)) {
  if (!list_empty(&pool->spare)) return used_job(pool, inbox);
  Job *job = mem_calloc(1, sizeof *job);
  if (!job) return NULL;
  atomic_store(&job->refs, 1);
  job->pool = pool_ref(pool);
  job->in_loop.inbox = inbox_ref(inbox);
  job->in_loop.done.arrive = arrive;
  list_init(&job->in_pool.link);
  list_init(&job->in_loop.guest.link);
  list_init(&job->in_loop.ready.link);
  buffer_reserve(&job->message, ROOM); /* without memory it is tried again later */
  return job;
}

void pool_job_unref(Job *job) {
  if (atomic_fetch_sub(&job->refs, 1) != 1) return;
  if (job->outcome == JOB_BROKEN)
    buffer_free(&job->message);
  else
    parcel_free(&job->message);
  function_unref(job->fn);
  inbox_unref(job->in_loop.inbox);
  pool_unref(job->pool);
  mem_free(job);
}

void pool_job_recycle(Job *job) {
  Pool *pool = job->pool;
  bool keep = atomic_load(&job->refs) == 1 && !pool->retired && pool->nspare < MAX_SPARE;
  if (!keep || job->outcome == JOB_BROKEN) { /* with others, the outcome is not ours to look at */
    pool_job_unref(job);
    return;
  }
  parcel_clear(&job->message);
  list_append(&pool->spare, &job->in_pool.link);
  pool->nspare++;
}

void pool_retire(Pool *pool) {
  pool->retired = true;
  for (ListNode *node; (node = list_take(&pool->spare));) pool_job_unref(asy_container(node, Job, in_pool.link));
}

/* Back to its loop, with the pool's reference. */
static void send_back(Job *job) {
  if (!inbox_post(job->in_loop.inbox, &job->in_loop.done)) pool_job_unref(job);
}

static void send_all_back(ListNode *jobs) {
  for (ListNode *node; (node = list_take(jobs));) send_back(asy_container(node, Job, in_pool.link));
}

static void set_broken(Job *job, const char *why) {
  parcel_free(&job->message);
  buffer_append(&job->message, why, strlen(why) + 1); /* without memory it is empty */
  job->outcome = JOB_BROKEN;
}

/* Under the lock */

static bool settled(const Pool *pool) {
  return pool->copied || ((pool->shut || pool->broken) && pool->threads == pool->lost);
}

/* Something has changed that settled() looks at. */
static void tell_settled(Pool *pool) {
  if (!settled(pool)) return;
  send_all_back(&pool->watchers);
  uv_cond_broadcast(&pool->ended);
}

/* Threads */

/* Under the lock: whether to wake a thread for the queue, which then signals the condition. One at a time:
** that one wakes the next if there is more to do. Waking is by far the dearest thing here. */
static bool wake_one(Pool *pool) {
  if (pool->signalled || pool->looking || !pool->idle) return false;
  pool->signalled = true;
  return true;
}

/* Before it sleeps, a thread that has been busy lets others run for a moment: if they bring more work, none
** has to be woken for it. Short jobs that come in large numbers take half the time then. */
static void look_out(Pool *pool) {
  pool->looking = true;
  uv_mutex_unlock(&pool->lock);
  for (int i = 0; i < YIELDS && !atomic_load_explicit(&pool->queued, memory_order_relaxed); i++) sched_yield();
  uv_mutex_lock(&pool->lock);
  pool->looking = false;
}

/* Sends the last one back, waits for the next; NULL: none is to come. `streak`: how many it did in a row. */
static Job *next_job(Pool *pool, Worker *w, Job *last, int *streak) {
  uv_mutex_lock(&pool->lock);
  if (last) {
    last->in_pool.worker = NULL;
    if (atomic_load(&last->cancelled)) pool->lost--;
  }
  if (last && list_empty(&pool->queue) && !pool->shut && !pool->broken) {
    uv_mutex_unlock(&pool->lock);
    send_back(last);
    last = NULL;
    uv_mutex_lock(&pool->lock);
  }
  if (*streak >= STREAK && list_empty(&pool->queue) && !pool->looking) look_out(pool);
  while (list_empty(&pool->queue) && !pool->shut && !pool->broken) {
    *streak = 0;
    pool->idle++;
    uv_cond_wait(&pool->work, &pool->lock);
    pool->idle--;
    pool->signalled = false;
  }
  ListNode *node = list_take(&pool->queue);
  Job *job = node ? asy_container(node, Job, in_pool.link) : NULL;
  if (job) job->in_pool.worker = w, pool->queued--;
  if (!ASY_LIKELY(pool->setup == w->setup)) {
    setup_unref(w->renewal);
    w->renewal = setup_ref(pool->setup);
  }
  bool more = !list_empty(&pool->queue) && wake_one(pool);
  uv_mutex_unlock(&pool->lock);
  if (more) uv_cond_signal(&pool->work);
  if (last) send_back(last);
  return job;
}

static JobOutcome outcome_of(WorkerOutcome outcome) {
  return outcome == WORKER_RESULT ? JOB_RESULT : outcome == WORKER_ERROR ? JOB_ERROR : JOB_NO_MEMORY;
}

static void work(Pool *pool, Worker *w) {
  uv_mutex_lock(&pool->lock);
  pool->starting--;
  uv_mutex_unlock(&pool->lock);
  int streak = 0;
  for (Job *job = NULL; (job = next_job(pool, w, job, &streak)); streak++)
    job->outcome = outcome_of(worker_call(w, job->fn, &job->message, &job->cancelled));
}

/* No worker can be made: nothing here will ever be done. Takes the text. */
static void break_pool(Pool *pool, char *why) {
  uv_mutex_lock(&pool->lock);
  pool->starting--;
  pool->queued = 0;
  if (!pool->broken)
    pool->broken = why ? why : mem_strdup(NO_MEMORY);
  else
    mem_free(why);
  if (!pool->broken) pool->shut = true;
  list_each(node, &pool->queue)
    set_broken(asy_container(node, Job, in_pool.link), pool->broken ? pool->broken : NO_MEMORY);
  send_all_back(&pool->queue);
  uv_cond_broadcast(&pool->work);
  uv_mutex_unlock(&pool->lock);
}

static void leave(Pool *pool) {
  uv_mutex_lock(&pool->lock);
  pool->threads--;
  tell_settled(pool);
  uv_mutex_unlock(&pool->lock);
  pool_unref(pool);
}

static void name_thread(Pool *pool) {
  char name[32];
  uv_mutex_lock(&pool->lock);
  int number = ++pool->last_thread;
  uv_mutex_unlock(&pool->lock);
  snprintf(name, sizeof name, "%.11s-%d", pool->name, number % 1000);
  name[15] = 0;
#if defined(__linux__)
  pthread_setname_np(pthread_self(), name);
#elif defined(__APPLE__)
  pthread_setname_np(name);
#endif
}

static Setup *newest_setup(Pool *pool) {
  uv_mutex_lock(&pool->lock);
  Setup *setup = setup_ref(pool->setup);
  uv_mutex_unlock(&pool->lock);
  return setup;
}

static void *thread_main(void *arg) {
  Pool *pool = arg;
  Worker w;
  char *why;
  name_thread(pool);
  process_hear_sigpipe();
  if (worker_open(&w, &pool->template, newest_setup(pool), &why)) {
    work(pool, &w);
    worker_close(&w);
  } else
    break_pool(pool, why);
  leave(pool);
  return NULL;
}

static int start_thread(Pool *pool) {
  int status = detached_start(thread_main, pool_ref(pool));
  if (status) atomic_fetch_sub(&pool->refs, 1); /* not the last */
  return -status;
}

/* The pool's side of a loop's calls */

/* A thread more, counted already. If it can't be had, others will do the job; if there are none, it is
** taken back. */
static int add_thread(Pool *pool, Job *job) {
  int status = start_thread(pool);
  if (!status) return 0;
  uv_mutex_lock(&pool->lock);
  pool->starting--;
  bool alone = --pool->threads == 0;
  if (alone && list_linked(&job->in_pool.link))
    list_remove(&job->in_pool.link), pool->queued--;
  else
    status = 0;
  tell_settled(pool);
  uv_mutex_unlock(&pool->lock);
  if (status) pool_job_unref(job);
  return status;
}

int pool_push(Pool *pool, Job *job) {
  bool wake = false, add = false;
  uv_mutex_lock(&pool->lock);
  if (pool->shut) {
    uv_mutex_unlock(&pool->lock);
    return POOL_SHUT;
  }
  atomic_fetch_add(&job->refs, 1);
  if (pool->broken) {
    set_broken(job, pool->broken);
    uv_mutex_unlock(&pool->lock);
    send_back(job);
    return 0;
  }
  list_append(&pool->queue, &job->in_pool.link);
  pool->queued++;
  if (pool->queued > pool->idle + pool->starting + pool->looking && pool->threads < pool->max)
    add = true, pool->threads++, pool->starting++;
  else
    wake = wake_one(pool);
  uv_mutex_unlock(&pool->lock);
  if (wake) uv_cond_signal(&pool->work);
  return add ? add_thread(pool, job) : 0;
}

void pool_renew(Pool *pool, Setup *setup) {
  uv_mutex_lock(&pool->lock);
  Setup *old = pool->setup;
  pool->setup = setup;
  uv_mutex_unlock(&pool->lock);
  setup_unref(old);
}

void pool_watch(Pool *pool, Job *job) {
  job->watches = true;
  atomic_fetch_add(&job->refs, 1);
  uv_mutex_lock(&pool->lock);
  list_append(&pool->watchers, &job->in_pool.link);
  tell_settled(pool);
  uv_mutex_unlock(&pool->lock);
}

void pool_cancel(Job *job) {
  Pool *pool = job->pool;
  uv_mutex_lock(&pool->lock);
  bool waiting = list_linked(&job->in_pool.link);
  if (waiting && !job->watches) pool->queued--;
  list_remove(&job->in_pool.link);
  if (job->in_pool.worker && !pool->copied) {
    atomic_store(&job->cancelled, true);
    pool->lost++;
    worker_interrupt(job->in_pool.worker);
    tell_settled(pool);
  }
  uv_mutex_unlock(&pool->lock);
  if (waiting) pool_job_unref(job);
}

void pool_shutdown(Pool *pool, bool cancel) {
  uv_mutex_lock(&pool->lock);
  pool->shut = true;
  if (cancel) {
    list_each(node, &pool->queue) asy_container(node, Job, in_pool.link)->outcome = JOB_CANCELLED;
    send_all_back(&pool->queue);
    pool->queued = 0;
  }
  tell_settled(pool);
  uv_cond_broadcast(&pool->work);
  uv_mutex_unlock(&pool->lock);
}

void pool_wait(Pool *pool) {
  uv_mutex_lock(&pool->lock);
  while (!settled(pool)) uv_cond_wait(&pool->ended, &pool->lock);
  uv_mutex_unlock(&pool->lock);
}

PoolState pool_state(Pool *pool) {
  PoolState state = {.max_workers = pool->max};
  uv_mutex_lock(&pool->lock);
  state.threads = pool->threads;
  state.idle = pool->idle;
  state.shut = pool->shut;
  state.broken = pool->broken != NULL;
  state.queued = pool->queued;
  uv_mutex_unlock(&pool->lock);
  return state;
}
