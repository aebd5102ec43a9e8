/*
** facts.c - what is known of a connection, also when it has ended: an SSL has tens of KiB that tell nothing.
*/
#include "tls/facts.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/alloc.h"

Facts facts_look(SSL *ssl) {
  const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
  Facts facts = {.version = SSL_is_init_finished(ssl) ? SSL_get_version(ssl) : NULL,
                 .cipher = cipher ? SSL_CIPHER_get_name(cipher) : NULL,
                 .server_name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name),
                 .cert = SSL_get0_peer_certificate(ssl),
                 .verified = SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE && SSL_get_verify_result(ssl) == X509_V_OK,
                 .reused = SSL_session_reused(ssl),
                 .can_half = SSL_version(ssl) >= TLS1_3_VERSION};
  SSL_get0_alpn_selected(ssl, &facts.alpn, &facts.nalpn);
  return facts;
}

static void *copied(const void *bytes, size_t n) {
  void *to = bytes ? mem_alloc(n) : NULL;
  if (to) memcpy(to, bytes, n);
  return to;
}

/* *der: NULL where there is no memory. */
static int write_certificate(X509 *cert, unsigned char **der) {
  int n = cert ? i2d_X509(cert, NULL) : 0;
  unsigned char *at = *der = n > 0 ? mem_alloc((size_t)n) : NULL;
  if (at) n = i2d_X509(cert, &at);
  return at ? n : 0;
}

Facts facts_keep(SSL *ssl) {
  Facts facts = facts_look(ssl);
  const char *name = facts.server_name;
  facts.server_name = copied(name, name ? strlen(name) + 1 : 0);
  if (!(facts.alpn = facts.nalpn ? copied(facts.alpn, facts.nalpn) : NULL)) facts.nalpn = 0;
  facts.nder = write_certificate(facts.cert, &facts.der);
  facts.cert = NULL;
  return facts;
}

void facts_free(Facts *facts) {
  mem_free((char *)facts->server_name);
  mem_free((unsigned char *)facts->alpn);
  mem_free(facts->der);
  X509_free(facts->cert);
}

X509 *facts_cert(Facts *facts) {
  const unsigned char *at = facts->der;
  if (!facts->cert && at) facts->cert = d2i_X509(NULL, &at, facts->nder);
  ERR_clear_error();
  return facts->cert;
}
