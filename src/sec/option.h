/*
** option.h - OpenSSL's options by LuaSec's names.
*/
#ifndef ASY_SEC_OPTION_H
#define ASY_SEC_OPTION_H

#include "base/asy.h"

ASY_HIDDEN

int asy_option_sets(lua_State *L);  /* a function of ssl.context: setoptions(context, name, ...) */
void asy_option_push(lua_State *L); /* pushes config.options */

ASY_HIDDEN_END

#endif
