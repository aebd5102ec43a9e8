/*
** contextclass.c - asyncio.SSLContext's methods in C, which asyncio.ssl dresses.
**
** It checks its arguments before it calls these; what they check is only what would do harm. Those that can fail return
** nil and { message=, reason=, library= }.
*/
#include "tls/contextclass.h"

#include <limits.h>
#include <openssl/err.h>
#include <string.h>

#include "tls/box.h"
#include "tls/filter.h"
#include "tls/load.h"

/* Arguments and results */

static Context *check_context(lua_State *L) {
  luaL_checkudata(L, 1, SSL_CONTEXT);
  Context *c = asy_box_test(L, 1);
  if (!c) luaL_error(L, "the context is gone");
  return c;
}

/* One that may be changed. */
static Context *check_open(lua_State *L) {
  Context *c = check_context(L);
  if (c->fixed) luaL_error(L, "the context is in use, and can't be changed any more");
  return c;
}

static LoadText check_text(lua_State *L, int idx) {
  LoadText t = {NULL, 0};
  if (lua_isnoneornil(L, idx)) return t;
  t.text = luaL_checklstring(L, idx, &t.n);
  luaL_argcheck(L, t.n < INT_MAX, idx, "too long");
  return t;
}

static void set(lua_State *L, const char *key, const char *text) {
  lua_pushstring(L, text);
  lua_setfield(L, -2, key);
}

static int refuse(lua_State *L, const Failure *f) {
  if (f->kind == FAILURE_NO_MEMORY) return luaL_error(L, "not enough memory");
  lua_pushnil(L);
  lua_createtable(L, 0, 3);
  set(L, "message", f->text);
  set(L, "reason", f->reason);
  set(L, "library", f->library);
  return 2;
}

static int succeed(lua_State *L) {
  lua_pushboolean(L, 1);
  return 1;
}

static int result(lua_State *L, bool good, const Failure *f) { return good ? succeed(L) : refuse(L, f); }

/* What OpenSSL has done, or has in its queue of errors. */
static int done(lua_State *L, bool good) {
  Failure f;
  if (good) return succeed(L);
  failure_read(&f);
  return refuse(L, &f);
}

/* Making and loading */

/* new(purpose) */
static int new_context(lua_State *L) {
  static const char *const PURPOSES[] = {"client", "server", NULL};
  bool server = luaL_checkoption(L, 1, NULL, PURPOSES);
  Context **box = asy_box_new(L);
  failure_begin();
  Context *c = context_new(server);
  if (!c) return done(L, false);
  c->source = (FilterSource){.abi = FILTER_ABI, .make = filter_make};
  asy_box_fill(L, box, c);
  return 1;
}

/* (cert, key or nil, password or nil): paths, or texts in PEM's form */
static int load_cert_chain(lua_State *L) {
  Context *c = check_open(L);
  Failure f;
  luaL_checkstring(L, 2);
  return result(L, load_chain(c, check_text(L, 2), check_text(L, 3), check_text(L, 4), &f), &f);
}

/* (cafile, capath, cadata), each may be nil */
static int load_verify_locations(lua_State *L) {
  Context *c = check_open(L);
  LoadText file = check_text(L, 2), data = check_text(L, 4);
  const char *path = luaL_optstring(L, 3, NULL);
  Failure f;
  bool good = (!file.text || load_authorities(c, file, true, &f)) && (!path || load_directory(c, path, &f)) &&
              (!data.text || load_authorities(c, data, false, &f));
  return result(L, good, &f);
}

static int set_default_verify_paths(lua_State *L) {
  Context *c = check_open(L);
  failure_begin();
  c->has_authorities = true;
  return done(L, SSL_CTX_set_default_verify_paths(c->ctx));
}

static int load_crl_file(lua_State *L) {
  Context *c = check_open(L);
  Failure f;
  luaL_checkstring(L, 2);
  return result(L, load_crl(c, check_text(L, 2), &f), &f);
}

/* Options */

/* Names, each behind its length. */
static bool is_alpn(const char *wire, size_t n) {
  size_t at = 0;
  while (at < n && wire[at]) at += 1 + (size_t)(unsigned char)wire[at];
  return at == n;
}

static int set_alpn(lua_State *L) {
  Context *c = check_open(L);
  size_t n;
  const char *wire = luaL_checklstring(L, 2, &n);
  luaL_argcheck(L, n <= 65535 && is_alpn(wire, n), 2, "not a list of protocols");
  failure_begin();
  return done(L, context_set_alpn(c, (const unsigned char *)wire, n));
}

static int set_ciphers(lua_State *L) {
  Context *c = check_open(L);
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  lua_pushliteral(L, ":!aNULL:!eNULL"); /* with those a peer proves nothing, whatever verify_mode says */
  lua_concat(L, 2);
  failure_begin();
  return done(L, SSL_CTX_set_cipher_list(c->ctx, lua_tostring(L, 2)));
}

static int set_ciphersuites(lua_State *L) {
  Context *c = check_open(L);
  failure_begin();
  return done(L, context_set_ciphersuites(c, luaL_checkstring(L, 2)));
}

static const char *const MODES[] = {"none", "optional", "required", NULL};
static const int FLAGS[] = {SSL_VERIFY_NONE, SSL_VERIFY_PEER, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};

