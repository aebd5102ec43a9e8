/*
** ask.h - which context a client's name takes, asked of Lua: a context's `sni`.
*/
#ifndef ASY_TLS_ASK_H
#define ASY_TLS_ASK_H

#include "tls/engine.h"

ASY_HIDDEN

/* Answers what the engine has stopped for. Raises nothing. */
void asy_tls_ask(lua_State *L, Engine *engine);

ASY_HIDDEN_END

#endif
