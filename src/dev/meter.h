/*
** meter.h - for how long tasks run, wait for their turn, and wait for something else: measured while somebody wants to
** know. One for a Lua state.
*/
#ifndef ASY_METER_H
#define ASY_METER_H

#include "core/observer.h"

ASY_HIDDEN

typedef struct TaskTimes {
  uint64_t busy, scheduled, idle; /* ns since `since` */
  uint64_t steps;
} TaskTimes;

/* One who wants to know more, one less. With the first it begins; false: no memory. */
bool meter_want(Runtime *rt);
void meter_leave(Runtime *rt);

/* A task's times since it was made, or since measuring began. False: nothing is measured. */
bool meter_read(const Runtime *rt, const Task *t, TaskTimes *times);

/* The same since it was asked so last, or since then. */
bool meter_take(const Runtime *rt, const Task *t, uint64_t since, TaskTimes *times);

ASY_HIDDEN_END

#endif
