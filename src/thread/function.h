/*
** function.h - functions that workers keep, since they are called again and again: sent once, then called
** by a number. They have no upvalues but the globals and themselves.
*/
#ifndef ASY_FUNCTION_H
#define ASY_FUNCTION_H

#include "base/asy.h"

#include <stdatomic.h>

#include "base/buffer.h"

ASY_HIDDEN

typedef struct WorkerFunction {
  atomic_int refs;
  lua_Integer id; /* of its own in this pool */
  Buffer message;
} WorkerFunction;

WorkerFunction *function_ref(WorkerFunction *fn);
void function_unref(WorkerFunction *fn); /* of NULL: nothing */

/* What an executor knows of functions. */
typedef struct Functions {
  lua_Integer made;        /* number of the last one that the workers keep */
  const void *last;        /* address of the one that was found last, or NULL */
  WorkerFunction *last_fn; /* what it was found as; lives as long */
} Functions;

/* User values of the executor: a table, function → WorkerFunction, or true when it was seen once, with
** weak keys; the last function that was found there. */
#define FUNCTIONS_UV_SEEN 1
#define FUNCTIONS_UV_LAST 2

/* The function at `fn` as the workers keep it, from its second call on; NULL: it goes with the job.
** `owner` is the executor's stack index. */
WorkerFunction *asy_functions_find(lua_State *L, Functions *f, int owner, int fn);

/* In a worker's state, before the first is pushed: there is none. */
void asy_functions_open(lua_State *L);

/* In a worker's state: pushes one. *kept: how many are there. */
void asy_function_push(lua_State *L, int *kept, const WorkerFunction *fn);

ASY_HIDDEN_END

#endif
