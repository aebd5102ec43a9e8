/*
** verify.h - a peer's certificate that isn't accepted: why, with its own names and dates.
*/
#ifndef ASY_TLS_VERIFY_H
#define ASY_TLS_VERIFY_H

#include "tls/engine.h"

ASY_HIDDEN

/* OpenSSL's callback: leaves the failure in the engine that is the SSL's app data. */
int verify_note(int ok, X509_STORE_CTX *store);

/* A failure of which nothing was noted. */
void verify_failed(Failure *failure, long code);

ASY_HIDDEN_END

#endif
