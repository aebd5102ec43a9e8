/*
** configure.h - ssl.context: what makes LuaSec's contexts, and sets what they have.
*/
#ifndef ASY_SEC_CONFIGURE_H
#define ASY_SEC_CONFIGURE_H

#include "base/asy.h"

ASY_HIDDEN

/* Makes the class of contexts, and pushes the table of functions. */
void asy_configure_open(lua_State *L);

ASY_HIDDEN_END

#endif
