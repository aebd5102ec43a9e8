/*
** graph.h - what a task waits for.
*/
#ifndef ASY_GRAPH_H
#define ASY_GRAPH_H

#include "core/task.h"

ASY_HIDDEN

/* Pushes what the parked task at idx waits for: a future, or a list of them; nil when it is something else.
** May leave more below it. */
void asy_graph_awaited(lua_State *L, const Runtime *rt, Task *t, int idx);

ASY_HIDDEN_END

#endif
