/*
** head.h - a head becomes a table.
*/
#ifndef ASY_PARSE_HEAD_H
#define ASY_PARSE_HEAD_H

#include "base/asy.h"
#include "http/connection.h"

ASY_HIDDEN

/* Pushes the event for a head that has been read, whose Headers are at the top: its name, and the table at `into`, filled.
** False: h->fault, and nothing is pushed. */
bool asy_head_push(lua_State *L, HttpConnection *h, const char *bytes, const HttpSaid *said,
                   int into);

ASY_HIDDEN_END

#endif
