/*
** context.h - what a TLS connection begins with: an SSL_CTX, and what OpenSSL keeps nowhere.
**
** A context is C, counted, and outlives its Lua object (box.h) where connections still use it. One thread uses it.
*/
#ifndef ASY_TLS_CONTEXT_H
#define ASY_TLS_CONTEXT_H

#include <openssl/ssl.h>

#include "net/filter.h"
#include "tls/session.h"

ASY_HIDDEN

#define CONTEXT_SID 12 /* bytes of what tells its sessions from other contexts' */

typedef struct Context {
  FilterSource source; /* the core's way in */
  unsigned refs;
  SSL_CTX *ctx;
  BIO_METHOD *bio;
  Sessions sessions;   /* a client's */
  unsigned char sid[CONTEXT_SID];
  unsigned char *alpn; /* on the wire's form; or NULL */
  unsigned nalpn;
  char *ciphersuites;  /* of TLS 1.3, where they aren't the default; or NULL */
  int keylog;          /* a descriptor, or -1 */
  bool server;
  bool fixed;          /* something has used it */
  bool check_hostname; /* a client's */
  bool ignore_eof;
  bool has_sni;        /* its object has a table or a function of other contexts */
  bool has_crl;
  bool has_authorities; /* or places where some may be */
} Context;

/* NULL: OpenSSL says why. */
Context *context_new(bool server);
Context *context_hold(Context *context);
void context_release(Context *context);

bool context_has_certificate(const Context *context);

/* Options. False: OpenSSL says why. */
void context_set_verify(Context *context, int mode, bool check_hostname);
bool context_set_alpn(Context *context, const unsigned char *wire, size_t n);
bool context_set_ciphersuites(Context *context, const char *names);
/* The descriptor is the context's. */
void context_set_keylog(Context *context, int fd);

ASY_HIDDEN_END

#endif
