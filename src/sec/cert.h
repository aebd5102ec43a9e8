/*
** cert.h - LuaSec's certificates.
*/
#ifndef ASY_SEC_CERT_H
#define ASY_SEC_CERT_H

#include <openssl/x509.h>

#include "base/asy.h"

ASY_HIDDEN

#define CERT "asyncio.openssl.Certificate" /* the class; LuaSec's own may be in the state, too */

typedef struct Cert {
  X509 *x509;
  bool utf8; /* names are given so; or as they are */
} Cert;

/* Pushes one that is empty. That is for a certificate which stays its owner's; for NULL nil takes its place, on the top. */
Cert *asy_cert_new(lua_State *L);
void asy_cert_fill(lua_State *L, Cert *cert, X509 *x509);
Cert *asy_cert_check(lua_State *L, int idx);

/* Pushes a string of OpenSSL's, in the certificate's encoding; nil for NULL. */
void asy_cert_pushtext(lua_State *L, const Cert *cert, const ASN1_STRING *text);

/* Pushes the class, which is made; its methods are to come. */
void asy_cert_class(lua_State *L);

ASY_HIDDEN_END

#endif
