/*
** future.h - a result that arrives later: a cell, the line of those who wait, callbacks.
** A task is a future with a coroutine; its struct begins with this one.
*/
#ifndef ASY_FUTURE_H
#define ASY_FUTURE_H

#include "core/loop.h"

ASY_HIDDEN

typedef enum FutureState { FUTURE_PENDING = 0, FUTURE_RESULT, FUTURE_ERROR, FUTURE_CANCELLED } FutureState;

typedef struct Future {
  ListNode waiters; /* Waiters: the tasks that await it */
  uint64_t loop_id; /* an id, since a future may outlive its loop */
  uint8_t state;    /* FutureState */
  bool packed;      /* the result is a table with n, made here, not one value */
  bool looked;      /* somebody has seen the error */
  bool task;        /* it is the first part of a Task */
  bool callbacks;   /* there are some in extras.callbacks */
  bool hooked;      /* it is the first part of a HookedFuture */
  bool shown : 1;    /* its value is being put into words */
  bool shields : 1;  /* it is the first part of a Shield */
  bool shielded : 1; /* Shields may be among its waiters */
} Future;

/* One whose result comes from elsewhere, where a cancellation must be told. */
typedef struct HookedFuture {
  Future future;
  void (*cancelled)(lua_State *L, struct HookedFuture *f); /* after the fact; may not raise. stack: future, ... */
  /* Or NULL; whether to cancel it comes too late: then it ends now, as it would have. stack: future, ... */
  bool (*late)(lua_State *L, Loop *loop, struct HookedFuture *f);
} HookedFuture;

/* One that stands for another (shield.c), in whose line it has a Waiter; or has none, and is ended by hand. */
typedef struct Shield {
  HookedFuture hooked; /* first */
  Waiter waiter;       /* blind: only where it ends, too, it looks at an error */
  Ready ready;         /* what it stands for has ended */
  Loop *loop;          /* valid while it is held */
  uint32_t slot;       /* where the loop holds it, from that end to its own; 0: it isn't held */
} Shield; /* user value FUTURE_UV_SHIELDED: what it stands for; in whose extras it is, under its address */

_Static_assert(offsetof(HookedFuture, future) == 0 && offsetof(Shield, hooked) == 0, "they are futures");

/* User values, of futures and tasks. */
#define FUTURE_UV_VALUE 1  /* done: the result or error; a task that waits: what it waits on */
#define FUTURE_UV_EXTRAS 2 /* a table of what few futures have, or nil */
#define FUTURE_UV_SHIELDED 3 /* of a Shield: what it stands for */
#define TASK_UV_CORO 3     /* the coroutine */
#define TASK_UV_FUNCTION 4 /* its function, for tostring */
#define TASK_UV_CONTEXT 5  /* the context, see context.h */

/* Initialises one; its memory may be part of a task's. */
void future_init(Future *f, const Loop *loop);

/* stack: ..., future. One with a hook, `size` bytes in all, and so many user values. */
HookedFuture *asy_future_hooked(lua_State *L, const Loop *loop, size_t size, int values,
                                void (*cancelled)(lua_State *, HookedFuture *));

/* The future or task at idx, else NULL. */
Future *asy_tofuture(lua_State *L, const Runtime *rt, int idx);

/* stack: ..., n values → ..., one value that stands for them; says whether it had to pack. */
bool asy_pack(lua_State *L, int n);

/* Ends a future, at idx: value on the top (popped). Wakes and calls back. False: it is not pending (any more:
** see asy_subtable), and nothing has been done. */
bool asy_future_settle(lua_State *L, const Runtime *rt, Future *f, int idx, FutureState state,
                       bool packed);

/* Pushes the results of one that is done and says how many, or raises its error. */
int asy_future_results(lua_State *L, Future *f, int idx);

/* Pushes its result or error in words. What leads back here, or fails to say itself, is told by its address. */
void asy_future_push_value(lua_State *L, int idx);

/* Pushes the extras table, making it if `make`; else nil. */
void asy_future_extras(lua_State *L, int idx, bool make);

/* Pushes the extras and the table in their field `key`; makes both where they are missing. */
void asy_future_subtable(lua_State *L, int idx, const char *key, int narray, int nrecord);

/* Pushes a field of the extras, nil where there is none; its type. */
int asy_future_extra(lua_State *L, int idx, const char *key);

/* Debug mode: notes in the extras of the future at idx, under `key`, where L stands from `level` on. */
void asy_debug_note(lua_State *L, int idx, const char *key, int level);

/* Pushes the error for a cancellation; msg: stack index, 0 for none. */
void asy_cancelled_push(lua_State *L, int msg);

ASY_HIDDEN_END

#endif
