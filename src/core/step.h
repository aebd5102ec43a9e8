/*
** step.h - a task's steps.
*/
#ifndef ASY_STEP_H
#define ASY_STEP_H

#include "core/task.h"

ASY_HIDDEN

/* What is ready: the task goes on. */
void asy_task_step(lua_State *L, Loop *loop, Ready *self);

ASY_HIDDEN_END

#endif
