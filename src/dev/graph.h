/*
** graph.h - what the call graph is made of.
*/
#ifndef ASY_GRAPH_H
#define ASY_GRAPH_H

#include "base/asy.h"

ASY_HIDDEN

void asy_open_graph(lua_State *L);

ASY_HIDDEN_END

#endif
