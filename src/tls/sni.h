/*
** sni.h - a server's context by the name that the client asks for.
**
** OpenSSL shows the client's hello; the engine stops there until somebody (ask.h) has answered, then the chosen context
** counts for the connection entirely: OpenSSL by itself would switch to its certificate only.
*/
#ifndef ASY_TLS_SNI_H
#define ASY_TLS_SNI_H

#include "tls/engine.h"

ASY_HIDDEN

/* OpenSSL's callback for the client's hello. */
int sni_hello(SSL *ssl, int *alert, void *arg);

/* The answer. NULL: the context itself. */
void sni_choose(Engine *engine, Context *context);
/* There is none: the client is refused. */
void sni_refuse(Engine *engine, const char *why);

ASY_HIDDEN_END

#endif
