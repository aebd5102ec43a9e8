/*
** peer.c - a connection's methods that tell of the peer, and of what was agreed on; and those for the handshake to come.
*/
#include "sec/peer.h"

#include <limits.h>
#include <openssl/x509_vfy.h>
#include <string.h>

#include "sec/cert.h"
#include "sec/hold.h"
#include "sec/link.h"

/* One that has shaken hands; NULL: nil, or `otherwise`, and "closed" are pushed. */
static Link *check_shaken(lua_State *L) {
  Link *link = asy_link_check(L, 1);
  if (link->shaken) return link;
  lua_pushnil(L);
  lua_pushliteral(L, "closed");
  return NULL;
}

static int push_text(lua_State *L, const char *text) {
  lua_pushstring(L, text);
  return 1;
}

/* Certificates */

/* The n-th, from the peer's own on; or NULL. A server's chain lacks that one. */
static X509 *chain_at(const Link *link, lua_Integer n) {
  if (!link->ssl || n == 1) return link->ssl ? SSL_get0_peer_certificate(link->ssl) : NULL;
  STACK_OF(X509) *chain = SSL_get_peer_cert_chain(link->ssl);
  lua_Integer at = n - (link->mode == SEC_SERVER ? 2 : 1);
  return chain && at < sk_X509_num(chain) ? sk_X509_value(chain, (int)at) : NULL;
}

static int getpeercertificate(lua_State *L) {
  const Link *link = check_shaken(L);
  if (!link) return 2;
  lua_Integer n = luaL_optinteger(L, 2, 1);
  if (n < 1) {
    lua_pushnil(L);
    lua_pushliteral(L, "invalid certificate index");
    return 2;
  }
  Cert *cert = asy_cert_new(L);
  asy_cert_fill(L, cert, chain_at(link, n));
  return 1;
}

static int getpeerchain(lua_State *L) {
  const Link *link = check_shaken(L);
  if (!link) return 2;
  lua_newtable(L);
  for (lua_Integer n = 1;; n++) {
    Cert *cert = asy_cert_new(L);
    X509 *x509 = chain_at(link, n);
    if (!x509) break;
    asy_cert_fill(L, cert, x509);
    lua_rawseti(L, -2, n);
  }
  lua_pop(L, 1);
  return 1;
}

/* Pushes { [depth + 1] = { words, ... } } */
static void push_notes(lua_State *L, const Link *link) {
  lua_newtable(L);
  for (size_t i = 0; i < link->nnotes; i++) {
    LinkNote note = link->notes[i];
    if (lua_rawgeti(L, -1, note.depth + 1) == LUA_TNIL) {
      lua_pop(L, 1);
      lua_newtable(L);
      lua_pushvalue(L, -1);
      lua_rawseti(L, -3, note.depth + 1);
    }
    lua_pushstring(L, X509_verify_cert_error_string(note.error));
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
  }
}

static int getpeerverification(lua_State *L) {
  const Link *link = asy_link_check(L, 1);
  long error = link->shaken ? SSL_get_verify_result(link->ssl) : X509_V_OK;
  lua_pushboolean(L, link->shaken && error == X509_V_OK);
  if (!link->shaken)
    lua_pushliteral(L, "closed");
  else if (error == X509_V_OK)
    return 1;
  else if (link->nnotes)
    push_notes(L, link);
  else
    lua_pushstring(L, X509_verify_cert_error_string(error));
  return 2;
}

/* What was agreed on */

typedef size_t Finished(const SSL *ssl, void *to, size_t room);

static int push_finished(lua_State *L, Finished *finished) {
  char bytes[256];
  const Link *link = asy_link_open(L);
  if (!link) return 2;
  size_t n = finished(link->ssl, bytes, sizeof bytes);
  if (!n) return 0;
  lua_pushlstring(L, bytes, n < sizeof bytes ? n : sizeof bytes);
  return 1;
}

static int getfinished(lua_State *L) {
  return check_shaken(L) ? push_finished(L, SSL_get_finished) : 2;
}

static int getpeerfinished(lua_State *L) { return push_finished(L, SSL_get_peer_finished); }

static int getalpn(lua_State *L) {
  const unsigned char *name;
  unsigned n;
  const Link *link = asy_link_open(L);
  if (!link) return 2;
  SSL_get0_alpn_selected(link->ssl, &name, &n);
  if (!n) lua_pushnil(L);
  else lua_pushlstring(L, (const char *)name, n);
  return 1;
}

static int getsniname(lua_State *L) {
  const Link *link = asy_link_open(L);
  return link ? push_text(L, SSL_get_servername(link->ssl, TLSEXT_NAMETYPE_host_name)) : 2;
}

/* exportkeyingmaterial(label, n, [context]) */
static int exportkeyingmaterial(lua_State *L) {
  size_t nlabel, ncontext = 0;
  const Link *link = asy_link_check(L, 1);
  if (!link->shaken) return 0;
  const char *label = luaL_checklstring(L, 2, &nlabel);
  lua_Integer n = luaL_checkinteger(L, 3);
  const char *context = luaL_optlstring(L, 4, NULL, &ncontext);
  luaL_argcheck(L, n >= 0 && n <= INT_MAX, 3, "out of range");
  unsigned char *bytes = lua_newuserdatauv(L, (size_t)n + 1, 0);
  sec_begin();
  if (link->ssl && SSL_export_keying_material(link->ssl, bytes, (size_t)n, label, nlabel, (const unsigned char *)context,
                                              ncontext, context != NULL) == 1) {
    lua_pushlstring(L, (const char *)bytes, (size_t)n);
    return 1;
  }
  asy_sec_check_memory(L);
  lua_pushnil(L);
  lua_pushliteral(L, "error exporting keying material");
  return 2;
}

