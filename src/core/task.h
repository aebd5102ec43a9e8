/*
** task.h - how a task waits. One place resumes coroutines, one place suspends them (step.c, park.c; coro.c
** for coroutines inside a task).
**
** A method that may have to wait does its fast path without suspending. Otherwise it puts the
** task's waiter into a line (or arms a timer) and returns asy_park(L, task, &KIND, on). Someone
** wakes the waiter, which only puts the task on the ready list; at its next step the kind's
** `finish` pushes the results. A cancellation calls `abort` once instead.
*/
#ifndef ASY_TASK_H
#define ASY_TASK_H

#include "base/probe.h"
#include "core/future.h"

ASY_HIDDEN

struct Task;

/* What a task must give back before it ends: a lock. */
typedef struct Guard {
  ListNode link; /* in the task's guards */
  /* The task has ended and never gave it back: does it, and, unless quiet, reports that. stack: ..., task */
  void (*forgotten)(lua_State *L, Loop *loop, struct Guard *g, bool quiet);
} Guard;

typedef enum Abort {
  ASY_DETACHED, /* the task waits for nothing any more: it gets its CancelledError */
  ASY_PENDING   /* whoever it waits for has been told, and will wake it */
} Abort;

#define ASY_WAIT_TEXT 160 /* room for what a task waits on, in words */

/* One kind of waiting. Nothing is taken before `finish`, so `abort` has nothing to give back. When the
** loop closes, abort is called with the phase TASK_ENDED: then the task must not be woken. */
typedef struct WaitKind {
  const char *name; /* for people: "sleep", "read" */
  /* In the task's coroutine, the method's stack as at asy_park: pushes the results or raises. */
  int (*finish)(lua_State *L, struct Task *t);
  Abort (*abort)(lua_State *L, struct Task *t);
  /* Those that wait for futures: the i-th that must end before this does (or has ended), NULL after the last. It
  ** stands, or its list does, in the task's user value. C only. NULL: there are none. */
  Future *(*awaited)(const struct Task *t, int i);
  bool several; /* the task's user value is a userdata whose first user value is their list, else the one future */
  /* A cancellation goes on to them; abort is called when none of them takes it. */
  bool forwards;
  /* The task was woken but will never run (its loop closes): gives back what waking gave; must not
  ** raise. Or NULL. */
  void (*giveback)(lua_State *L, struct Task *t);
  /* Whether what it waits for can still come when none of the loop's tasks goes on: from outside, from a thread. C only.
  ** NULL: it can, as far as this kind knows. */
  bool (*may_come)(const struct Task *t);
  /* The i-th of what it can be woken by: a userdata's address, or that of the record in a box. Who can reach none of
  ** them can't end the wait (dev/stuck.c). C only. NULL after the last, at once if others can. NULL: others can. */
  const void *(*woken_by)(const struct Task *t, int i);
  /* On what, for people: "127.0.0.1:80"; text has room for ASY_WAIT_TEXT, and is empty. C only. Or NULL. */
  void (*describe)(const struct Task *t, char *text);
} WaitKind;

#define ASY_TASK_TEXT 240 /* room for a name that a role gives */

/* What a task is besides a task: a connection's handler. */
typedef struct TaskRole {
  void (*ended)(lua_State *L, struct Task *t); /* told when it has ended. stack: task */
  void (*abandoned)(struct Task *t); /* or NULL; told when its loop closes before it has */
  /* Or NULL; its name, unless somebody gave it one; room for ASY_TASK_TEXT. C only */
  void (*name)(const struct Task *t, char *text);
  bool awaited; /* somebody may wait for its end without awaiting it, as long as it has an owner */
  bool (*dismisses)(lua_State *L, const struct Task *t); /* or NULL; nobody will be told of the error at index 1 */
} TaskRole;

typedef enum TaskPhase {
  TASK_NEW,     /* on the ready list, not begun */
  TASK_RUNNING, /* a step is under way */
  TASK_PARKED,  /* waits; `kind` and `on` say for what */
  TASK_WOKEN,   /* on the ready list again, what it waited for has happened */
  TASK_ENDED
} TaskPhase;

#define ASY_BUDGET 128 /* calls that could have waited, for each step (Tokio's figure) */
#define ASY_WOKEN_CANCELLED (-0x7fffffff) /* the wake code of a cancelled wait */

