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
  atomic_bool ends; /* when its input ends, so does the socket that it writes to */
  atomic_size_t written;  /* bytes; it wraps */
  atomic_bool hurry;      /* it is not to wait for the descriptor any more */
  bool input;
  bool whole;         /* never told to hurry: it may block in a write */
  bool to_socket;
  bool both;        /* one of two: the pipe is a socket */
  int from, to;     /* the thread's */
  int end;          /* our end of the pipe: streams get copies of it */
} Pump;

/* Starts one that copies from fd, or to it; 0, or a libuv status. It has one user. patient: pump_hurry is never called. */
int pump_start(Pump **pump, int fd, bool input, bool patient);

/* Starts two, one for each direction, with a socket of ours in place of the pipe: all output goes through `out`. */
int pump_start_both(Pump **in, Pump **out, int fd);

/* Output will end, and its socket with it, as is not meant by a mere close: others may have that. */
void pump_end_wanted(Pump *p);

Pump *pump_ref(Pump *p);

/* Of the output that it has it writes no more than the descriptor takes at once, and ends: before the last pump_unref. */
void pump_hurry(Pump *p);

/* The last user closes our end. What it has of output is written all the same, unless it is to hurry. */
void pump_unref(Pump *p);

/* A copy of our end of the pipe, or a negative status. */
int pump_end(const Pump *p);

/* Whether there is output that it hasn't written yet. */
bool pump_busy(const Pump *p);

/* How many bytes it has written; the number wraps. */
size_t pump_written(const Pump *p);

/* The libuv status that ended it; 0: none has. */
int pump_error(const Pump *p);

ASY_HIDDEN_END

#endif
