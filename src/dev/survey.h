/*
** survey.h - what is told of a loop to those who look on from outside.
*/
#ifndef ASY_SURVEY_H
#define ASY_SURVEY_H

#include "core/loop.h"

ASY_HIDDEN

/* The loop is told of by the process's monitor from now on; where there is none yet it is made, at that path ("": the
** usual place). Raises. */
void asy_survey_begin(lua_State *L, Loop *loop, const char *path);

/* No longer. */
void survey_end(Loop *loop);

/* The loop is the parent's. */
void survey_in_child(Loop *loop, bool live);

ASY_HIDDEN_END

#endif
