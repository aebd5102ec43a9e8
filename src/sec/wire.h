/*
** wire.h - OpenSSL's view of a descriptor: as its own for sockets, but that a peer that has gone raises no SIGPIPE.
*/
#ifndef ASY_SEC_WIRE_H
#define ASY_SEC_WIRE_H

#include <openssl/bio.h>

#include "sec/link.h"

ASY_HIDDEN

/* NULL: no memory. */
BIO_METHOD *wire_method_new(void);
BIO *wire_new(const BIO_METHOD *method, Link *link);

ASY_HIDDEN_END

#endif
