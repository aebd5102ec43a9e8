/*
** certclass.h - ssl.x509.
*/
#ifndef ASY_SEC_CERTCLASS_H
#define ASY_SEC_CERTCLASS_H

#include "base/asy.h"

ASY_HIDDEN

/* Makes the class of certificates, and pushes the table of functions. */
void asy_certclass_open(lua_State *L);

ASY_HIDDEN_END

#endif
