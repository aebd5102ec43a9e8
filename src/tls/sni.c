/*
** sni.c - a server's context by the name that the client asks for.
*/
#include "tls/sni.h"

#include <ctype.h>

#include "base/alloc.h"
#include "tls/verify.h"

#define HOST_NAME 0     /* the only type of name there is */
#define NAME_MOST 255

static size_t number(const unsigned char *p) { return (size_t)p[0] << 8 | p[1]; }

/* The name in small letters, without a final dot. False: no memory. What isn't well-formed OpenSSL refuses later. */
static bool note_name(Engine *e, SSL *ssl) {
  const unsigned char *p;
  size_t n, len;
  if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n)) return true;
  if (n < 5 || number(p) != n - 2 || p[2] != HOST_NAME) return true;
  len = number(p + 3);
  if (len != n - 5 || !len || len > NAME_MOST || memchr(p + 5, 0, len)) return true;
  char *name = mem_alloc(len + 1);
  if (!name) return false;
  for (size_t i = 0; i < len; i++) name[i] = (char)tolower(p[5 + i]);
  if (name[len - 1] == '.') len--;
  name[len] = 0;
  e->name = name;
  return true;
}

/* What SSL_new takes from a context, and SSL_set_SSL_CTX does not. */
static bool apply(SSL *ssl, const Context *c) {
  X509_VERIFY_PARAM *param = SSL_get0_param(ssl), *its = SSL_CTX_get0_param(c->ctx);
  const char *suites = c->ciphersuites ? c->ciphersuites : OSSL_default_ciphersuites();
  if (!SSL_set_SSL_CTX(ssl, c->ctx)) return false;
  SSL_set_verify(ssl, SSL_CTX_get_verify_mode(c->ctx), verify_note);
  SSL_set_verify_depth(ssl, SSL_CTX_get_verify_depth(c->ctx));
  X509_VERIFY_PARAM_clear_flags(param, X509_VERIFY_PARAM_get_flags(param));
  return X509_VERIFY_PARAM_set_flags(param, X509_VERIFY_PARAM_get_flags(its)) && SSL_set_ciphersuites(ssl, suites) &&
         SSL_set_min_proto_version(ssl, SSL_CTX_get_min_proto_version(c->ctx)) &&
         SSL_set_max_proto_version(ssl, SSL_CTX_get_max_proto_version(c->ctx)) &&
         SSL_set_num_tickets(ssl, SSL_CTX_get_num_tickets(c->ctx)) &&
         SSL_set_session_id_context(ssl, c->sid, sizeof c->sid);
}

int sni_hello(SSL *ssl, int *alert, void *arg) {
  Engine *e = SSL_get_app_data(ssl);
  (void)arg;
  *alert = SSL_AD_INTERNAL_ERROR;
  if (e->asked == NAME_NOT_ASKED) {
    if (!e->context->has_sni) return SSL_CLIENT_HELLO_SUCCESS;
    if (!note_name(e, ssl)) {
      e->bio.no_memory = true;
      return SSL_CLIENT_HELLO_ERROR;
    }
    e->asked = NAME_ASKED;
  }
  if (e->asked == NAME_ASKED) return SSL_CLIENT_HELLO_RETRY;
  if (e->asked == NAME_REFUSED) {
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_CLIENT_HELLO_ERROR;
  }
  return !e->chosen || apply(ssl, e->chosen) ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_ERROR;
}

void sni_choose(Engine *e, Context *context) {
  if (e->asked != NAME_ASKED) return;
  e->asked = NAME_ANSWERED;
  if (!context || context == e->context) return;
  context->fixed = true;
  e->chosen = context_hold(context);
}

void sni_refuse(Engine *e, const char *why) {
  if (e->asked != NAME_ASKED) return;
  e->asked = NAME_REFUSED;
  Failure *f = failure_at(&e->failure);
  if (f) failure_set(f, FAILURE_ERROR, "SSL", "CALLBACK_FAILED", "the client was refused: %s", why);
}
