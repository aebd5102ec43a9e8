/*
** bio.h - OpenSSL's view of the bytes that a step of an engine may take and put: a BIO of our own.
**
** It reads off the front of the step's window, writes to its `put`, and never blocks.
*/
#ifndef ASY_TLS_BIO_H
#define ASY_TLS_BIO_H

#include <openssl/bio.h>

#include "base/asy.h"

ASY_HIDDEN

#define BIO_FIRST 8 /* so many of the first bytes that came are remembered */

/* What a step works on: bytes[0..n) have come, and are all there is when `ended`. */
typedef struct EngineIo {
  const char *bytes;
  size_t n;
  bool ended;
  bool (*put)(void *to, const char *bytes, size_t n); /* false: no memory */
  void *to;
} EngineIo;

/* What the BIO has: its data. */
typedef struct BioState {
  EngineIo *io;            /* of the step under way; or NULL */
  bool no_memory;          /* `put` has failed */
  unsigned char nfirst;
  char first[BIO_FIRST];   /* what the peer began with, for the error where that isn't TLS */
} BioState;

/* NULL: no memory. */
BIO_METHOD *bio_method_new(void);
BIO *bio_new(const BIO_METHOD *method, BioState *state);

ASY_HIDDEN_END

#endif
