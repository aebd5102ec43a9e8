/*
** trust.h - how a peer's certificate is looked at: LuaSec's verify and verifyext.
*/
#ifndef ASY_SEC_TRUST_H
#define ASY_SEC_TRUST_H

#include "sec/context.h"

ASY_HIDDEN

/* Functions of ssl.context: setverify(context, ...), setdepth(context, n); the method setverifyext(...). */
int asy_trust_setverify(lua_State *L);
int asy_trust_setdepth(lua_State *L);
int asy_trust_setverifyext(lua_State *L);

ASY_HIDDEN_END

#endif
