/*
** several.h - one task waits for several futures: the record of that, for the kinds that wait so.
**
** A Several has a Waiter in the line of each future that is pending. It is anchored in the task and holds the list of
** the futures, so whichever goes first finds the other there.
*/
#ifndef ASY_SEVERAL_H
#define ASY_SEVERAL_H

#include "core/task.h"

ASY_HIDDEN

typedef enum Until {
  UNTIL_ALL,         /* all have ended */
  UNTIL_FIRST,       /* one has */
  UNTIL_FAILED,      /* one has failed, or all have ended */
  UNTIL_UNFORTUNATE, /* the same, and to be cancelled is to fail */
  UNTIL_RESULT       /* one has a result, or all have ended */
} Until;

struct Several;

typedef struct Part {
  Waiter waiter;
  struct Several *all;
  Future *future;
} Part;

typedef struct Several {
  Task *task;
  Until until;
  bool timed; /* it ends at a deadline, too */
  int n, left;
  int first; /* the first of those that end it early; -1: there was none */
  Part parts[];
} Several; /* user value 1: the list of futures */

/* Pushes a new one for the list of futures at `list`, with `more` bytes behind its parts. It waits for nothing yet, but
** knows how many are pending, and which of them would end it at once. */
Several *asy_several_new(lua_State *L, Until until, int list, size_t more);

/* Its Waiters go into the lines of those that are pending. blind: they don't look at errors */
void several_begin(Several *s, bool blind);

/* Takes them out again. */
void several_detach(Task *t);

/* For kinds that wait so, whose `several` is true. */
Abort asy_several_abort(lua_State *L, Task *t);
void asy_several_giveback(lua_State *L, Task *t);
Future *several_awaited(const Task *t, int i);
const void *several_woken_by(const Task *t, int i);

ASY_HIDDEN_END

#endif
