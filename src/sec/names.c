/*
** names.c - whom a certificate is for: subject, issuer, and the names in its extensions.
*/
#include "sec/names.h"

#include <arpa/inet.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "sec/cert.h"
#include "sec/hold.h"

#define OID_SIZE 256

static void push_oid(lua_State *L, const ASN1_OBJECT *object) {
  char text[OID_SIZE];
  OBJ_obj2txt(text, sizeof text, object, 1);
  lua_pushstring(L, text);
}

static void push_long_name(lua_State *L, const ASN1_OBJECT *object) {
  char text[OID_SIZE];
  OBJ_obj2txt(text, sizeof text, object, 0);
  lua_pushstring(L, text);
}

/* Pushes { { oid =, name =, value = }, ... } */
static int push_name(lua_State *L, const Cert *cert, const X509_NAME *name) {
  int n = X509_NAME_entry_count(name);
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
    lua_createtable(L, 0, 3);
    push_oid(L, X509_NAME_ENTRY_get_object(entry));
    lua_setfield(L, -2, "oid");
    push_long_name(L, X509_NAME_ENTRY_get_object(entry));
    lua_setfield(L, -2, "name");
    asy_cert_pushtext(L, cert, X509_NAME_ENTRY_get_data(entry));
    lua_setfield(L, -2, "value");
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

int asy_names_subject(lua_State *L) {
  const Cert *cert = asy_cert_check(L, 1);
  return push_name(L, cert, X509_get_subject_name(cert->x509));
}

int asy_names_issuer(lua_State *L) {
  const Cert *cert = asy_cert_check(L, 1);
  return push_name(L, cert, X509_get_issuer_name(cert->x509));
}

/* Extensions. stack: ..., the extension's table */

/* Pushes the list at a field, which is made where there is none. */
static void push_list(lua_State *L, const char *key) {
  if (lua_getfield(L, -1, key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, key);
}

/* stack: ..., list, value → ... */
static void append(lua_State *L) {
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

static void add_text(lua_State *L, const Cert *cert, const char *key, const ASN1_STRING *text) {
  push_list(L, key);
  asy_cert_pushtext(L, cert, text);
  append(L);
}

static void add_address(lua_State *L, const ASN1_STRING *bytes) {
  char text[INET6_ADDRSTRLEN];
  int n = ASN1_STRING_length(bytes);
  if (n != 4 && n != 16) return;
  if (!inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(bytes), text, sizeof text)) return;
  push_list(L, "iPAddress");
  lua_pushstring(L, text);
  append(L);
}

static void add_other(lua_State *L, const Cert *cert, const OTHERNAME *other) {
  char oid[OID_SIZE];
  OBJ_obj2txt(oid, sizeof oid, other->type_id, 1);
  push_list(L, oid);
  asy_cert_pushtext(L, cert, other->value->type == V_ASN1_BOOLEAN ? NULL : other->value->value.asn1_string);
  append(L);
}

static void add_general_name(lua_State *L, const Cert *cert, const GENERAL_NAME *name) {
  switch (name->type) {
  case GEN_OTHERNAME: add_other(L, cert, name->d.otherName); break;
  case GEN_DNS: add_text(L, cert, "dNSName", name->d.dNSName); break;
  case GEN_EMAIL: add_text(L, cert, "rfc822Name", name->d.rfc822Name); break;
  case GEN_URI: add_text(L, cert, "uniformResourceIdentifier", name->d.uniformResourceIdentifier); break;
  case GEN_IPADD: add_address(L, name->d.iPAddress); break;
  default: break; /* LuaSec leaves out the others */
  }
}

static void free_names(void *names) { GENERAL_NAMES_free(names); }

/* stack: ..., extensions */
static void add_extension(lua_State *L, const Cert *cert, X509_EXTENSION *extension) {
  ASN1_OBJECT *object = X509_EXTENSION_get_object(extension);
  Hold *hold = asy_hold_new(L, free_names);
  push_oid(L, object);
  lua_newtable(L);
  push_long_name(L, object);
  lua_setfield(L, -2, "name");
  sec_begin();
  GENERAL_NAMES *names = hold->what = X509V3_EXT_d2i(extension);
  if (!names) asy_sec_check_memory(L);
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) add_general_name(L, cert, sk_GENERAL_NAME_value(names, i));
  hold_release(hold);
  lua_rawset(L, -4);
  lua_pop(L, 1);
}

/* Those with names: { [oid] = { name =, dNSName = { ... }, ... } } */
int asy_names_extensions(lua_State *L) {
  const Cert *cert = asy_cert_check(L, 1);
  lua_settop(L, 1);
  lua_newtable(L);
  for (int at = -1; (at = X509_get_ext_by_NID(cert->x509, NID_subject_alt_name, at)) >= 0;)
    add_extension(L, cert, X509_get_ext(cert->x509, at));
  return 1;
}
