/*
** info.h - what is known of a connection: get_extra_info's names.
*/
#ifndef ASY_TLS_INFO_H
#define ASY_TLS_INFO_H

#include "tls/engine.h"

ASY_HIDDEN

/* Pushes it, or nothing where the name is another's or nothing is known: how many. */
int asy_tls_info(lua_State *L, Engine *engine, const char *name);

ASY_HIDDEN_END

#endif
