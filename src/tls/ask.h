/*
** ask.h - which context a client's name takes, asked of Lua: a context's `sni`.
*/
#ifndef ASY_TLS_ASK_H
#define ASY_TLS_ASK_H

#include "tls/engine.h"

ASY_HIDDEN

/* Answers what the engine has stopped for. Raises nothing; an error of what was asked is pushed: how many.
** handler: the stack index of a message handler. */
int asy_tls_ask(lua_State *L, Engine *engine, int handler);

ASY_HIDDEN_END

#endif
