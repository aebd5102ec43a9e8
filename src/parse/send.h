/*
** send.h - an HTTP connection's methods that give what is to be sent.
*/
#ifndef ASY_PARSE_SEND_H
#define ASY_PARSE_SEND_H

#include "base/asy.h"

ASY_HIDDEN

extern const luaL_Reg asy_connection_sends[];

ASY_HIDDEN_END

#endif
