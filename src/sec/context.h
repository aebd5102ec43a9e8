/*
** context.h - LuaSec's contexts: an SSL_CTX and what LuaSec keeps with it.
*/
#ifndef ASY_SEC_CONTEXT_H
#define ASY_SEC_CONTEXT_H

#include <openssl/ssl.h>

#include "base/asy.h"

ASY_HIDDEN

#define SEC_CONTEXT "asyncio.openssl.Context" /* the class; LuaSec's own may be in the state, too */
#define CONTEXT_ALPN 1                        /* user value: a server's function that chooses a protocol */

typedef enum SecMode { SEC_NO_MODE, SEC_SERVER, SEC_CLIENT } SecMode;

typedef struct SecContext {
  SSL_CTX *ctx; /* NULL: it has been closed */
  SecMode mode;
  bool goes_on;         /* whatever is wrong with a certificate */
  bool ignores_purpose; /* a client's certificate may be a server's */
} SecContext;

/* One that hasn't been closed. */
SecContext *asy_seccontext_check(lua_State *L, int idx);
SecContext *asy_seccontext_test(lua_State *L, int idx);

/* Pushes one that has no SSL_CTX yet. */
SecContext *asy_seccontext_new(lua_State *L);
/* Pushes the class, which is made; its methods are to come. */
void asy_seccontext_class(lua_State *L);

ASY_HIDDEN_END

#endif
