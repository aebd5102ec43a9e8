/*
** report.h - the exception handler: where errors go that nobody else will hear of.
*/
#ifndef ASY_REPORT_H
#define ASY_REPORT_H

#include "core/loop.h"

ASY_HIDDEN

/*
** Reports to the loop's handler, or to stderr; never raises. False: there was no memory for more than
** the message. `exception` is the stack index of an error, 0 for none, `traceback` where it was raised; `object` is
** that of what the report is about, under `key`: "task", "future", "handle"; `source`: where that was made, or what
** else is to be told. Each may be NULL.
*/
typedef struct Report {
  const char *message, *key, *traceback, *source;
  int exception, object;
} Report;

bool asy_report(lua_State *L, Loop *loop, Report r);

/* Where L stands, in memory of malloc; NULL when debug mode is off (or memory has run out). */
char *asy_debug_site(lua_State *L, const Loop *loop);

ASY_HIDDEN_END

#endif
