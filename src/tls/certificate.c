/*
** certificate.c - a certificate as a table.
**
** Making tables may run finalisers, which may end the connection, and may fail: so all that OpenSSL gives is held by a
** userdata meanwhile.
*/
#include "tls/certificate.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#define PARTS "asyncio.openssl.Parts"
#define NAME "asyncio.X509Name"

static const char texts_key = 0; /* registry: name → its text, weak keys */

typedef struct Parts {
  X509 *cert;
  GENERAL_NAMES *names;
  BIGNUM *serial;
  unsigned char *utf8;
  char *hex;
  BIO *text;
} Parts;

static void clear(Parts *p) {
  X509_free(p->cert);
  GENERAL_NAMES_free(p->names);
  BN_free(p->serial);
  OPENSSL_free(p->utf8);
  OPENSSL_free(p->hex);
  BIO_free(p->text);
  memset(p, 0, sizeof *p);
}

static int parts__gc(lua_State *L) {
  clear(luaL_checkudata(L, 1, PARTS));
  return 0;
}

static void *need(lua_State *L, void *p) {
  if (!p) luaL_error(L, "not enough memory");
  return p;
}

static void set(lua_State *L, const char *key) { lua_setfield(L, -2, key); }

/* Names */

static void push_string(lua_State *L, Parts *p, const ASN1_STRING *s) {
  int n = ASN1_STRING_to_UTF8(&p->utf8, s);
  if (n < 0) { /* not text: its bytes */
    lua_pushlstring(L, (const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
    return;
  }
  lua_pushlstring(L, (const char *)p->utf8, (size_t)n);
  OPENSSL_free(p->utf8);
  p->utf8 = NULL;
}

static void push_type(lua_State *L, const ASN1_OBJECT *object) {
  char oid[80];
  int nid = OBJ_obj2nid(object);
  if (nid == NID_undef) OBJ_obj2txt(oid, sizeof oid, object, 1);
  lua_pushstring(L, nid == NID_undef ? oid : OBJ_nid2sn(nid));
}

static void push_bio(lua_State *L, Parts *p) {
  char *text;
  long n = BIO_get_mem_data(p->text, &text);
  lua_pushlstring(L, text, (size_t)(n < 0 ? 0 : n));
  BIO_free(p->text);
  p->text = NULL;
}

/* As RFC 2253 has it, in UTF-8. */
static void push_whole_name(lua_State *L, Parts *p, const X509_NAME *name) {
  p->text = need(L, BIO_new(BIO_s_mem()));
  if (X509_NAME_print_ex(p->text, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) < 0) need(L, NULL);
  push_bio(L, p);
}

/* Each type of its parts → the value (the first), and in order { type=, value= }. */
static void push_name(lua_State *L, Parts *p, const X509_NAME *name) {
  int n = X509_NAME_entry_count(name);
  lua_createtable(L, n, n);
  for (int i = 0; i < n; i++) {
    const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
    lua_createtable(L, 0, 2);
    push_type(L, X509_NAME_ENTRY_get_object(entry));
    set(L, "type");
    push_string(L, p, X509_NAME_ENTRY_get_data(entry));
    set(L, "value");
    lua_getfield(L, -1, "type");
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -4) == LUA_TNIL) {
      lua_pop(L, 1);
      lua_getfield(L, -2, "value");
      lua_rawset(L, -4);
    } else {
      lua_pop(L, 2);
    }
    lua_rawseti(L, -2, i + 1);
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &texts_key);
  lua_pushvalue(L, -2);
  push_whole_name(L, p, name);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  luaL_setmetatable(L, NAME);
}

static int name__tostring(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &texts_key);
  lua_pushvalue(L, 1);
  if (lua_rawget(L, -2) == LUA_TNIL) lua_pushliteral(L, NAME);
  return 1;
}

/* subjectAltName */

static void push_address(lua_State *L, const ASN1_STRING *s) {
  char text[INET6_ADDRSTRLEN];
  int n = ASN1_STRING_length(s);
  if ((n == 4 || n == 16) && inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), text, sizeof text))
    lua_pushstring(L, text);
  else
    lua_pushlstring(L, (const char *)ASN1_STRING_get0_data(s), (size_t)n);
}

