/*
** engine.c - one side of a TLS connection, sans-IO: an SSL over the bytes that each step is given.
*/
#include "tls/engine.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/alloc.h"
#include "tls/sni.h"
#include "tls/verify.h"

/* Failing */

static void fail(Engine *e, FailureKind kind, const char *reason, const char *text) {
  e->failed = true;
  Failure *f = failure_at(&e->failure);
  if (f) failure_set(f, kind, "SSL", reason, "%s", text);
}

static bool is_text(const char *bytes, size_t n) {
  for (size_t i = 0; i < n; i++)
    if ((bytes[i] < ' ' || bytes[i] > '~') && bytes[i] != '\r' && bytes[i] != '\n') return false;
  return n >= 4;
}

/* What isn't TLS may be something known. */
static void name_other(Failure *f, const BioState *bio) {
  char shown[BIO_FIRST + 1] = "";
  if (bio->nfirst >= 5 && !memcmp(bio->first, "HTTP/", 5)) {
    failure_say(f, "the peer answers in plain HTTP, not in TLS");
  } else if (is_text(bio->first, bio->nfirst)) {
    for (size_t i = 0; i < bio->nfirst && bio->first[i] >= ' '; i++) shown[i] = bio->first[i];
    failure_say(f, "the peer speaks plain text (\"%s...\"), not TLS", shown);
  }
}

static bool is_ssl(unsigned long error, int reason) {
  return !ERR_SYSTEM_ERROR(error) && ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == reason;
}

/* Takes over what OpenSSL says, but for what a callback has known better. */
static void explain(Engine *e) {
  Failure fresh, *f = e->failure;
  unsigned long error = failure_read(&fresh);
  bool unverified = is_ssl(error, SSL_R_CERTIFICATE_VERIFY_FAILED);
  if (e->bio.no_memory) fresh.kind = FAILURE_NO_MEMORY;
  if (f && f->kind == FAILURE_NO_MEMORY) return;
  if (f && fresh.kind != FAILURE_NO_MEMORY && (unverified || is_ssl(error, SSL_R_CALLBACK_FAILED))) return;
  if (!(f = failure_at(&e->failure))) return;
  *f = fresh;
  if (f->kind == FAILURE_NO_MEMORY) return;
  if (unverified) verify_failed(f, SSL_get_verify_result(e->ssl));
  if (is_ssl(error, SSL_R_WRONG_VERSION_NUMBER)) name_other(f, &e->bio);
  bool unable = is_ssl(error, SSL_R_NO_SHARED_CIPHER) || is_ssl(error, SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM);
  if (unable && !SSL_get_certificate(e->ssl)) failure_say(f, "this side has no certificate");
  if (is_ssl(error, SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE) && SSL_get_peer_finished(e->ssl, NULL, 0))
    failure_say(f, "alert from the peer: handshake failure: it wanted to shake hands anew (renegotiation), which is refused");
}

static EngineStep give_up(Engine *e) {
  e->failed = true;
  explain(e);
  if (e->resumes && !SSL_is_init_finished(e->ssl)) sessions_forget(&e->context->sessions, e->key);
  return ENGINE_FAILED;
}

/* Steps */

static void begin(Engine *e, EngineIo *io) {
  failure_begin();
  e->bio.io = io;
}

/* There is nothing more to come, and the peer hasn't said so. */
static EngineStep cut_off(Engine *e) {
  bool shaken = SSL_is_init_finished(e->ssl);
  if (shaken && engine_context(e)->ignore_eof) return ENGINE_END;
  fail(e, FAILURE_TRUNCATED, "UNEXPECTED_EOF_WHILE_READING",
       shaken ? "the peer has closed the connection without saying so: what it sent may be cut off"
              : "the peer has closed the connection during the handshake");
  return ENGINE_FAILED;
}

/* What a call of OpenSSL that hasn't succeeded has come to. */
static EngineStep outcome(Engine *e, const EngineIo *io, int ret) {
  int error = SSL_get_error(e->ssl, ret);
  e->bio.io = NULL;
  switch (error) {
  case SSL_ERROR_WANT_READ: return io->ended && !io->n ? cut_off(e) : ENGINE_WANT_READ;
  case SSL_ERROR_WANT_CLIENT_HELLO_CB: return ENGINE_WANT_SNI;
  case SSL_ERROR_ZERO_RETURN: return SSL_is_init_finished(e->ssl) ? ENGINE_END : cut_off(e);
  default: return give_up(e);
  }
}

EngineStep engine_shake(Engine *e, EngineIo *io) {
  if (e->failed) return ENGINE_FAILED;
  begin(e, io);
  int ret = SSL_do_handshake(e->ssl);
  if (ret != 1) return outcome(e, io, ret);
  e->bio.io = NULL;
  return ENGINE_DONE;
}

EngineStep engine_read(Engine *e, EngineIo *io, char *to, size_t room, size_t *got) {
  *got = 0;
  if (e->failed) return ENGINE_FAILED;
  begin(e, io);
  if (!SSL_read_ex(e->ssl, to, room, got)) return outcome(e, io, 0);
  e->bio.io = NULL;
  return ENGINE_DONE;
}

EngineStep engine_write(Engine *e, EngineIo *io, const char *bytes, size_t n) {
  if (e->failed) return ENGINE_FAILED;
  begin(e, io);
  while (e->pushed < n) {
    size_t written;
    if (!SSL_write_ex(e->ssl, bytes + e->pushed, n - e->pushed, &written)) return outcome(e, io, 0);
    e->pushed += written;
  }
  e->pushed = 0;
  e->bio.io = NULL;
  return ENGINE_DONE;
}

