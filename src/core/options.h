/*
** options.h - what a function in C finds in a table of options: a value of the right kind, or the default.
*/
#ifndef ASY_OPTIONS_H
#define ASY_OPTIONS_H

#include "base/asy.h"

ASY_HIDDEN

/* Each raises an argument error for idx when the value is of the wrong kind. */
int asy_opt_int(lua_State *L, int idx, const char *key, int fallback); /* 0 to INT32_MAX */
bool asy_opt_bool(lua_State *L, int idx, const char *key, bool fallback);
lua_Number asy_opt_seconds(lua_State *L, int idx, const char *key, lua_Number fallback);
size_t asy_opt_bytes(lua_State *L, int idx, const char *key, size_t fallback); /* 1 at least */

ASY_HIDDEN_END

#endif
