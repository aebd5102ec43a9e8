/*
** link.c - one side of a TLS connection on a descriptor.
**
** Lua is called between two steps of OpenSSL, never inside of one: it stops at the client's hello for that.
*/
#include "sec/link.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "base/alloc.h"
#include "sec/hold.h"
#include "sec/wire.h"

static const char wire_key = 0; /* registry: what holds the BIO_METHOD of the state's links */

static Link *link_of(const Secure *secure) { return (Link *)secure; }

/* Steps */

static bool begin(Link *link, int fd) {
  if (!link->ssl) return false;
  sec_begin();
  link->fd = fd;
  return true;
}

/* What a call of OpenSSL that hasn't succeeded has come to. */
static int outcome(Link *link, int ret) {
  int system = errno;
  switch (SSL_get_error(link->ssl, ret)) {
  case SSL_ERROR_WANT_READ: return FACE_WANTS_READ;
  case SSL_ERROR_WANT_WRITE: return FACE_WANTS_WRITE;
  case SSL_ERROR_ZERO_RETURN: return FACE_CLOSED;
  case SSL_ERROR_SYSCALL:
    if (ERR_peek_error()) break;
    return ret == 0 || !system ? FACE_CLOSED : system == EPIPE ? FACE_CLOSED : system;
  default: break;
  }
  unsigned long error = ERR_peek_last_error();
  link->no_memory = error && !ERR_SYSTEM_ERROR(error) && ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
  link->why = link->no_memory ? "not enough memory" : sec_reason();
  return FACE_FAILED;
}

static int on_recv(Secure *secure, int fd, char *to, size_t room, size_t *got) {
  Link *link = link_of(secure);
  if (!link->shaken || !begin(link, fd)) return FACE_CLOSED;
  return SSL_read_ex(link->ssl, to, room, got) ? FACE_DONE : outcome(link, 0);
}

static int on_send(Secure *secure, int fd, const char *bytes, size_t n, size_t *put) {
  Link *link = link_of(secure);
  if (!link->shaken || !begin(link, fd)) return FACE_CLOSED;
  return SSL_write_ex(link->ssl, bytes, n, put) ? FACE_DONE : outcome(link, 0);
}

static const char *on_words(const Secure *secure) { return link_of(secure)->why; }

static const char *on_wants(const Secure *secure) {
  const Link *link = link_of(secure);
  switch (link->ssl ? SSL_want(link->ssl) : SSL_NOTHING) {
  case SSL_READING: return "read";
  case SSL_WRITING: return "write";
  case SSL_X509_LOOKUP: return "x509lookup";
  default: return "nothing";
  }
}

static bool on_holds(const Secure *secure) {
  const Link *link = link_of(secure);
  return link->ssl && SSL_pending(link->ssl) > 0;
}

static void on_end(Secure *secure, int fd) {
  Link *link = link_of(secure);
  if (!begin(link, fd)) return;
  if (fd >= 0) SSL_shutdown(link->ssl);
  SSL_free(link->ssl);
  link->ssl = NULL;
  link->shaken = false;
  mem_free(link->notes);
  mem_free(link->offered);
  mem_free(link->chosen);
  link->notes = NULL;
  link->offered = link->chosen = NULL;
  link->nnotes = 0;
  ERR_clear_error();
}

static bool on_ended(const Secure *secure) { return !link_of(secure)->ssl; }

/* The client's hello */

static size_t number(const unsigned char *p) { return (size_t)p[0] << 8 | p[1]; }

/* "": none. What isn't well-formed OpenSSL refuses later. */
static void read_name(Link *link) {
  const unsigned char *p;
  size_t n;
  link->name[0] = 0;
  if (!SSL_client_hello_get0_ext(link->ssl, TLSEXT_TYPE_server_name, &p, &n)) return;
  if (n < 5 || number(p) != n - 2 || p[2] != TLSEXT_NAMETYPE_host_name) return;
  size_t length = number(p + 3);
  if (length != n - 5 || length > LINK_NAME_MOST || memchr(p + 5, 0, length)) return;
  memcpy(link->name, p + 5, length);
  link->name[length] = 0;
}

/* It stops here once where a function is to be asked. */
int link_hello(SSL *ssl, int *alert, void *arg) {
  Link *link = SSL_get_app_data(ssl);
  const unsigned char *p;
  size_t n;
  (void)arg;
  if (link->asked || link->offered) return link->asked ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_RETRY;
  if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p, &n) || n < 3 ||
      number(p) != n - 2)
    return SSL_CLIENT_HELLO_SUCCESS;
  if (!(link->offered = mem_alloc(n - 2))) {
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
  }
  memcpy(link->offered, p + 2, n - 2);
  link->noffered = (unsigned)(n - 2);
  read_name(link);
  return SSL_CLIENT_HELLO_RETRY;
}

static const SecContext *context_named(const Link *link, const char *name) {
  for (size_t i = 0; i < link->nnames; i++)
    if (!strcmp(link->names[i].name, name)) return link->names[i].context;
  return NULL;
}

int link_choose(SSL *ssl, int *alert, void *arg) {
  const Link *link = SSL_get_app_data(ssl);
  const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  (void)alert;
  (void)arg;
  if (!name || !link->names) return SSL_TLSEXT_ERR_NOACK;
  const SecContext *context = context_named(link, name);
  if (context && context->ctx) {
    SSL_set_SSL_CTX(ssl, context->ctx);
    return SSL_TLSEXT_ERR_OK;
  }
  return link->strict ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_OK;
}

