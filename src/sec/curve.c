/*
** curve.c - elliptic curves by name.
*/
#include "sec/curve.h"

#include <openssl/ec.h>
#include <openssl/objects.h>
#include <string.h>

#include "sec/context.h"
#include "sec/hold.h"

/* Those that OpenSSL doesn't list, or by other names. */
static const struct {
  const char *name;
  int nid;
  bool single; /* LuaSec knows it outside of lists */
} MORE[] = {{"P-256", NID_X9_62_prime256v1, true},
            {"P-384", NID_secp384r1, true},
            {"P-521", NID_secp521r1, true},
            {"X25519", NID_X25519, false},
            {"X448", NID_X448, false}};

static void free_list(void *list) { OPENSSL_free(list); }

/* Pushes what holds OpenSSL's list. */
static EC_builtin_curve *hold_curves(lua_State *L, size_t *n) {
  Hold *hold = asy_hold_new(L, free_list);
  *n = EC_get_builtin_curves(NULL, 0);
  hold->what = OPENSSL_zalloc(*n * sizeof(EC_builtin_curve));
  if (!hold->what) luaL_error(L, "not enough memory");
  EC_get_builtin_curves(hold->what, *n);
  return hold->what;
}

static int nid_of(lua_State *L, const char *name) {
  size_t n;
  int nid = NID_undef;
  for (size_t i = 0; i < sizeof MORE / sizeof *MORE; i++)
    if (MORE[i].single && !strcmp(MORE[i].name, name)) return MORE[i].nid;
  const EC_builtin_curve *curves = hold_curves(L, &n);
  for (size_t i = 0; i < n && nid == NID_undef; i++)
    if (!strcmp(OBJ_nid2sn(curves[i].nid), name)) nid = curves[i].nid;
  lua_pop(L, 1);
  return nid;
}

/* setcurve(context, name) */
int asy_curve_set(lua_State *L) {
  SSL_CTX *ctx = asy_seccontext_check(L, 1)->ctx;
  const char *name = luaL_checkstring(L, 2);
  int nid = nid_of(L, name);
  if (nid == NID_undef) {
    lua_pushboolean(L, 0);
    lua_pushfstring(L, "elliptic curve '%s' not supported", name);
    return 2;
  }
  sec_begin();
  if (SSL_CTX_set1_groups(ctx, &nid, 1) != 1) return asy_sec_fail(L, "error setting elliptic curve (%s)");
  lua_pushboolean(L, 1);
  return 1;
}

/* setcurveslist(context, "name:name") */
int asy_curve_setlist(lua_State *L) {
  SSL_CTX *ctx = asy_seccontext_check(L, 1)->ctx;
  const char *list = luaL_checkstring(L, 2);
  sec_begin();
  if (SSL_CTX_set1_groups_list(ctx, list) == 1) {
    lua_pushboolean(L, 1);
    return 1;
  }
  asy_sec_check_memory(L);
  lua_pushboolean(L, 0);
  lua_pushfstring(L, "unknown elliptic curve in \"%s\"", list);
  return 2;
}

static void name_curve(lua_State *L, const char *name) {
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, name);
}

void asy_curve_push(lua_State *L) {
  size_t n;
  const EC_builtin_curve *curves = hold_curves(L, &n);
  lua_newtable(L);
  for (size_t i = 0; i < n; i++) name_curve(L, OBJ_nid2sn(curves[i].nid));
  for (size_t i = 0; i < sizeof MORE / sizeof *MORE; i++) name_curve(L, MORE[i].name);
  lua_remove(L, -2);
}