typedef struct Task {
  Future future; /* first: a task is a future */
  Ready ready;
  Waiter waiter; /* in the line where it waits */
  Timer timer;   /* of a sleep */
  Loop *loop;    /* NULL once it has ended */
  lua_State *co;
  lua_State *top; /* the innermost coroutine it drives: co, or one of coro.c's */
  lua_State *parked; /* the coroutine that stands at asy_park; NULL while it runs */
  const WaitKind *kind;
  void *on;              /* what it waits on, as its kind sees it */
  lua_CFunction again;   /* after giving way: the call to make again */
  ListNode guards;       /* Guards that it holds */
  const TaskRole *role;  /* or NULL */
  void *owner;           /* for its role, until it has ended */
  struct Group *leaving; /* whose members it waits for, now and again, to end; or NULL (group.h) */
  int code;              /* what it was woken with */
  uint32_t slot;         /* where the loop holds it */
  uint64_t number;       /* no other task of the state has it: a lock knows its owner by it; for its default name */
  int16_t budget;
  uint32_t requests;     /* undelivered cancellations, in extras.requests */
  uint32_t own_request;  /* the place among them of the last it made itself; 0: none */
  uint32_t forwarded;    /* the place of the one that came by way of a task that awaits it; 0: none */
  uint32_t cancelling;   /* requests minus uncancel() */
  uint64_t shield;       /* the innermost open shield's number, 0: none; how many were opened (shielded.c) */
  uint64_t shields;
  uint32_t scopes;       /* open ones of the Lua layer, in extras.scopes */
  uint8_t phase;         /* TaskPhase */
  bool failed;           /* how its function ended, until it is settled */
  bool packed;
  bool own_coro;         /* the coroutine was made for it, and nobody has asked for it */
  bool anchored;         /* its user value holds what it waits on, or did last */
  bool in_cancel;        /* a cancellation is being passed on through it */
  bool raised;           /* debug mode: a request has been raised in it, `raised` of its extras */
  bool caught;           /* debug mode: that was caught in this step */
  bool traced;           /* a cancellation that leaves it has a traceback, too: run's main task */
  bool told;             /* debug mode: which has been reported */
  bool broken;           /* its Lua code gets a KeyboardInterrupt until it has ended */
  bool asked;            /* one has been passed on from where it waits */
  bool stuck;            /* it has been told that it can never be woken (dev/stuck.c) */
  ListNode todo;         /* in such a walk, to be asked; `walk`: the last one that came by (cancel.c) */
  uint64_t walk;
  uint64_t seen;         /* the last search for a ring that came by (ring.c) ... */
  struct Task *found;    /* ... and which it found before this one */
} Task;

_Static_assert(offsetof(Task, future) == 0, "a task is a future");

/* The task that makes this call and may wait in it; raises where nothing can wait. */
Task *asy_current(lua_State *L);

/* The same, the quick way. */
static inline Task *asy_current_in(lua_State *L, const Runtime *rt) {
  Task *t = rt->current;
  return ASY_LIKELY(t && t->top == L && lua_isyieldable(L)) ? t : asy_current(L);
}

/* As above, but NULL instead of raising. */
Task *asy_current_or_null(lua_State *L);
static inline Task *asy_current_or_null_in(lua_State *L, const Runtime *rt) {
  Task *t = rt->current;
  return t && t->top == L && lua_isyieldable(L) ? t : NULL;
}

/* Suspends. Return its value from the C function. */
int asy_park(lua_State *L, Task *t, const WaitKind *kind, void *on);

/* For asy_park with an object that has no finaliser to detach the task: idx is anchored in the
** task, since a stranger may close the coroutine whose stack holds it. */
int asy_park_on(lua_State *L, Task *t, const WaitKind *kind, void *on, int idx);

/* A WaitKind's woken_by where that is `on`, and nothing else. */
const void *task_woken_by_on(const Task *t, int i);

/* A WaitKind's may_come where only what the loop runs can end the wait: false. */
bool task_waits_for_us(const Task *t);

/* Counts a call that need not wait. True when the budget is used up: then return asy_give_way. */
static inline bool task_spent(Task *t) { return --t->budget < 0; }
int asy_give_way(lua_State *L, Task *t, lua_CFunction again);

