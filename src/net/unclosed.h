/*
** unclosed.h - in debug mode: reports of what nobody closed, with the place where it was opened.
*/
#ifndef ASY_UNCLOSED_H
#define ASY_UNCLOSED_H

#include "core/loop.h"

ASY_HIDDEN

/* Reports that text. site: the place; how: "opened at". */
void asy_unclosed_report(lua_State *L, Loop *loop, const char *text, const char *how, const char *site);

/* The same for a stream, from a finaliser: the report waits for a turn, when there will be one. site may be NULL.
** stack: ..., text */
void asy_unclosed_report_later(lua_State *L, Loop *loop, const char *site);

void asy_open_unclosed(lua_State *L);

ASY_HIDDEN_END

#endif