/* compression(connection) */
static int compression(lua_State *L) {
  const Link *link = check_shaken(L);
  if (!link) return 2;
  const COMP_METHOD *method = SSL_get_current_compression(link->ssl);
  return push_text(L, method ? SSL_COMP_get_name(method) : NULL);
}

/* info(connection) → OpenSSL's description of the cipher, its bits, and the algorithm's, the protocol */
static int info(lua_State *L) {
  char text[256];
  int bits, algorithm_bits;
  const Link *link = asy_link_open(L);
  const SSL_CIPHER *cipher = link ? SSL_get_current_cipher(link->ssl) : NULL;
  if (!cipher) return 0;
  SSL_CIPHER_description(cipher, text, sizeof text);
  const char *version = SSL_get_version(link->ssl); /* a finaliser may end the connection before the fourth is pushed */
  bits = SSL_CIPHER_get_bits(cipher, &algorithm_bits);
  lua_pushstring(L, text);
  lua_pushnumber(L, bits);
  lua_pushnumber(L, algorithm_bits);
  lua_pushstring(L, version);
  return 4;
}

/* For the handshake to come */

/* Makes { name → context } of the table at 2, and the same as LinkNames. stack: connection, table, strict */
static void copy_names(lua_State *L) {
  size_t n = 0;
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, 2); n++) {
    if (lua_type(L, -2) != LUA_TSTRING || !asy_seccontext_test(L, -1)) luaL_argerror(L, 2, "contexts by name expected");
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, 4);
  }
  lua_newuserdatauv(L, (n + 1) * sizeof(LinkName), 0);
}

static void set_names(lua_State *L, Link *link) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 3);
  copy_names(L);
  LinkName *names = lua_touserdata(L, 5);
  size_t n = 0;
  for (lua_pushnil(L); lua_next(L, 4); lua_pop(L, 1)) /* ours: nobody has changed it */
    names[n++] = (LinkName){lua_tostring(L, -2), lua_touserdata(L, -1)};
  if (!link->ssl) return; /* a finaliser has ended the connection */
  lua_getiuservalue(L, 1, 1);
  link->names = NULL;
  lua_pushvalue(L, 4);
  lua_setiuservalue(L, -2, LINK_NAMES);
  lua_pushvalue(L, 5);
  lua_setiuservalue(L, -2, LINK_LIST);
  link->names = names;
  link->nnames = n;
  link->strict = lua_toboolean(L, 3);
  SSL_CTX *ctx = SSL_get_SSL_CTX(link->ssl);
  SSL_CTX_set_tlsext_servername_callback(ctx, link_choose);
  SSL_CTX_set_client_hello_cb(ctx, link_hello, NULL);
}

/* sni(name), or of a server's sni(contexts by name, strict) */
static int sni(lua_State *L) {
  Link *link = asy_link_check(L, 1);
  if (link->mode == SEC_SERVER && link->ssl) {
    set_names(L, link);
    return 0;
  }
  const char *name = luaL_checkstring(L, 2);
  if (!asy_link_open(L)) return 2;
  sec_begin();
  SSL_set_tlsext_host_name(link->ssl, name);
  asy_sec_check_memory(L);
  return 0;
}

/* setdane(name) */
static int setdane(lua_State *L) {
  const Link *link = asy_link_check(L, 1);
  const char *name = luaL_checkstring(L, 2);
  if (!asy_link_open(L)) return 2;
  sec_begin();
  lua_pushboolean(L, SSL_dane_enable(link->ssl, name) > 0);
  asy_sec_check_memory(L);
  return 1;
}

/* settlsa(usage, selector, type, data) */
static int settlsa(lua_State *L) {
  size_t n;
  const Link *link = asy_link_check(L, 1);
  uint8_t usage = (uint8_t)luaL_checkinteger(L, 2), selector = (uint8_t)luaL_checkinteger(L, 3);
  uint8_t type = (uint8_t)luaL_checkinteger(L, 4);
  const char *data = luaL_checklstring(L, 5, &n);
  if (!asy_link_open(L)) return 2;
  sec_begin();
  lua_pushboolean(L, SSL_dane_tlsa_add(link->ssl, usage, selector, type, (const unsigned char *)data, n) > 0);
  asy_sec_check_memory(L);
  return 1;
}

static const luaL_Reg methods[] = {{"exportkeyingmaterial", exportkeyingmaterial},
                                   {"getalpn", getalpn},
                                   {"getfinished", getfinished},
                                   {"getpeercertificate", getpeercertificate},
                                   {"getpeerchain", getpeerchain},
                                   {"getpeerfinished", getpeerfinished},
                                   {"getpeerverification", getpeerverification},
                                   {"getsniname", getsniname},
                                   {"setdane", setdane},
                                   {"settlsa", settlsa},
                                   {"sni", sni},
                                   {NULL, NULL}};

static const luaL_Reg functions[] = {{"compression", compression}, {"info", info}, {NULL, NULL}};

void asy_peer_methods(lua_State *L) { luaL_newlib(L, methods); }

void asy_peer_functions(lua_State *L) { luaL_newlib(L, functions); }
