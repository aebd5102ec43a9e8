/*
** self.h - a method that was called on something else, in the words that the core has for it.
*/
#ifndef ASY_PARSE_SELF_H
#define ASY_PARSE_SELF_H

#include "base/asy.h"

ASY_HIDDEN

ASY_NORETURN void asy_bad_self(lua_State *L, const char *cls);

ASY_HIDDEN_END

#endif
