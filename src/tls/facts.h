/*
** facts.h - what is known of a connection: of one whose SSL is there, and of one that has ended.
*/
#ifndef ASY_TLS_FACTS_H
#define ASY_TLS_FACTS_H

#include <openssl/ssl.h>

#include "base/asy.h"

ASY_HIDDEN

/* Its texts are OpenSSL's, and its certificate is the SSL's, or all of it is a copy. */
typedef struct Facts {
  const char *version, *cipher; /* or NULL, as what follows; these two are never copied */
  const char *server_name;
  const unsigned char *alpn;
  unsigned nalpn;
  X509 *cert;         /* the peer's. Of a copy: NULL until somebody asks for it; then made of ... */
  unsigned char *der; /* ... a tenth of the memory */
  int nder;
  bool verified, reused, can_half;
} Facts;

/* As the SSL, which must outlive it, knows them. */
Facts facts_look(SSL *ssl);

/* A copy, to be freed. What there is no memory for it lacks. */
Facts facts_keep(SSL *ssl);
void facts_free(Facts *facts);

/* The peer's certificate, which is theirs; or NULL. */
X509 *facts_cert(Facts *facts);

ASY_HIDDEN_END

#endif
