/*
** context.c - what a TLS connection begins with: an SSL_CTX, and what OpenSSL keeps nowhere.
*/
#include "tls/context.h"

#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tls/bio.h"

#define OPTIONS (SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION)
#define SERVER_OPTIONS (SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA)
#define MODES \
  (SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY)
#define SERVER_SESSIONS 1024 /* those of clients of TLS 1.2 that take no tickets */

/* TLS 1.2's: a server offers what has forward secrecy and authenticates what it encrypts; a client also takes what
** older servers have to offer, as Python's does. */
#define SERVER_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!aDSS"
#define CLIENT_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"

/* The server's own order counts. One that shares none with its client says so. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *theirs,
                       unsigned ntheirs, void *arg) {
  const Context *c = arg;
  unsigned char *chosen;
  (void)ssl;
  if (SSL_select_next_proto(&chosen, n, c->alpn, c->nalpn, theirs, ntheirs) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

/* A whole line at once: others may write to the same file. What fails here is no reason to end a connection. */
static void log_keys(const SSL *ssl, const char *text) {
  const Context *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
  char line[512];
  int n = snprintf(line, sizeof line, "%s\n", text);
  if (!c || c->keylog < 0 || n < 0 || (size_t)n >= sizeof line) return;
  ssize_t written = write(c->keylog, line, (size_t)n);
  OPENSSL_cleanse(line, sizeof line);
  (void)written;
}

static bool set_up(Context *c) {
  SSL_CTX *ctx = c->ctx;
  SSL_CTX_set_app_data(ctx, c);
  SSL_CTX_set_options(ctx, OPTIONS | (c->server ? SERVER_OPTIONS : 0));
  SSL_CTX_set_mode(ctx, MODES);
  SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
  SSL_CTX_set_session_cache_mode(ctx, c->server ? SSL_SESS_CACHE_SERVER
                                                : SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_cache_size(ctx, SERVER_SESSIONS);
  X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) && SSL_CTX_set_max_proto_version(ctx, 0) &&
         SSL_CTX_set_cipher_list(ctx, c->server ? SERVER_CIPHERS : CLIENT_CIPHERS) &&
         RAND_bytes(c->sid, sizeof c->sid) > 0 && SSL_CTX_set_session_id_context(ctx, c->sid, sizeof c->sid);
}

Context *context_new(bool server) {
  Context *c = mem_calloc(1, sizeof *c);
  if (!c) return NULL;
  c->refs = 1;
  c->server = server;
  c->keylog = -1;
  c->bio = bio_method_new();
  c->ctx = c->bio ? SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()) : NULL;
  if (c->ctx && set_up(c)) return c;
  context_release(c);
  return NULL;
}

Context *context_hold(Context *c) {
  c->refs++;
  return c;
}

void context_release(Context *c) {
  if (!c || --c->refs) return;
  sessions_free(&c->sessions);
  SSL_CTX_free(c->ctx);
  BIO_meth_free(c->bio);
  if (c->keylog >= 0) close(c->keylog);
  mem_free(c->alpn);
  mem_free(c->ciphersuites);
  mem_free(c);
}

bool context_has_certificate(const Context *c) { return SSL_CTX_get0_certificate(c->ctx) != NULL; }

/* Options */

void context_set_verify(Context *c, int mode, bool check_hostname) {
  SSL_CTX_set_verify(c->ctx, mode, NULL);
  c->check_hostname = check_hostname;
}

bool context_set_alpn(Context *c, const unsigned char *wire, size_t n) {
  unsigned char *copy = n ? mem_alloc(n) : NULL;
  if (n && !copy) return false;
  if (n) memcpy(copy, wire, n);
  if (!c->server && SSL_CTX_set_alpn_protos(c->ctx, copy, (unsigned)n)) { /* 0 is success */
    mem_free(copy);
    return false;
  }
  mem_free(c->alpn);
  c->alpn = copy;
  c->nalpn = (unsigned)n;
  if (c->server) SSL_CTX_set_alpn_select_cb(c->ctx, n ? choose_alpn : NULL, c);
  return true;
}

bool context_set_ciphersuites(Context *c, const char *names) {
  char *copy = mem_strdup(names);
  if (!copy || !SSL_CTX_set_ciphersuites(c->ctx, names)) {
    mem_free(copy);
    return false;
  }
  mem_free(c->ciphersuites);
  c->ciphersuites = copy;
  return true;
}

void context_set_keylog(Context *c, int fd) {
  if (c->keylog >= 0) close(c->keylog);
  c->keylog = fd;
  SSL_CTX_set_keylog_callback(c->ctx, log_keys);
}