/* Pushes type and value. */
static void push_general(lua_State *L, Parts *p, const GENERAL_NAME *name) {
  static const char *const TYPES[] = {[GEN_OTHERNAME] = "other", [GEN_EMAIL] = "email", [GEN_DNS] = "DNS",
                                      [GEN_X400] = "X400",       [GEN_DIRNAME] = "dirname", [GEN_EDIPARTY] = "EDI",
                                      [GEN_URI] = "URI",         [GEN_IPADD] = "IP",    [GEN_RID] = "RID"};
  int type;
  void *value = GENERAL_NAME_get0_value(name, &type);
  lua_pushstring(L, type >= 0 && type <= GEN_RID ? TYPES[type] : "other");
  if (type == GEN_DNS || type == GEN_EMAIL || type == GEN_URI)
    push_string(L, p, value);
  else if (type == GEN_IPADD)
    push_address(L, value);
  else if (type == GEN_DIRNAME)
    push_whole_name(L, p, value);
  else if (type == GEN_RID)
    push_type(L, value);
  else
    lua_pushnil(L);
}

static void push_names(lua_State *L, Parts *p) {
  p->names = X509_get_ext_d2i(p->cert, NID_subject_alt_name, NULL, NULL);
  int n = p->names ? sk_GENERAL_NAME_num(p->names) : 0;
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_createtable(L, 0, 2);
    push_general(L, p, sk_GENERAL_NAME_value(p->names, i));
    lua_setfield(L, -3, "value");
    lua_setfield(L, -2, "type");
    lua_rawseti(L, -2, i + 1);
  }
}

/* The rest */

/* Seconds since 1970; nil where it isn't a time. */
static void push_time(lua_State *L, const ASN1_TIME *time) {
  struct tm tm;
  if (ASN1_TIME_to_tm(time, &tm))
    lua_pushinteger(L, (lua_Integer)timegm(&tm));
  else
    lua_pushnil(L);
}

static void push_serial(lua_State *L, Parts *p) {
  p->serial = need(L, ASN1_INTEGER_to_BN(X509_get0_serialNumber(p->cert), NULL));
  p->hex = need(L, BN_bn2hex(p->serial));
  lua_pushstring(L, p->hex);
}

static void push_der(lua_State *L, Parts *p) {
  luaL_Buffer buffer;
  int n = i2d_X509(p->cert, NULL);
  if (n < 0) need(L, NULL);
  unsigned char *to = (unsigned char *)luaL_buffinitsize(L, &buffer, (size_t)n);
  n = i2d_X509(p->cert, &to);
  if (n < 0) need(L, NULL);
  luaL_pushresultsize(&buffer, (size_t)n);
}

void asy_certificate_push(lua_State *L, X509 *cert, bool verified) {
  Parts *p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = (Parts){.cert = NULL};
  luaL_setmetatable(L, PARTS);
  X509_up_ref(cert);
  p->cert = cert;
  lua_createtable(L, 0, 8);
  push_name(L, p, X509_get_subject_name(p->cert));
  set(L, "subject");
  push_name(L, p, X509_get_issuer_name(p->cert));
  set(L, "issuer");
  push_serial(L, p);
  set(L, "serial");
  push_time(L, X509_get0_notBefore(p->cert));
  set(L, "not_before");
  push_time(L, X509_get0_notAfter(p->cert));
  set(L, "not_after");
  push_names(L, p);
  set(L, "san");
  push_der(L, p);
  set(L, "der");
  lua_pushboolean(L, verified);
  set(L, "verified");
  clear(p);
  lua_remove(L, -2);
}

void asy_certificate_open(lua_State *L) {
  luaL_newmetatable(L, PARTS);
  lua_pushcfunction(L, parts__gc);
  set(L, "__gc");
  lua_pop(L, 1);
  luaL_newmetatable(L, NAME);
  lua_pushcfunction(L, name__tostring);
  set(L, "__tostring");
  lua_pop(L, 1);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  set(L, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &texts_key);
}