static int set_verify(lua_State *L) {
  Context *c = check_open(L);
  context_set_verify(c, FLAGS[luaL_checkoption(L, 2, NULL, MODES)], lua_toboolean(L, 3));
  return done(L, true);
}

static const char *const VERSIONS[] = {"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", NULL};

static int check_version(lua_State *L, int idx) {
  return lua_isnoneornil(L, idx) ? 0 : TLS1_VERSION + luaL_checkoption(L, idx, NULL, VERSIONS);
}

/* (lowest or nil: TLS 1.2, highest or nil: any) */
static int set_versions(lua_State *L) {
  Context *c = check_open(L);
  int least = check_version(L, 2), most = check_version(L, 3);
  failure_begin();
  return done(L, SSL_CTX_set_min_proto_version(c->ctx, least ? least : TLS1_2_VERSION) &&
                     SSL_CTX_set_max_proto_version(c->ctx, most));
}

static int set_keylog(lua_State *L) {
  Context *c = check_open(L);
  const char *path = luaL_checkstring(L, 2);
  Failure f;
  bool good = load_keylog(c, path, &f);
  return result(L, good, &f);
}

static int set_num_tickets(lua_State *L) {
  Context *c = check_open(L);
  lua_Integer n = luaL_checkinteger(L, 2);
  luaL_argcheck(L, n >= 0 && n <= 100, 2, "out of range");
  return done(L, SSL_CTX_set_num_tickets(c->ctx, (size_t)n));
}

static int set_ignore_eof(lua_State *L) {
  check_open(L)->ignore_eof = lua_toboolean(L, 2);
  return done(L, true);
}

static int set_sni(lua_State *L) {
  Context *c = check_open(L);
  lua_settop(L, 2);
  c->has_sni = !lua_isnil(L, 2);
  lua_setiuservalue(L, 1, BOX_SNI);
  return done(L, true);
}

/* Using */

/* → FilterSource as light userdata, which lives as long as the context */
static int source(lua_State *L) {
  lua_pushlightuserdata(L, &check_context(L)->source);
  return 1;
}

static int use(lua_State *L) {
  check_context(L)->fixed = true;
  return 0;
}

static int purpose(lua_State *L) {
  lua_pushstring(L, check_context(L)->server ? "server" : "client");
  return 1;
}

static int has_certificate(lua_State *L) {
  lua_pushboolean(L, context_has_certificate(check_context(L)));
  return 1;
}

static int has_sni(lua_State *L) {
  lua_pushboolean(L, check_context(L)->has_sni);
  return 1;
}

static int has_authorities(lua_State *L) {
  lua_pushboolean(L, check_context(L)->has_authorities);
  return 1;
}

/* The table or function that chooses by name, or nil. */
static int sni(lua_State *L) {
  check_context(L);
  lua_getiuservalue(L, 1, BOX_SNI);
  return 1;
}

static int verify_mode(lua_State *L) {
  int flags = SSL_CTX_get_verify_mode(check_context(L)->ctx), i = 0;
  while (FLAGS[i] != flags && MODES[i + 1]) i++;
  lua_pushstring(L, MODES[i]);
  return 1;
}

static void push_version(lua_State *L, long version) {
  if (version < TLS1_VERSION || version > TLS1_3_VERSION)
    lua_pushnil(L);
  else
    lua_pushstring(L, VERSIONS[version - TLS1_VERSION]);
}

/* → the lowest and the highest; nil: any */
static int versions(lua_State *L) {
  Context *c = check_context(L);
  push_version(L, SSL_CTX_get_min_proto_version(c->ctx));
  push_version(L, SSL_CTX_get_max_proto_version(c->ctx));
  return 2;
}

static int num_tickets(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)SSL_CTX_get_num_tickets(check_context(L)->ctx));
  return 1;
}

static int checks_hostname(lua_State *L) {
  lua_pushboolean(L, check_context(L)->check_hostname);
  return 1;
}

static int is_fixed(lua_State *L) {
  lua_pushboolean(L, check_context(L)->fixed);
  return 1;
}

static const luaL_Reg METHODS[] = {{"_load_cert_chain", load_cert_chain},
                                   {"_load_verify_locations", load_verify_locations},
                                   {"_set_default_verify_paths", set_default_verify_paths},
                                   {"_load_crl", load_crl_file},
                                   {"_set_alpn", set_alpn},
                                   {"_set_ciphers", set_ciphers},
                                   {"_set_ciphersuites", set_ciphersuites},
                                   {"_set_verify", set_verify},
                                   {"_set_versions", set_versions},
                                   {"_set_keylog", set_keylog},
                                   {"_set_num_tickets", set_num_tickets},
                                   {"_set_ignore_eof", set_ignore_eof},
                                   {"_set_sni", set_sni},
                                   {"_source", source},
                                   {"_use", use},
                                   {"_purpose", purpose},
                                   {"_has_certificate", has_certificate},
                                   {"_has_sni", has_sni},
                                   {"_has_authorities", has_authorities},
                                   {"_sni", sni},
                                   {"_verify_mode", verify_mode},
                                   {"_versions", versions},
                                   {"_num_tickets", num_tickets},
                                   {"_checks_hostname", checks_hostname},
                                   {"_is_fixed", is_fixed},
                                   {NULL, NULL}};

void asy_contextclass_open(lua_State *L) {
  asy_box_class(L, METHODS);
  lua_pushcfunction(L, new_context);
  lua_setfield(L, -2, "new");
}
