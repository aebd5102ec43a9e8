/*
** names.h - whom a certificate is for.
*/
#ifndef ASY_SEC_NAMES_H
#define ASY_SEC_NAMES_H

#include "base/asy.h"

ASY_HIDDEN

/* Methods of certificates. */
int asy_names_subject(lua_State *L);
int asy_names_issuer(lua_State *L);
int asy_names_extensions(lua_State *L);

ASY_HIDDEN_END

#endif
