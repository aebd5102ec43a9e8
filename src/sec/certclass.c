/*
** certclass.c - ssl.x509: certificates are read, and say what stands in them.
*/
#include "sec/certclass.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#include "sec/cert.h"
#include "sec/hold.h"
#include "sec/names.h"

/* Texts that OpenSSL writes */

static void free_bio(void *bio) { BIO_free(bio); }

/* Pushes what holds one. */
static BIO *hold_bio(lua_State *L) {
  Hold *hold = asy_hold_new(L, free_bio);
  sec_begin();
  if (!(hold->what = BIO_new(BIO_s_mem()))) luaL_error(L, "not enough memory");
  return hold->what;
}

static int push_written(lua_State *L, BIO *bio, bool good) {
  char *bytes;
  if (!good) {
    asy_sec_check_memory(L);
    lua_pushnil(L);
    return 1;
  }
  long n = BIO_get_mem_data(bio, &bytes);
  lua_pushlstring(L, bytes, (size_t)n);
  return 1;
}

static int push_time(lua_State *L, const ASN1_TIME *time) {
  BIO *bio = hold_bio(L);
  return push_written(L, bio, ASN1_TIME_print(bio, time));
}

static int notbefore(lua_State *L) { return push_time(L, X509_get0_notBefore(asy_cert_check(L, 1)->x509)); }

static int notafter(lua_State *L) { return push_time(L, X509_get0_notAfter(asy_cert_check(L, 1)->x509)); }

static int pem(lua_State *L) {
  X509 *x509 = asy_cert_check(L, 1)->x509;
  BIO *bio = hold_bio(L);
  return push_written(L, bio, PEM_write_bio_X509(bio, x509));
}

/* pubkey() → PEM, kind, bits */
static int pubkey(lua_State *L) {
  X509 *x509 = asy_cert_check(L, 1)->x509;
  BIO *bio = hold_bio(L);
  EVP_PKEY *key = X509_get0_pubkey(x509);
  if (!key) return push_written(L, bio, false);
  if (push_written(L, bio, PEM_write_bio_PUBKEY(bio, key)) && lua_isnil(L, -1)) return 1;
  switch (EVP_PKEY_get_base_id(key)) {
  case EVP_PKEY_RSA: lua_pushliteral(L, "RSA"); break;
  case EVP_PKEY_DSA: lua_pushliteral(L, "DSA"); break;
  case EVP_PKEY_DH: lua_pushliteral(L, "DH"); break;
  case EVP_PKEY_EC: lua_pushliteral(L, "EC"); break;
  default: lua_pushliteral(L, "Unknown"); break;
  }
  lua_pushinteger(L, EVP_PKEY_get_bits(key));
  return 3;
}

static void free_bignum(void *n) { BN_free(n); }
static void free_text(void *text) { OPENSSL_free(text); }

static int serial(lua_State *L) {
  X509 *x509 = asy_cert_check(L, 1)->x509;
  Hold *number = asy_hold_new(L, free_bignum), *text = asy_hold_new(L, free_text);
  sec_begin();
  number->what = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509), NULL);
  text->what = number->what ? BN_bn2hex(number->what) : NULL;
  if (!text->what) asy_sec_check_memory(L);
  lua_pushstring(L, text->what);
  hold_release(text);
  hold_release(number);
  return 1;
}

/* digest([algorithm]) → letters */
static int digest(lua_State *L) {
  static const char HEX[] = "0123456789abcdef";
  X509 *x509 = asy_cert_check(L, 1)->x509;
  const char *name = luaL_optstring(L, 2, "sha1");
  unsigned char bytes[EVP_MAX_MD_SIZE];
  char text[2 * EVP_MAX_MD_SIZE];
  unsigned n;
  bool known = !strcmp(name, "sha1") || !strcmp(name, "sha256") || !strcmp(name, "sha512");
  sec_begin();
  const EVP_MD *md = !known ? NULL : name[3] == '1' ? EVP_sha1() : name[3] == '2' ? EVP_sha256() : EVP_sha512();
  if (!md || !X509_digest(x509, md, bytes, &n)) {
    if (md) asy_sec_check_memory(L);
    lua_pushnil(L);
    lua_pushfstring(L, md ? "error processing the certificate (%s)" : "digest algorithm not supported (%s)",
                    md ? sec_reason() : name);
    return 2;
  }
  for (size_t i = 0; i < n; i++) {
    text[2 * i] = HEX[bytes[i] >> 4];
    text[2 * i + 1] = HEX[bytes[i] & 15];
  }
  lua_pushlstring(L, text, 2 * (size_t)n);
  return 1;
}