EngineStep engine_finish(Engine *e, EngineIo *io) {
  if (e->failed) return ENGINE_FAILED;
  if (!SSL_is_init_finished(e->ssl)) return ENGINE_DONE; /* there is nothing to be ended yet */
  begin(e, io);
  int ret = SSL_shutdown(e->ssl);
  if (ret < 0) return outcome(e, io, ret);
  e->bio.io = NULL;
  return ENGINE_DONE;
}

/* Its life */

static int keep_session(SSL *ssl, SSL_SESSION *session) {
  Engine *e = SSL_get_app_data(ssl);
  return e->key && sessions_put(&e->context->sessions, e->key, session);
}

/* The two ways in which a server's session is kept: with it, or with the client. */
static int limit_cached(SSL *ssl, SSL_SESSION *session) {
  (void)ssl;
  session_limit(session);
  return 0;
}

static int limit_ticket(SSL *ssl, void *arg) {
  (void)arg;
  session_limit(SSL_get_session(ssl));
  return 1;
}

static int accept_name(SSL *ssl, int *alert, void *arg) {
  (void)ssl;
  (void)alert;
  (void)arg;
  return SSL_TLSEXT_ERR_OK;
}

static void hook(SSL_CTX *ctx, bool server) {
  if (!server) {
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    return;
  }
  SSL_CTX_set_client_hello_cb(ctx, sni_hello, NULL);
  SSL_CTX_set_tlsext_servername_callback(ctx, accept_name); /* so that its client hears that the name is known */
  SSL_CTX_sess_set_new_cb(ctx, limit_cached);
  SSL_CTX_set_session_ticket_cb(ctx, limit_ticket, NULL, NULL);
}

/* An IP address; one of IPv6 whatever zone it has. */
static bool is_address(const char *name, char *address, size_t size) {
  unsigned char bytes[16];
  size_t n = strcspn(name, "%");
  if (n >= size) return false;
  memcpy(address, name, n);
  address[n] = 0;
  return (!name[n] && inet_pton(AF_INET, address, bytes) == 1) || inet_pton(AF_INET6, address, bytes) == 1;
}

/* What the peer is asked for, and what its certificate must be for. */
static bool set_name(Engine *e, const char *name) {
  char address[INET6_ADDRSTRLEN];
  size_t n = name ? strlen(name) : 0;
  if (n && name[n - 1] == '.') n--;
  if (!n || *name == '.' || n > TLSEXT_MAXLEN_host_name) {
    if (name || e->context->check_hostname)
      fail(e, FAILURE_ERROR, "HOSTNAME_MISMATCH", n > 1 ? "what the peer's certificate must be for is no host's name"
                                                        : "there is no name that the peer's certificate could be for");
    return true;
  }
  if (!(e->name = mem_alloc(n + 1))) return false;
  memcpy(e->name, name, n);
  e->name[n] = 0;
  bool ip = is_address(e->name, address, sizeof address), checks = e->context->check_hostname;
  if (!ip && SSL_set_tlsext_host_name(e->ssl, e->name) != 1) return false;
  if (!checks) return true;
  X509_VERIFY_PARAM *param = SSL_get0_param(e->ssl);
  return ip ? X509_VERIFY_PARAM_set1_ip_asc(param, address) : X509_VERIFY_PARAM_set1_host(param, e->name, n);
}

/* Neither its host nor its name has a line's end, unless somebody looks for trouble. */
static bool set_session(Engine *e, const char *key) {
  size_t nkey = strlen(key), nname = e->name ? strlen(e->name) : 0;
  if (!(e->key = mem_alloc(nkey + nname + 2))) return false;
  memcpy(e->key, key, nkey);
  e->key[nkey] = '\n';
  memcpy(e->key + nkey + 1, e->name ? e->name : "", nname + 1);
  SSL_SESSION *session = sessions_take(&e->context->sessions, e->key);
  if (!session) return true;
  e->resumes = SSL_set_session(e->ssl, session) == 1;
  SSL_SESSION_free(session);
  return true;
}

bool engine_init(Engine *e, Context *context, bool server, const char *name, const char *key) {
  memset(e, 0, sizeof *e);
  e->context = context_hold(context);
  hook(context->ctx, server);
  e->ssl = SSL_new(context->ctx);
  BIO *bio = e->ssl ? bio_new(context->bio, &e->bio) : NULL;
  if (!bio || !SSL_set_app_data(e->ssl, e)) {
    BIO_free(bio);
    return false;
  }
  context->fixed = true;
  SSL_set_bio(e->ssl, bio, bio);
  SSL_set_verify(e->ssl, SSL_get_verify_mode(e->ssl), verify_note);
  if (server)
    SSL_set_accept_state(e->ssl);
  else
    SSL_set_connect_state(e->ssl);
  return server || (set_name(e, name) && (e->failed || !key || set_session(e, key)));
}

/* OpenSSL forgets sessions of connections that haven't ended in good order. Only what has failed is a reason here. */
static void free_ssl(Engine *e) {
  bool cut = e->failed && e->failure && e->failure->kind == FAILURE_TRUNCATED;
  if (e->ssl && (!e->failed || cut)) SSL_set_shutdown(e->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(e->ssl);
  e->ssl = NULL;
}

void engine_retire(Engine *e) {
  if (!e->ssl) return;
  failure_begin();
  e->past = facts_keep(e->ssl);
  free_ssl(e);
}

void engine_free(Engine *e) {
  free_ssl(e);
  facts_free(&e->past);
  context_release(e->chosen);
  context_release(e->context);
  mem_free(e->name);
  mem_free(e->key);
  mem_free(e->failure);
}
