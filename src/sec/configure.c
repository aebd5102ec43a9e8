/*
** configure.c - ssl.context: functions that take a context first, and return true, or false and a sentence.
*/
#include "sec/configure.h"

#include <openssl/pem.h>
#include <string.h>

#include "sec/context.h"
#include "sec/curve.h"
#include "sec/hold.h"
#include "sec/link.h"
#include "sec/option.h"
#include "sec/trust.h"

static int succeed(lua_State *L) {
  lua_pushboolean(L, 1);
  return 1;
}

static int done(lua_State *L, bool good, const char *format) { return good ? succeed(L) : asy_sec_fail(L, format); }

static SSL_CTX *check(lua_State *L) { return asy_seccontext_check(L, 1)->ctx; }

/* Making */

static const struct {
  const char *name;
  int version; /* the only one; 0: any */
} PROTOCOLS[] = {{"any", 0}, {"sslv23", 0}, {"tlsv1", TLS1_VERSION}, {"tlsv1_1", TLS1_1_VERSION},
                 {"tlsv1_2", TLS1_2_VERSION}, {"tlsv1_3", TLS1_3_VERSION}};

static int version_of(const char *name) {
  for (size_t i = 0; i < sizeof PROTOCOLS / sizeof *PROTOCOLS; i++)
    if (!strcmp(PROTOCOLS[i].name, name)) return PROTOCOLS[i].version;
  return -1;
}

/* create(protocol) → context, or nil and a sentence */
static int create(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  int version = version_of(name);
  if (version < 0) {
    lua_pushnil(L);
    lua_pushfstring(L, "invalid protocol (%s)", name);
    return 2;
  }
  SecContext *c = asy_seccontext_new(L);
  sec_begin();
  c->ctx = SSL_CTX_new(TLS_method());
  if (!c->ctx || !SSL_CTX_set_min_proto_version(c->ctx, version) || !SSL_CTX_set_max_proto_version(c->ctx, version) ||
      !SSL_CTX_set_app_data(c->ctx, c)) {
    asy_sec_fail(L, "error creating context (%s)");
    lua_pushnil(L);
    lua_replace(L, -3);
    return 2;
  }
  SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
  return 1;
}

/* setmode(context, "client" or "server") */
static int set_mode(lua_State *L) {
  SecContext *c = asy_seccontext_check(L, 1);
  const char *mode = luaL_checkstring(L, 2);
  bool server = !strcmp(mode, "server");
  if (!server && strcmp(mode, "client") != 0) {
    lua_pushboolean(L, 0);
    lua_pushfstring(L, "invalid mode (%s)", mode);
    return 2;
  }
  c->mode = server ? SEC_SERVER : SEC_CLIENT;
  return succeed(L);
}

/* Files */

typedef struct Password {
  const char *text; /* NULL: nobody has said it */
  size_t n;
  bool asked;
} Password;

/* In the place of OpenSSL's own, which would ask at the terminal. */
static int give_password(char *to, int size, int writing, void *arg) {
  Password *password = arg;
  (void)writing;
  password->asked = true;
  if (!password->text || password->n > (size_t)size) return 0;
  memcpy(to, password->text, password->n);
  return (int)password->n;
}

static bool use_key(SSL_CTX *ctx, const char *path, Password *password) {
  SSL_CTX_set_default_passwd_cb(ctx, give_password);
  SSL_CTX_set_default_passwd_cb_userdata(ctx, password);
  sec_begin();
  bool good = SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) == 1;
  SSL_CTX_set_default_passwd_cb(ctx, NULL);
  SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
  return good;
}

/* loadkey(context, path, password): a text, or a function that is called where there is need of one */
static int load_key(lua_State *L) {
  SSL_CTX *ctx = check(L);
  const char *path = luaL_checkstring(L, 2);
  Password password = {NULL, 0, false};
  if (lua_type(L, 3) == LUA_TSTRING) password.text = lua_tolstring(L, 3, &password.n);
  bool good = use_key(ctx, path, &password);
  if (!good && password.asked && lua_isfunction(L, 3)) {
    lua_settop(L, 3);
    lua_call(L, 0, 1);
    ctx = check(L);
    if (lua_type(L, 3) == LUA_TSTRING) password.text = lua_tolstring(L, 3, &password.n);
    good = use_key(ctx, path, &password);
  }
  return done(L, good, "error loading private key (%s)");
}

/* loadcert(context, path) */
static int load_certificate(lua_State *L) {
  SSL_CTX *ctx = check(L);
  const char *path = luaL_checkstring(L, 2);
  sec_begin();
  return done(L, SSL_CTX_use_certificate_chain_file(ctx, path) == 1, "error loading certificate (%s)");
}

