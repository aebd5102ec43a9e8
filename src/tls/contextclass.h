/*
** contextclass.h - asyncio.SSLContext's methods in C, which asyncio.ssl dresses.
*/
#ifndef ASY_TLS_CONTEXTCLASS_H
#define ASY_TLS_CONTEXTCLASS_H

#include "base/asy.h"

ASY_HIDDEN

/* Makes the class. stack: module; adds `new` */
void asy_contextclass_open(lua_State *L);

ASY_HIDDEN_END

#endif
