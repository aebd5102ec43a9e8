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

static int push_peercert(lua_State *L, const Facts *facts) {
  if (!facts->cert) return 0;
  asy_certificate_push(L, facts->cert, facts->verified);
  return 1;
}

static int push_cipher(lua_State *L, const Facts *facts) { return push_text(L, facts->cipher); }

static int push_version(lua_State *L, const Facts *facts) { return push_text(L, facts->version); }

static int push_alpn(lua_State *L, const Facts *facts) {
  if (!facts->nalpn) return 0;
  lua_pushlstring(L, (const char *)facts->alpn, facts->nalpn);
  return 1;
}

static int push_server_name(lua_State *L, const Facts *facts) { return push_text(L, facts->server_name); }

static int push_reused(lua_State *L, const Facts *facts) {
  lua_pushboolean(L, facts->reused);
  return 1;
}

static const struct {
  const char *name;
  int (*push)(lua_State *L, const Facts *facts);
} INFOS[] = {{"peercert", push_peercert},   {"cipher", push_cipher},           {"tls_version", push_version},
             {"alpn_protocol", push_alpn},  {"server_name", push_server_name}, {"session_reused", push_reused}};

int asy_tls_info(lua_State *L, Engine *e, const char *name) {
  if (!strcmp(name, "ssl_context")) {
    asy_box_push(L, engine_context(e));
    return 1;
  }
  for (size_t i = 0; i < sizeof INFOS / sizeof *INFOS; i++) {
    if (strcmp(INFOS[i].name, name)) continue;
    if (!e->ssl && INFOS[i].push == push_peercert) facts_cert(&e->past);
    Facts facts = e->ssl ? facts_look(e->ssl) : e->past;
    if (e->context->server) facts.server_name = e->name; /* OpenSSL's is that of a session that was resumed */
    return INFOS[i].push(L, &facts);
  }
  return 0;
}
