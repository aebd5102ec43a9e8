/*
** shake.h - filters from what makes them, and a task that waits for the handshake of one.
*/
#ifndef ASY_SHAKE_H
#define ASY_SHAKE_H

#include "net/filtered.h"

ASY_HIDDEN

/* What makes the filters of the context at idx, which its owner must keep; raises where it is none, or another ABI's. */
FilterSource *asy_filter_source(lua_State *L, int idx);

/* Gives a stream a filter of the context at idx, which the writer at `writer` keeps from then on, or raises. */
Filtered *asy_filter_stream(lua_State *L, Stream *s, int writer, int idx, const FilterOrder *order);

ASY_HIDDEN_END

#endif
