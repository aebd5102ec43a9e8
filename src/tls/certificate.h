/*
** certificate.h - a certificate as a table.
*/
#ifndef ASY_TLS_CERTIFICATE_H
#define ASY_TLS_CERTIFICATE_H

#include <openssl/x509.h>

#include "base/asy.h"

ASY_HIDDEN

void asy_certificate_push(lua_State *L, X509 *cert, bool verified);

/* Makes what the tables need. */
void asy_certificate_open(lua_State *L);

ASY_HIDDEN_END

#endif
