/*
** pump.h - a thread that copies between a pipe of ours and a descriptor that can't be polled, or not without changing
** flags that others see. It blocks where we may not.
**
** Of an input, what it has read and nobody has taken waits in the pipe: who reads on later does so there.
*/
#ifndef ASY_PUMP_H
#define ASY_PUMP_H

#include "core/loop.h"

ASY_HIDDEN

typedef struct Pump {
  ListNode link;    /* its owner's */
  atomic_int refs;  /* the thread, and we */
  int users;        /* how many of us; with `link` and `end` the loop's thread's alone */
  atomic_bool idle; /* it has written all that it has read */
  atomic_bool done;
  atomic_int error; /* the libuv status that ended it, or 0 */
  bool input;
  int from, to;     /* the thread's */
  int end;          /* our end of the pipe: streams get copies of it */
} Pump;

/* Starts one that copies from fd, or to it; 0, or a libuv status. It has one user. */
int pump_start(Pump **pump, int fd, bool input);

Pump *pump_ref(Pump *p);

/* The last user closes our end. What it has of output is written all the same. */
void pump_unref(Pump *p);

/* A copy of our end of the pipe, or a negative status. */
int pump_end(const Pump *p);

/* Whether there is output that it hasn't written yet. */
bool pump_busy(const Pump *p);

/* The libuv status that ended it; 0: none has. */
int pump_error(const Pump *p);

ASY_HIDDEN_END

#endif
