/*
** work.h - what a thread does with a file. Knows neither Lua nor the loop.
*/
#ifndef ASY_WORK_H
#define ASY_WORK_H

#include "files/file.h"

ASY_HIDDEN

/* A Chore's work, of a Work. */
void work_do(Chore *chore);

/* Reads up to n bytes into `in`, as far as they are in memory: never waits. False: that is not to be had, a thread has to
** read. */
bool work_read_now(Work *w, size_t n);

/* Closes its descriptor, if it has one, and frees it. */
void work_free(Work *w);

ASY_HIDDEN_END

#endif
