/*
** sni.c - a server's context by the name that the client asks for.
*/
#include "tls/sni.h"

#include <ctype.h>
#include <openssl/sha.h>

#include "base/alloc.h"
#include "tls/verify.h"

#define HOST_NAME 0     /* the only type of name there is */
#define NAME_MOST 255

static size_t number(const unsigned char *p) { return (size_t)p[0] << 8 | p[1]; }

/* The name in small letters, without a final dot; "": none. What isn't well-formed OpenSSL refuses later. */
static void read_name(char to[NAME_MOST + 1], SSL *ssl) {
  const unsigned char *p;
  size_t n, len;
  *to = 0;
  if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n)) return;
  if (n < 5 || number(p) != n - 2 || p[2] != HOST_NAME) return;
  len = number(p + 3);
  if (len != n - 5 || !len || len > NAME_MOST || memchr(p + 5, 0, len)) return;
  for (size_t i = 0; i < len; i++) to[i] = (char)tolower(p[5 + i]);
  if (to[len - 1] == '.') len--;
  to[len] = 0;
}

static bool note_name(Engine *e, const char *name) { return !*name || (e->name = mem_strdup(name)) != NULL; }

/* A session is one of this context, and of this name: whoever takes it up again asks for the same host. A short name
** stands there itself: a sum costs as much as all else that is done here. What is shorter than a sum is none. */
static bool set_sessions(SSL *ssl, const Context *c, const char *name) {
  unsigned char text[CONTEXT_SID + NAME_MOST + 1], sum[SHA256_DIGEST_LENGTH];
  size_t n = CONTEXT_SID + strlen(name);
  memcpy(text, c->sid, CONTEXT_SID);
  memcpy(text + CONTEXT_SID, name, n - CONTEXT_SID + 1);
  if (n < sizeof sum) return SSL_set_session_id_context(ssl, text, (unsigned)n);
  return SHA256(text, n, sum) && SSL_set_session_id_context(ssl, sum, sizeof sum);
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
         SSL_set_num_tickets(ssl, SSL_CTX_get_num_tickets(c->ctx));
}

static void fail(Engine *e, const char *what, const char *why) {
  Failure *f = failure_at(&e->failure);
  if (f) failure_set(f, FAILURE_ERROR, "SSL", "CALLBACK_FAILED", "%s%s", what, why);
}

/* Comes for the first hello, again once that has its answer, and for a second hello (after a HelloRetryRequest), which
** may not name another host than the one that was answered for. */
int sni_hello(SSL *ssl, int *alert, void *arg) {
  Engine *e = SSL_get_app_data(ssl);
  char name[NAME_MOST + 1];
  (void)arg;
  *alert = SSL_AD_INTERNAL_ERROR;
  read_name(name, ssl);
  if (e->asked == NAME_NOT_ASKED) {
    if (!note_name(e, name)) {
      e->bio.no_memory = true;
      return SSL_CLIENT_HELLO_ERROR;
    }
    e->asked = e->context->has_sni ? NAME_ASKED : NAME_ANSWERED;
  } else if (strcmp(name, e->name ? e->name : "") != 0) {
    *alert = SSL_AD_ILLEGAL_PARAMETER;
    fail(e, "the client asks for another name in its second hello than in its first", "");
    return SSL_CLIENT_HELLO_ERROR;
  }
  if (e->asked == NAME_ASKED) return SSL_CLIENT_HELLO_RETRY;
  if (e->asked == NAME_REFUSED) {
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_CLIENT_HELLO_ERROR;
  }
  const Context *c = e->chosen ? e->chosen : e->context;
  return (!e->chosen || apply(ssl, c)) && set_sessions(ssl, c, name) ? SSL_CLIENT_HELLO_SUCCESS
                                                                       : SSL_CLIENT_HELLO_ERROR;
}

void sni_choose(Engine *e, Context *context) {
  if (e->asked != NAME_ASKED) return;
  e->asked = NAME_ANSWERED;
  if (!context || context == e->context) return;
  context->fixed = true;
  SSL_CTX_set_client_hello_cb(context->ctx, sni_hello, NULL); /* a second hello is shown to the chosen one's */
  e->chosen = context_hold(context);
}

void sni_refuse(Engine *e, const char *why) {
  if (e->asked != NAME_ASKED) return;
  e->asked = NAME_REFUSED;
  fail(e, "the client was refused: ", why);
}
