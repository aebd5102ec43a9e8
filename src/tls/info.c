/*
** info.c - what is known of a connection: get_extra_info's names.
*/
#include "tls/info.h"

#include <string.h>

#include "tls/box.h"
#include "tls/certificate.h"

static int push_text(lua_State *L, const char *text) {
  if (!text) return 0;
  lua_pushstring(L, text);
  return 1;
}

static int push_peercert(lua_State *L, Engine *e) {
  X509 *cert = SSL_get0_peer_certificate(e->ssl);
  if (!cert) return 0;
  bool verified = SSL_get_verify_mode(e->ssl) != SSL_VERIFY_NONE && SSL_get_verify_result(e->ssl) == X509_V_OK;
  asy_certificate_push(L, cert, verified);
  return 1;
}

static int push_cipher(lua_State *L, Engine *e) {
  const SSL_CIPHER *cipher = SSL_get_current_cipher(e->ssl);
  return cipher ? push_text(L, SSL_CIPHER_get_name(cipher)) : 0;
}

static int push_version(lua_State *L, Engine *e) {
  return push_text(L, SSL_is_init_finished(e->ssl) ? SSL_get_version(e->ssl) : NULL);
}

static int push_alpn(lua_State *L, Engine *e) {
  const unsigned char *protocol;
  unsigned n;
  SSL_get0_alpn_selected(e->ssl, &protocol, &n);
  if (!n) return 0;
  lua_pushlstring(L, (const char *)protocol, n);
  return 1;
}

static int push_server_name(lua_State *L, Engine *e) {
  return push_text(L, SSL_get_servername(e->ssl, TLSEXT_NAMETYPE_host_name));
}

static int push_reused(lua_State *L, Engine *e) {
  lua_pushboolean(L, SSL_session_reused(e->ssl));
  return 1;
}

static int push_context(lua_State *L, Engine *e) {
  asy_box_push(L, engine_context(e));
  return 1;
}

static const struct {
  const char *name;
  int (*push)(lua_State *L, Engine *e);
} INFOS[] = {{"peercert", push_peercert},   {"cipher", push_cipher},           {"tls_version", push_version},
             {"alpn_protocol", push_alpn},  {"server_name", push_server_name}, {"session_reused", push_reused},
             {"ssl_context", push_context}};

int asy_tls_info(lua_State *L, Engine *e, const char *name) {
  for (size_t i = 0; i < sizeof INFOS / sizeof *INFOS; i++)
    if (!strcmp(INFOS[i].name, name)) return INFOS[i].push(L, e);
  return 0;
}
