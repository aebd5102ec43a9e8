/*
** made.h - tracebacks as text, and where errors were made.
*/
#ifndef ASY_MADE_H
#define ASY_MADE_H

#include "base/asy.h"

ASY_HIDDEN

/* As luaL_traceback, with the public names of our functions. */
void asy_traceback(lua_State *L, lua_State *co, int level);
/* stack: ..., text of a traceback → ..., the same with those names */
void asy_name_publicly(lua_State *L);

void asy_made_begin(lua_State *L); /* before the first error is made */

/* The error object on the top was made here: unless it has a traceback, it gets one, from `level` of the stack on, that
** will give way to a better one. */
void asy_made_note(lua_State *L, int level);

/* The stack on which the error at idx was made, if its traceback is of that; else NULL. */
const lua_State *asy_made_on(lua_State *L, int idx);

/* Its traceback is to be replaced; false: it has none of that kind. */
bool asy_made_forget(lua_State *L, int idx);

ASY_HIDDEN_END

#endif