/* checkkey(context): whether key and certificate are a pair */
static int check_key(lua_State *L) {
  SSL_CTX *ctx = check(L);
  sec_begin();
  lua_pushboolean(L, SSL_CTX_check_private_key(ctx));
  return 1;
}

/* locations(context, cafile, capath) */
static int locations(lua_State *L) {
  SSL_CTX *ctx = check(L);
  const char *file = luaL_optstring(L, 2, NULL), *folder = luaL_optstring(L, 3, NULL);
  sec_begin();
  return done(L, SSL_CTX_load_verify_locations(ctx, file, folder) == 1, "error loading CA locations (%s)");
}

/* Ciphers */

static int set_ciphers(lua_State *L) {
  SSL_CTX *ctx = check(L);
  const char *list = luaL_checkstring(L, 2);
  sec_begin();
  return done(L, SSL_CTX_set_cipher_list(ctx, list) == 1, "error setting cipher list (%s)");
}

static int set_ciphersuites(lua_State *L) {
  SSL_CTX *ctx = check(L);
  const char *list = luaL_checkstring(L, 2);
  sec_begin();
  return done(L, SSL_CTX_set_ciphersuites(ctx, list) == 1, "error setting cipher list (%s)");
}

static void free_pkey(void *key) { EVP_PKEY_free(key); }

/* setdhparam(context, function): it is asked at once, and gives parameters as PEM text. OpenSSL would ask for each
** handshake, always for the same. */
static int set_dhparam(lua_State *L) {
  check(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  lua_pushboolean(L, 0);
  lua_pushinteger(L, 1024);
  lua_call(L, 2, 1);
  SSL_CTX *ctx = check(L);
  size_t n;
  const char *text = lua_tolstring(L, 3, &n);
  if (!text || n > INT32_MAX) return 0;
  Hold *hold = asy_hold_new(L, free_pkey);
  sec_begin();
  BIO *bio = BIO_new_mem_buf(text, (int)n);
  hold->what = bio ? PEM_read_bio_Parameters(bio, NULL) : NULL;
  BIO_free(bio);
  if (hold->what && SSL_CTX_set0_tmp_dh_pkey(ctx, hold->what) == 1) hold->what = NULL;
  asy_sec_check_memory(L);
  hold_release(hold);
  return 0;
}

/* ALPN */

/* setalpn(context, protocols as they are sent) */
static int set_alpn(lua_State *L) {
  size_t n;
  SSL_CTX *ctx = check(L);
  const char *wire = luaL_checklstring(L, 2, &n);
  sec_begin();
  bool good = n <= UINT16_MAX && SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)wire, (unsigned)n) == 0;
  return done(L, good, "error setting ALPN (%s)");
}

/* setalpncb(context, function): it gets the client's protocols, and gives the server's, both as they are sent. */
static int set_alpn_function(lua_State *L) {
  SSL_CTX *ctx = check(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, CONTEXT_ALPN);
  SSL_CTX_set_alpn_select_cb(ctx, link_select_alpn, NULL);
  SSL_CTX_set_client_hello_cb(ctx, link_hello, NULL);
  return succeed(L);
}

/* DANE */

static int set_dane(lua_State *L) {
  static const char *const FLAGS[] = {"no_ee_namechecks", NULL};
  SSL_CTX *ctx = check(L);
  unsigned long flags = 0;
  int n = lua_gettop(L);
  for (int i = 2; i <= n; i++)
    if (luaL_checkoption(L, i, NULL, FLAGS) == 0) flags |= DANE_FLAG_NO_DANE_EE_NAMECHECKS;
  sec_begin();
  bool good = SSL_CTX_dane_enable(ctx) > 0;
  if (!good) asy_sec_check_memory(L);
  SSL_CTX_dane_set_flags(ctx, flags);
  lua_pushboolean(L, good);
  return 1;
}

static const luaL_Reg functions[] = {{"checkkey", check_key},
                                     {"create", create},
                                     {"loadcert", load_certificate},
                                     {"loadkey", load_key},
                                     {"locations", locations},
                                     {"setalpn", set_alpn},
                                     {"setalpncb", set_alpn_function},
                                     {"setcipher", set_ciphers},
                                     {"setciphersuites", set_ciphersuites},
                                     {"setcurve", asy_curve_set},
                                     {"setcurveslist", asy_curve_setlist},
                                     {"setdane", set_dane},
                                     {"setdepth", asy_trust_setdepth},
                                     {"setdhparam", set_dhparam},
                                     {"setmode", set_mode},
                                     {"setoptions", asy_option_sets},
                                     {"setverify", asy_trust_setverify},
                                     {NULL, NULL}};

void asy_configure_open(lua_State *L) {
  asy_seccontext_class(L);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, asy_trust_setverifyext);
  lua_setfield(L, -2, "setverifyext");
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
}
