/*
** option.c - OpenSSL's options by LuaSec's names.
*/
#include "sec/option.h"

#include <string.h>

#include "sec/context.h"

#define NAMED(name, NAME) {name, SSL_OP_##NAME}

static const struct {
  const char *name;
  uint64_t bits;
} OPTIONS[] = {
    NAMED("all", ALL),
    NAMED("allow_client_renegotiation", ALLOW_CLIENT_RENEGOTIATION),
    NAMED("allow_no_dhe_kex", ALLOW_NO_DHE_KEX),
    NAMED("allow_unsafe_legacy_renegotiation", ALLOW_UNSAFE_LEGACY_RENEGOTIATION),
    NAMED("cipher_server_preference", CIPHER_SERVER_PREFERENCE),
    NAMED("cisco_anyconnect", CISCO_ANYCONNECT),
    NAMED("cleanse_plaintext", CLEANSE_PLAINTEXT),
    NAMED("cookie_exchange", COOKIE_EXCHANGE),
    NAMED("cryptopro_tlsext_bug", CRYPTOPRO_TLSEXT_BUG),
    NAMED("disable_tlsext_ca_names", DISABLE_TLSEXT_CA_NAMES),
    NAMED("dont_insert_empty_fragments", DONT_INSERT_EMPTY_FRAGMENTS),
    NAMED("enable_ktls", ENABLE_KTLS),
    NAMED("enable_middlebox_compat", ENABLE_MIDDLEBOX_COMPAT),
    NAMED("ephemeral_rsa", EPHEMERAL_RSA),
    NAMED("ignore_unexpected_eof", IGNORE_UNEXPECTED_EOF),
    NAMED("legacy_server_connect", LEGACY_SERVER_CONNECT),
    NAMED("microsoft_big_sslv3_buffer", MICROSOFT_BIG_SSLV3_BUFFER),
    NAMED("microsoft_sess_id_bug", MICROSOFT_SESS_ID_BUG),
    NAMED("msie_sslv2_rsa_padding", MSIE_SSLV2_RSA_PADDING),
    NAMED("netscape_ca_dn_bug", NETSCAPE_CA_DN_BUG),
    NAMED("netscape_challenge_bug", NETSCAPE_CHALLENGE_BUG),
    NAMED("netscape_demo_cipher_change_bug", NETSCAPE_DEMO_CIPHER_CHANGE_BUG),
    NAMED("netscape_reuse_cipher_change_bug", NETSCAPE_REUSE_CIPHER_CHANGE_BUG),
    NAMED("no_anti_replay", NO_ANTI_REPLAY),
    NAMED("no_compression", NO_COMPRESSION),
    NAMED("no_dtls_mask", NO_DTLS_MASK),
    NAMED("no_dtlsv1", NO_DTLSv1),
    NAMED("no_dtlsv1_2", NO_DTLSv1_2),
    NAMED("no_encrypt_then_mac", NO_ENCRYPT_THEN_MAC),
    NAMED("no_extended_master_secret", NO_EXTENDED_MASTER_SECRET),
    NAMED("no_query_mtu", NO_QUERY_MTU),
    NAMED("no_renegotiation", NO_RENEGOTIATION),
    NAMED("no_session_resumption_on_renegotiation", NO_SESSION_RESUMPTION_ON_RENEGOTIATION),
    NAMED("no_ssl_mask", NO_SSL_MASK),
    NAMED("no_sslv2", NO_SSLv2),
    NAMED("no_sslv3", NO_SSLv3),
    NAMED("no_ticket", NO_TICKET),
    NAMED("no_tlsv1", NO_TLSv1),
    NAMED("no_tlsv1_1", NO_TLSv1_1),
    NAMED("no_tlsv1_2", NO_TLSv1_2),
    NAMED("no_tlsv1_3", NO_TLSv1_3),
    NAMED("pkcs1_check_1", PKCS1_CHECK_1),
    NAMED("pkcs1_check_2", PKCS1_CHECK_2),
    NAMED("prioritize_chacha", PRIORITIZE_CHACHA),
    NAMED("safari_ecdhe_ecdsa_bug", SAFARI_ECDHE_ECDSA_BUG),
    NAMED("single_dh_use", SINGLE_DH_USE),
    NAMED("single_ecdh_use", SINGLE_ECDH_USE),
    NAMED("ssleay_080_client_dh_bug", SSLEAY_080_CLIENT_DH_BUG),
    NAMED("sslref2_reuse_cert_type_bug", SSLREF2_REUSE_CERT_TYPE_BUG),
    NAMED("tls_block_padding_bug", TLS_BLOCK_PADDING_BUG),
    NAMED("tls_d5_bug", TLS_D5_BUG),
    NAMED("tls_rollback_bug", TLS_ROLLBACK_BUG),
    NAMED("tlsext_padding", TLSEXT_PADDING),
};

#define COUNT (sizeof OPTIONS / sizeof *OPTIONS)

/* setoptions(context, name, ...) */
int asy_option_sets(lua_State *L) {
  SSL_CTX *ctx = asy_seccontext_check(L, 1)->ctx;
  uint64_t bits = 0;
  int n = lua_gettop(L);
  for (int arg = 2; arg <= n; arg++) {
    const char *name = luaL_checkstring(L, arg);
    size_t i = 0;
    while (i < COUNT && strcmp(OPTIONS[i].name, name) != 0) i++;
    if (i == COUNT) {
      lua_pushboolean(L, 0);
      lua_pushfstring(L, "invalid option (%s)", name);
      return 2;
    }
    bits |= OPTIONS[i].bits;
  }
  SSL_CTX_set_options(ctx, bits);
  lua_pushboolean(L, 1);
  return 1;
}

void asy_option_push(lua_State *L) {
  lua_createtable(L, 0, COUNT);
  for (size_t i = 0; i < COUNT; i++) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, OPTIONS[i].name);
  }
}