/* validat(time) */
static int validat(lua_State *L) {
  const X509 *x509 = asy_cert_check(L, 1)->x509;
  time_t time = (time_t)luaL_checkinteger(L, 2);
  lua_pushboolean(L, X509_cmp_time(X509_get0_notAfter(x509), &time) >= 0 &&
                         X509_cmp_time(X509_get0_notBefore(x509), &time) <= 0);
  return 1;
}

static int getsignaturename(lua_State *L) {
  const char *name = OBJ_nid2sn(X509_get_signature_nid(asy_cert_check(L, 1)->x509));
  lua_pushstring(L, name);
  return 1;
}

/* setencode("ai5" or "utf8") */
static int setencode(lua_State *L) {
  Cert *cert = asy_cert_check(L, 1);
  const char *name = luaL_checkstring(L, 2);
  bool utf8 = !strncmp(name, "utf8", 4), known = utf8 || !strncmp(name, "ai5", 3);
  if (known) cert->utf8 = utf8;
  lua_pushboolean(L, known);
  return 1;
}

/* Who has signed it */

static void free_stack(void *stack) { sk_X509_free(stack); }
static void free_store(void *store) { X509_STORE_free(store); }
static void free_store_ctx(void *ctx) { X509_STORE_CTX_free(ctx); }

static int unissued(lua_State *L, const char *why) {
  asy_sec_check_memory(L);
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

/* issued(certificate, one between them, ...): whether this one has → true, or nil and why not */
static int issued(lua_State *L) {
  const int n = lua_gettop(L);
  X509 *root = asy_cert_check(L, 1)->x509, *x509 = asy_cert_check(L, 2)->x509;
  for (int i = 3; i <= n; i++) asy_cert_check(L, i);
  Hold *chain = asy_hold_new(L, free_stack), *store = asy_hold_new(L, free_store), *ctx = asy_hold_new(L, free_store_ctx);
  sec_begin();
  chain->what = sk_X509_new_null();
  store->what = X509_STORE_new();
  ctx->what = X509_STORE_CTX_new();
  if (!chain->what || !store->what || !ctx->what) return unissued(L, "X509_STORE_new() or X509_STORE_CTX_new() error");
  if (!X509_STORE_add_cert(store->what, root)) return unissued(L, "X509_STORE_add_cert() error");
  for (int i = 3; i <= n; i++)
    if (!sk_X509_push(chain->what, asy_cert_check(L, i)->x509)) return unissued(L, "sk_X509_push() error");
  if (!X509_STORE_CTX_init(ctx->what, store->what, x509, chain->what)) return unissued(L, "X509_STORE_CTX_init() error");
  int good = X509_verify_cert(ctx->what);
  const char *why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx->what));
  hold_release(ctx);
  hold_release(store);
  hold_release(chain);
  if (good <= 0) return unissued(L, why);
  lua_pushboolean(L, 1);
  return 1;
}

/* The class */

/* load(PEM text) → certificate, or nil */
static int load(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  luaL_argcheck(L, n <= INT32_MAX, 1, "too long");
  Cert *cert = asy_cert_new(L);
  sec_begin();
  BIO *bio = BIO_new_mem_buf(text, (int)n);
  cert->x509 = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
  BIO_free(bio);
  if (cert->x509) return 1;
  asy_sec_check_memory(L);
  lua_pushnil(L);
  return 1;
}

static const luaL_Reg methods[] = {{"digest", digest},
                                   {"extensions", asy_names_extensions},
                                   {"getsignaturename", getsignaturename},
                                   {"issued", issued},
                                   {"issuer", asy_names_issuer},
                                   {"notafter", notafter},
                                   {"notbefore", notbefore},
                                   {"pem", pem},
                                   {"pubkey", pubkey},
                                   {"serial", serial},
                                   {"setencode", setencode},
                                   {"subject", asy_names_subject},
                                   {"validat", validat},
                                   {NULL, NULL}};

static const luaL_Reg functions[] = {{"load", load}, {NULL, NULL}};

void asy_certclass_open(lua_State *L) {
  asy_cert_class(L);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
}
