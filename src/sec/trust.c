/*
** trust.c - how a peer's certificate is looked at.
**
** What is wrong with it is noted in the connection, by the depth in the chain, for getpeerverification.
*/
#include "sec/trust.h"

#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "sec/link.h"

static int refuse(lua_State *L, const char *name) {
  lua_pushboolean(L, 0);
  lua_pushfstring(L, "invalid verify option (%s)", name);
  return 2;
}

static int succeed(lua_State *L) {
  lua_pushboolean(L, 1);
  return 1;
}

static const struct {
  const char *name;
  int bits;
} MODES[] = {{"none", SSL_VERIFY_NONE},
             {"peer", SSL_VERIFY_PEER},
             {"client_once", SSL_VERIFY_CLIENT_ONCE},
             {"fail_if_no_peer_cert", SSL_VERIFY_FAIL_IF_NO_PEER_CERT}};

int asy_trust_setverify(lua_State *L) {
  SSL_CTX *ctx = asy_seccontext_check(L, 1)->ctx;
  int mode = 0, n = lua_gettop(L);
  for (int arg = 2; arg <= n; arg++) {
    const char *name = luaL_checkstring(L, arg);
    size_t i = 0;
    while (i < sizeof MODES / sizeof *MODES && strcmp(MODES[i].name, name) != 0) i++;
    if (i == sizeof MODES / sizeof *MODES) return refuse(L, name);
    mode |= MODES[i].bits;
  }
  if (n > 1) SSL_CTX_set_verify(ctx, mode, SSL_CTX_get_verify_callback(ctx));
  return succeed(L);
}

int asy_trust_setdepth(lua_State *L) {
  SSL_CTX *ctx = asy_seccontext_check(L, 1)->ctx;
  lua_Integer depth = luaL_checkinteger(L, 2);
  SSL_CTX_set_verify_depth(ctx, depth > INT32_MAX ? INT32_MAX : depth < INT32_MIN ? INT32_MIN : (int)depth);
  return succeed(L);
}

/* OpenSSL's callbacks */

static const SecContext *context_of(X509_STORE_CTX *store) {
  SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
  return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

static int verify_certificate(X509_STORE_CTX *store, void *arg) {
  const SecContext *c = context_of(store);
  (void)arg;
  X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(store);
  if (c && c->ignores_purpose && param) {
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    X509_VERIFY_PARAM_set_trust(param, X509_TRUST_SSL_SERVER);
  }
  return X509_verify_cert(store);
}

static int note(int good, X509_STORE_CTX *store) {
  SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
  const SecContext *c = context_of(store);
  if (good) return 1;
  if (!link_note(SSL_get_app_data(ssl), X509_STORE_CTX_get_error_depth(store), X509_STORE_CTX_get_error(store)))
    return 0;
  return c && c->goes_on;
}

int asy_trust_setverifyext(lua_State *L) {
  SecContext *c = asy_seccontext_check(L, 1);
  int n = lua_gettop(L);
  unsigned long crl = 0;
  bool goes_on = false, ignores_purpose = false;
  for (int arg = 2; arg <= n; arg++) {
    const char *name = luaL_checkstring(L, arg);
    if (!strcmp(name, "lsec_continue")) goes_on = true;
    else if (!strcmp(name, "lsec_ignore_purpose")) ignores_purpose = true;
    else if (!strcmp(name, "crl_check")) crl |= X509_V_FLAG_CRL_CHECK;
    else if (!strcmp(name, "crl_check_chain")) crl |= X509_V_FLAG_CRL_CHECK_ALL;
    else return refuse(L, name);
  }
  c->goes_on = goes_on;
  c->ignores_purpose = ignores_purpose;
  bool ours = goes_on || ignores_purpose;
  SSL_CTX_set_verify(c->ctx, SSL_CTX_get_verify_mode(c->ctx), ours ? note : NULL);
  SSL_CTX_set_cert_verify_callback(c->ctx, ours ? verify_certificate : NULL, NULL);
  X509_STORE_set_flags(SSL_CTX_get_cert_store(c->ctx), crl);
  return succeed(L);
}
