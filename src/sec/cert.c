/*
** cert.c - LuaSec's certificates: a userdata with an X509.
*/
#include "sec/cert.h"

#include <string.h>

#include "sec/hold.h"

Cert *asy_cert_check(lua_State *L, int idx) {
  Cert *cert = luaL_testudata(L, idx, CERT);
  if (!cert) luaL_typeerror(L, idx, "SSL:Certificate");
  if (!cert->x509) luaL_argerror(L, idx, "the certificate is closed");
  return cert;
}

Cert *asy_cert_new(lua_State *L) {
  Cert *cert = lua_newuserdatauv(L, sizeof *cert, 0);
  *cert = (Cert){NULL, false};
  luaL_setmetatable(L, CERT);
  return cert;
}

void asy_cert_fill(lua_State *L, Cert *cert, X509 *x509) {
  if (x509) {
    X509_up_ref(x509);
    cert->x509 = x509;
  } else {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
}

void asy_cert_pushtext(lua_State *L, const Cert *cert, const ASN1_STRING *text) {
  unsigned char *utf8 = NULL;
  size_t n = text ? (size_t)ASN1_STRING_length(text) : 0;
  if (!text) {
    lua_pushnil(L);
    return;
  }
  if (!cert->utf8) {
    lua_pushlstring(L, (const char *)ASN1_STRING_get0_data(text), n);
    return;
  }
  char *copy = lua_newuserdatauv(L, 4 * n + 1, 0); /* no character has more than four times its bytes */
  sec_begin();
  int length = ASN1_STRING_to_UTF8(&utf8, text);
  if (length < 0 || (size_t)length > 4 * n) {
    asy_sec_check_memory(L);
    lua_pushnil(L);
  } else {
    memcpy(copy, utf8, (size_t)length);
    OPENSSL_free(utf8);
    lua_pushlstring(L, copy, (size_t)length);
  }
  lua_remove(L, -2);
}

static int cert__gc(lua_State *L) {
  Cert *cert = luaL_checkudata(L, 1, CERT);
  X509_free(cert->x509);
  cert->x509 = NULL;
  return 0;
}

static int cert__tostring(lua_State *L) {
  const Cert *cert = luaL_checkudata(L, 1, CERT);
  lua_pushfstring(L, "X509 certificate: %p", cert->x509);
  return 1;
}

static const luaL_Reg metamethods[] = {
    {"__gc", cert__gc}, {"__close", cert__gc}, {"__tostring", cert__tostring}, {NULL, NULL}};

void asy_cert_class(lua_State *L) {
  luaL_newmetatable(L, CERT);
  luaL_setfuncs(L, metamethods, 0);
  lua_pushliteral(L, "SSL:Certificate");
  lua_setfield(L, -2, "__name");
}
