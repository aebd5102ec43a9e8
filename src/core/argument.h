/*
** argument.h - errors of arguments, told as Lua tells its own: the function, the argument and the line of who called
** the library. What its Lua layer does on the way there is nobody's business.
*/
#ifndef ASY_ARGUMENT_H
#define ASY_ARGUMENT_H

#include "base/asy.h"

ASY_HIDDEN

/* Pushes "file:line: ": of the innermost caller that isn't the Lua layer, or "". */
void asy_where(lua_State *L);

/* Pushes "file:line" of the innermost Lua function that isn't the Lua layer's, the running one included; or "". */
void asy_place(lua_State *L);

/* How the sources of the Lua layer begin; NULL: that is not known. The registry keeps it. */
const char *asy_home(lua_State *L, size_t *n);
/* Whether a function with that source is the Lua layer's. */
bool asy_is_home(lua_State *L, const char *source);

/* Pushes the same as asy_where, and the function that was called there, ours in C or the Lua layer's above it; or "" and
** nil. ar: its name */
void asy_called(lua_State *L, lua_Debug *ar);

/* What this function calls isn't called by who has called it. stack: ..., function → ... */
void asy_called_within(lua_State *L);

/* As luaL_argerror. Where the Lua layer has passed the call on, it is the argument of its function. */
void asy_argerror(lua_State *L, int arg, const char *text) ASY_NORETURN;

#define asy_argcheck(L, condition, arg, text) ((void)((condition) || (asy_argerror(L, arg, text), 0)))

/* "expected, got ..." for the value at idx; `more` goes behind it. */
void asy_typeerror(lua_State *L, int arg, int idx, const char *expected, const char *more) ASY_NORETURN;

/* For a function of the Lua layer, which knows its own name. */
void asy_argerror_of(lua_State *L, const char *name, int arg, const char *text) ASY_NORETURN;

/* A method's object is of another kind: most likely a `.` stands in place of a `:`. */
void asy_badself(lua_State *L, const char *cls) ASY_NORETURN;

/* The same for a class of the Lua layer, and what its method is called there. */
void asy_badself_of(lua_State *L, const char *cls, const char *name) ASY_NORETURN;

/* A function, say, is expected at idx: most likely one was called where it should have been passed. right, wrong: the
** arguments to write, and those not to. */
void asy_notfunction(lua_State *L, int arg, int idx, const char *expected, const char *right,
                     const char *wrong) ASY_NORETURN;

/* As luaL_checkinteger, but no string is a number here. */
lua_Integer asy_checkinteger(lua_State *L, int arg);

/* false for nil and none. */
bool asy_checkboolean(lua_State *L, int arg);

/* Pushes what a value is, in a word; gives it. none: there is no value. */
const char *asy_kindof(lua_State *L, int idx);

/* Whether the value can be called. */
bool asy_callable(lua_State *L, int idx);

ASY_HIDDEN_END

#endif