int link_select_alpn(SSL *ssl, const unsigned char **out, unsigned char *nout, const unsigned char *in, unsigned nin,
                     void *arg) {
  const Link *link = SSL_get_app_data(ssl);
  unsigned char *found;
  (void)arg;
  if (!link->chosen) return SSL_TLSEXT_ERR_NOACK;
  int status = SSL_select_next_proto(&found, nout, link->chosen, link->nchosen, in, nin);
  *out = found;
  return status == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

bool link_note(Link *link, int depth, int error) {
  LinkNote *notes = mem_realloc(link->notes, (link->nnotes + 1) * sizeof *notes);
  if (!notes) return false;
  link->notes = notes;
  notes[link->nnotes++] = (LinkNote){depth, error};
  return true;
}

/* Pushes the function of the context that will count, or something else, on top of others. stack: ..., link */
static void push_function(lua_State *L, const Link *link) {
  int at = lua_gettop(L);
  lua_getiuservalue(L, at, LINK_NAMES);
  if (!lua_istable(L, -1) || lua_getfield(L, -1, link->name) != LUA_TUSERDATA) lua_getiuservalue(L, at, LINK_CONTEXT);
  lua_getiuservalue(L, -1, CONTEXT_ALPN);
}

/* Asks which protocols this side has. stack: connection, ... */
static void ask_protocols(lua_State *L, Link *link) {
  int top = lua_gettop(L);
  size_t n;
  lua_getiuservalue(L, 1, 1);
  push_function(L, link);
  if (lua_isfunction(L, -1)) {
    lua_pushlstring(L, (const char *)link->offered, link->noffered);
    lua_call(L, 1, 1);
  }
  link->asked = true;
  const char *wire = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
  if (wire && n && n <= UINT16_MAX && link->ssl) {
    mem_free(link->chosen);
    if (!(link->chosen = mem_alloc(n))) luaL_error(L, "not enough memory");
    memcpy(link->chosen, wire, n);
    link->nchosen = (unsigned)n;
  }
  lua_settop(L, top);
}

static int on_shake(lua_State *L, Secure *secure, int fd) {
  Link *link = link_of(secure);
  for (;;) {
    if (!begin(link, fd)) return FACE_CLOSED;
    int ret = SSL_do_handshake(link->ssl);
    if (ret == 1) {
      link->shaken = true;
      return FACE_DONE;
    }
    if (SSL_get_error(link->ssl, ret) != SSL_ERROR_WANT_CLIENT_HELLO_CB) {
      int result = outcome(link, ret);
      if (result == FACE_FAILED && link->no_memory) luaL_error(L, "not enough memory");
      return result;
    }
    ask_protocols(L, link);
  }
}

static const SecureOps OPS = {.abi = SECURE_ABI, .shake = on_shake, .recv = on_recv, .send = on_send, .words = on_words,
                              .wants = on_wants, .holds = on_holds, .end = on_end, .ended = on_ended};

/* Its life */

Link *asy_link_check(lua_State *L, int idx) {
  Link *link = NULL;
  if (lua_type(L, idx) == LUA_TUSERDATA) {
    lua_getiuservalue(L, idx, 1);
    link = luaL_testudata(L, -1, SECURE);
    lua_pop(L, 1);
  }
  if (!link) luaL_typeerror(L, idx, "SSL:Connection");
  return link;
}

Link *asy_link_open(lua_State *L) {
  Link *link = asy_link_check(L, 1);
  if (link->ssl) return link;
  lua_pushnil(L);
  lua_pushliteral(L, "closed");
  return NULL;
}

static bool make_ssl(Link *link, const SecContext *c, const BIO_METHOD *method) {
  link->ssl = SSL_new(c->ctx);
  BIO *bio = link->ssl ? wire_new(method, link) : NULL;
  if (!bio || !SSL_set_app_data(link->ssl, link)) {
    BIO_free(bio);
    return false;
  }
  SSL_set_bio(link->ssl, bio, bio);
  SSL_set_mode(link->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  if (c->mode == SEC_SERVER)
    SSL_set_accept_state(link->ssl);
  else
    SSL_set_connect_state(link->ssl);
  return true;
}

int asy_link_create(lua_State *L) {
  if (!asy_seccontext_test(L, 1)) luaL_argerror(L, 1, "invalid context");
  const SecContext *c = asy_seccontext_check(L, 1);
  if (c->mode == SEC_NO_MODE) {
    lua_pushnil(L);
    lua_pushliteral(L, "invalid mode");
    return 2;
  }
  Link *link = lua_newuserdatauv(L, sizeof *link, LINK_VALUES);
  memset(link, 0, sizeof *link);
  link->secure.ops = &OPS;
  link->fd = -1;
  link->mode = c->mode;
  luaL_setmetatable(L, SECURE);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, LINK_CONTEXT);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &wire_key);
  const Hold *wire = lua_touserdata(L, -1);
  lua_pop(L, 1);
  sec_begin();
  if (c->ctx && make_ssl(link, c, wire->what)) return 1;
  asy_sec_fail(L, "error creating SSL object (%s)");
  lua_pushnil(L);
  lua_replace(L, -3);
  return 2;
}

static int link__gc(lua_State *L) {
  Link *link = luaL_checkudata(L, 1, SECURE);
  on_end(&link->secure, -1);
  return 0;
}

static void free_method(void *method) { BIO_meth_free(method); }

void asy_link_open_class(lua_State *L) {
  luaL_newmetatable(L, SECURE);
  lua_pushcfunction(L, link__gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  Hold *wire = asy_hold_new(L, free_method);
  if (!(wire->what = wire_method_new())) luaL_error(L, "not enough memory");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &wire_key);
}
