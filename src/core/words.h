/*
** words.h - values and texts as people read them: a value that fails to say itself hides nothing else, and no
** text ends at an embedded zero (lua_pushfstring's %s does).
*/
#ifndef ASY_WORDS_H
#define ASY_WORDS_H

#include "base/asy.h"

ASY_HIDDEN

/* Pushes the value at idx in words, and returns them. Raises for memory only. */
const char *asy_words(lua_State *L, int idx);

ASY_HIDDEN_END

#endif
