/*
** worker.h - what runs inside a worker thread's Lua state: it is made like its parent, and calls
** functions that come as bytes. Knows no pool and no loop of the parent's.
*/
#ifndef ASY_WORKER_H
#define ASY_WORKER_H

#include "base/asy.h"

#include <signal.h>
#include <stdatomic.h>

#include <uv.h>

#include "base/buffer.h"
#include "thread/function.h"
#include "thread/setup.h"

ASY_HIDDEN

/* One for each worker thread. What another thread calls to interrupt it is guarded by the lock. */
typedef struct Worker {
  lua_State *L;
  const atomic_bool *cancelled; /* that of the job under way, or NULL; the worker's thread only */
  int functions;                /* kept ready */
  Setup *setup, *renewal;       /* what it has been given; what it is to be given before the next job, or NULL */
  bool hooked, stopped;         /* the initializer set a hook, stopped the collector */
  bool redirected;              /* a job called io.input or io.output */
  uv_mutex_t lock;
  void (*interrupt)(void *arg); /* tells whatever the job waits in of its cancellation; or NULL */
  void *arg;
} Worker;

/* What a worker's state is made from, besides its setup. Immutable once threads use it. */
typedef struct WorkerTemplate {
  Buffer initializer; /* a function, as a message of the codec; empty: none */
  lua_CFunction open; /* the module */
  sigset_t mask;      /* the signals that the parent's thread blocks: programs started there do the same */
} WorkerTemplate;

typedef enum WorkerOutcome { WORKER_RESULT, WORKER_ERROR, WORKER_NO_MEMORY } WorkerOutcome;

/* stack: ..., initializer or nil → ...; what a state like this one is made from. False, with the error on the stack,
** for an initializer that cannot cross: then nothing is held. */
bool asy_worker_template(lua_State *L, WorkerTemplate *t);
void worker_template_free(WorkerTemplate *t);

/* Makes the state, on its thread; takes the setup. False: `why` says why, in a text that is to be freed, or NULL. */
bool worker_open(Worker *w, const WorkerTemplate *t, Setup *setup, char **why);
void worker_close(Worker *w);

/* Calls a function; `message` has the arguments, and gets the results, or error and traceback.
** fn NULL: the function is the message's first value. */
WorkerOutcome worker_call(Worker *w, const WorkerFunction *fn, Buffer *message,
                          const atomic_bool *cancelled);

/* From another thread, which must keep the worker alive: its job has been cancelled. */
void worker_interrupt(Worker *w);

/* On the worker's thread: has `interrupt` called on a cancellation; NULL: nothing any more. If the job
** was cancelled before, nobody calls: ask worker_cancelled after it. */
void worker_on_interrupt(Worker *w, void (*interrupt)(void *arg), void *arg);

/* Whether the job under way was cancelled. w may be NULL: no worker's state. */
static inline bool worker_cancelled(const Worker *w) {
  return w && w->cancelled && atomic_load(w->cancelled);
}

ASY_HIDDEN_END

#endif