/* The same for a call that need not wait, and returns nothing. Return its value. */
int asy_spend(lua_State *L);

/* Raises in a coroutine that somebody else than its task's step has resumed: the task still waits. */
int asy_resumed_by_stranger(lua_State *L);

/* Whether a coroutine that has begun, or waits to, is a task's own. */
bool asy_task_owns(lua_State *co);

/* Tells who looks on that it was woken (observer.c). */
void observers_woken(struct Task *t);

/* Puts a parked task on the ready list; who looks on is yet to be told. */
static inline void task_ready(Task *t, int code) {
  asy_assert(t->phase == TASK_PARKED && t->loop);
  list_remove(&t->waiter.link);
  t->code = code;
  t->phase = TASK_WOKEN;
  loop_ready(t->loop, &t->ready);
  ASY_PROBE2(wake, t->number, code);
}
static inline void task_tell(Task *t) {
  if (!ASY_LIKELY(!t->loop->watched)) observers_woken(t);
}

/* Puts a parked task on the ready list. C only. */
static inline void task_wake(Task *t, int code) {
  task_ready(t, code);
  task_tell(t);
}

/* Requests a cancellation of a task that hasn't ended. msg: stack index, or 0. Allocates: see asy_subtable. */
void asy_task_cancel(lua_State *L, Task *t, int msg);

/* The same with an error object that the caller knows, a scope's; mark: how many shields the task had opened when that
** was made. stack: ..., task, request → ..., task */
void asy_task_request(lua_State *L, Task *t, uint64_t mark);

/* Raises KeyboardInterrupt in all its Lua code from now on, until it has ended; what it waits for is dropped. */
void asy_task_break(lua_State *L, Task *t);

/* Raises the error at `err` where a parked task waits, whatever shields it. What it awaits is cancelled before; if that
** takes no notice of it, so that the loop has nothing to do, the task lets go of it. */
void asy_task_throw(lua_State *L, Task *t, int err);

/* Takes an undelivered request back: the error at idx, or with idx 0 all of them. */
bool asy_task_withdraw(lua_State *L, Task *t, int idx);

/* A request that was delivered goes to the front again, for the next suspension.
** stack: ..., task, request → ..., task */
void asy_task_requeue(lua_State *L, Task *t);

/* Pushes the task's userdata; it must not have ended. */
static inline void asy_task_push(lua_State *L, Task *t) { asy_held_push(L, t->loop, t->slot); }

/* stack: ..., fn, n arguments → ..., task */
Task *asy_task_new(lua_State *L, Loop *loop, int n);

/* The same with so many bytes behind the Task, which are its role's. */
Task *asy_task_new_with(lua_State *L, Loop *loop, int n, size_t more);

/* What `create_task` does: makes one of the function or coroutine at `from` and its arguments behind it, or of a table of
** options. `more` as above; `made` is told of it before anything can fail. stack: [from] ... → [from] task */
Task *asy_task_create(lua_State *L, Loop *loop, int from, size_t more, void (*made)(Task *t, void *with), void *with);

/* Pushes the live task with that number; nil when there is none. */
void asy_task_find(lua_State *L, Loop *loop, uint64_t number);

/* Whether any task of the loop has not ended. */
bool asy_tasks_live(lua_State *L, Loop *loop);

/* Its name, unless somebody gave it one. text: room for ASY_TASK_TEXT */
void task_default_name(const Task *t, char *text);

/* Pushes its name. idx: its userdata. */
void asy_task_name(lua_State *L, Task *t, int idx);

/* Pushes what it does, or how it ended, in words. idx: its userdata */
void asy_task_push_state(lua_State *L, Task *t, int idx);

/* Pushes how a parked task waits: "sleep", "readline, 127.0.0.1:80". */
void asy_task_push_wait(lua_State *L, const Task *t);

/* Pushes where a task stands that hasn't ended, and has begun. */
void asy_task_push_traceback(lua_State *L, const Task *t);

/* Where the innermost function of a parked task was called that has the value at `what` in a local variable. */
bool asy_task_find_site(lua_State *L, const Task *t, int what, lua_Debug *ar);

/* Raises the first undelivered request of a running task. */
int asy_task_raise(lua_State *L, Task *t);

ASY_HIDDEN_END

#endif
