/*
** errand.h - one chore of a crew (base/crew.h) that a task waits for: a name is looked up, a file renamed.
**
** An Errand is the first part of a record in memory of its own (mem_calloc), with the chore's `work`, and `results` and
** `free` set. Who calls goes at once when it is cancelled; a chore under way is done whole, and `free` gives back what it
** has got.
**
**   Rename *r = mem_calloc(...); r->errand = (Errand){.chore.work = rename_work, .results = ..., .free = ...};
**   lua_pushvalue(L, 1);                        what is named in an error
**   return asy_errand_run(L, t, &r->errand, CREW_FILES, &RENAME);
*/
#ifndef ASY_ERRAND_H
#define ASY_ERRAND_H

#include "base/crew.h"
#include "core/task.h"

ASY_HIDDEN

/* What an errand that nobody takes the results of has got. */
typedef enum ErrandRest {
  ERRAND_NO_REST,
  ERRAND_REST,     /* something that a thread has to give back, as that may hang */
  ERRAND_OWED_REST /* likewise, and the loop's close waits for it, as long as for all that is owed */
} ErrandRest;

typedef struct Errand {
  Chore chore; /* first */
  Task *task;  /* NULL: nobody waits for it. The loop's thread alone */
  Loop *loop;
  LoopCrew crew;
  /* Pushes the results and says how many, or raises; the chore was done. stack: [1] what is named in an error */
  int (*results)(lua_State *L, struct Errand *e);
  void (*free)(struct Errand *e); /* what it has got and was not taken, and itself; any thread, C only */
  /* Both, or neither. `give_back` is a chore's work: it does what `rest` has asked for; `free` comes after it. */
  ErrandRest (*rest)(const struct Errand *e);
  void (*give_back)(Chore *chore);
} Errand;

/* Has it done by that crew, and suspends the task until then: return its value from the C function. The errand is freed
** in any case. stack: ..., what is named in an error. kind: made of the three functions that follow. */
int asy_errand_run(lua_State *L, Task *t, Errand *e, LoopCrew crew, const WaitKind *kind);

/* The same for one whose chore is done already, by whoever calls: returns the results. */
int asy_errand_results(lua_State *L, Errand *e);

int asy_errand_finish(lua_State *L, Task *t);
Abort asy_errand_abort(lua_State *L, Task *t);
void asy_errand_giveback(lua_State *L, Task *t);

ASY_HIDDEN_END

#endif
