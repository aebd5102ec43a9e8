/*
** report.h - the exception handler: where errors go that nobody else will hear of.
*/
#ifndef ASY_REPORT_H
#define ASY_REPORT_H

#include "core/loop.h"

ASY_HIDDEN

/*
** Reports to the loop's handler, or to stderr; never raises. False: there was no memory for more than
** the message. `exception` is the stack index of an
** error, 0 for none; `object` is that of what it is about, under `key`: "task", "future", "handle".
** `traceback` may be NULL.
*/
typedef struct Report {
  const char *message, *key, *traceback;
  int exception, object;
} Report;

bool asy_report(lua_State *L, Loop *loop, Report r);

/* The message handler of callbacks: adds a traceback to string errors. */
int asy_traceback_handler(lua_State *L);

/* Where L stands, in memory of malloc; NULL when debug mode is off (or memory has run out). */
char *asy_debug_site(lua_State *L, const Loop *loop);

/* Pushes traceback + heading + where something was made; without a `made` traceback alone, or nil. */
const char *asy_debug_join(lua_State *L, const char *traceback, const char *heading, const char *made);

ASY_HIDDEN_END

#endif
