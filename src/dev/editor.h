/*
** editor.h - line editing for the REPL, where the machine has GNU readline or libedit.
*/
#ifndef ASY_EDITOR_H
#define ASY_EDITOR_H

#include "base/asy.h"

ASY_HIDDEN

void asy_open_editor(lua_State *L);

ASY_HIDDEN_END

#endif
