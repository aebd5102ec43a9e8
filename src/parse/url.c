/*
** url.c - URLs as tables, and references to them.
*/
#include <string.h>

#include "http/chars.h"
#include "http/percent.h"
#include "http/url.h"
#include "parse/out.h"
#include "parse/text.h"

static int fail(lua_State *L, const char *why) {
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

static void set_text(lua_State *L, const char *key, HttpText text) {
  lua_pushlstring(L, text.at, text.n);
  lua_setfield(L, -2, key);
}

static void push_lower(lua_State *L, HttpText text) {
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, text.n);
  for (size_t i = 0; i < text.n; i++) to[i] = http_lower(text.at[i]);
  luaL_pushresultsize(&b, text.n);
}

static void set_lower(lua_State *L, const char *key, HttpText text) {
  push_lower(L, text);
  lua_setfield(L, -2, key);
}

static void set_decoded(lua_State *L, const char *key, HttpText text) {
  luaL_Buffer b;
  size_t length = 0;
  char *to = luaL_buffinitsize(L, &b, text.n);
  http_decode(text.at, text.n, false, to, &length); /* the URL's escapes have been looked at */
  luaL_pushresultsize(&b, length);
  lua_setfield(L, -2, key);
}

static void set_user(lua_State *L, const HttpAuthority *a) {
  if (!a->has_user) return;
  const char *colon = memchr(a->user.at, ':', a->user.n);
  size_t n = colon ? (size_t)(colon - a->user.at) : a->user.n;
  set_decoded(L, "user", (HttpText){a->user.at, n});
  if (colon) set_decoded(L, "password", (HttpText){colon + 1, a->user.n - n - 1});
}

static int default_port(const HttpUrl *u) {
  if (HTTP_SAME(u->scheme.at, u->scheme.n, "http") || HTTP_SAME(u->scheme.at, u->scheme.n, "ws"))
    return 80;
  return HTTP_SAME(u->scheme.at, u->scheme.n, "https") ||
                 HTTP_SAME(u->scheme.at, u->scheme.n, "wss")
             ? 443
             : -1;
}

/* What Host says: the port is left out where it is the scheme's. stack: ..., table */
static void set_host(lua_State *L, const HttpUrl *u) {
  const HttpAuthority *a = &u->of;
  int usual = default_port(u);
  set_lower(L, "host", a->host);
  lua_getfield(L, -1, "host");
  const char *host = lua_tostring(L, -1); /* no byte of it is zero */
  if (a->port >= 0 && a->port != usual)
    lua_pushfstring(L, a->ipv6 ? "[%s]:%d" : "%s:%d", host, (int)a->port);
  else
    lua_pushfstring(L, a->ipv6 ? "[%s]" : "%s", host);
  lua_setfield(L, -3, "authority");
  lua_pop(L, 1);
  if (a->port >= 0) {
    lua_pushinteger(L, a->port);
    lua_setfield(L, -2, "port");
  }
  if (usual >= 0) {
    lua_pushinteger(L, usual);
    lua_setfield(L, -2, "default_port");
  }
  const char *kind = a->ipv6 ? "ipv6" : a->ipv4 ? "ipv4" : a->odd ? "odd_ipv4" : NULL;
  if (!kind) return;
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, kind);
}

/* stack: ..., table */
static void set_path(lua_State *L, const HttpUrl *u) {
  HttpText path = u->path.n ? u->path : (HttpText){"/", 1};
  set_text(L, "path", path);
  if (u->has_query) set_text(L, "query_string", u->query);
  if (u->has_fragment) set_text(L, "fragment", u->fragment);
  lua_pushlstring(L, path.at, path.n);
  if (u->has_query) {
    lua_pushliteral(L, "?");
    lua_pushlstring(L, u->query.at, u->query.n);
    lua_concat(L, 3);
  }
  lua_setfield(L, -2, "target");
}

/// Takes an absolute URL apart, strictly after RFC 3986. The table has `scheme`, `host` (of an IPv6 address without its
// brackets), `path` as it is written, `target`: path and query, `authority`: what Host says; and where they are there
// `user` and `password`, decoded, `port`, `query_string`, `fragment`, `default_port`. `ipv4` or `ipv6` is true where the host
// is such an address, `odd_ipv4` where it is a number that some take for one: `127.1`, `0x7f000001`, `2130706433`.
// @function parsers.url
// @tparam string text
// @treturn ?table nil when it is none
// @treturn ?string what is wrong then
static int url_parse(lua_State *L) {
  HttpUrl u;
  const char *why;
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  if (!http_read_url(text, n, &u, &why)) return fail(L, why);
  lua_createtable(L, 0, 12);
  set_lower(L, "scheme", u.scheme);
  set_user(L, &u.of);
  set_host(L, &u);
  set_path(L, &u);
  return 1;
}

/* References */

/* A reference that has no scheme, in parts. */
typedef struct Reference {
  HttpText authority, path, query, fragment;
  bool has_authority, has_query, has_fragment;
} Reference;

static HttpText cut(HttpText *text, char at, bool *has) {
  const char *found = memchr(text->at, at, text->n);
  *has = found != NULL;
  if (!found) return (HttpText){text->at + text->n, 0};
  HttpText behind = {found + 1, (size_t)(text->at + text->n - found) - 1};
  text->n = (size_t)(found - text->at);
  return behind;
}

static Reference read_reference(HttpText text) {
  Reference r = {.has_authority = false};
  r.fragment = cut(&text, '#', &r.has_fragment);
  r.query = cut(&text, '?', &r.has_query);
  r.path = text;
  if (text.n < 2 || text.at[0] != '/' || text.at[1] != '/') return r;
  r.has_authority = true;
  r.authority = (HttpText){text.at + 2, text.n - 2};
  const char *slash = memchr(r.authority.at, '/', r.authority.n);
  if (slash) r.authority.n = (size_t)(slash - r.authority.at);
  r.path = (HttpText){r.authority.at + r.authority.n, text.n - 2 - r.authority.n};
  return r;
}

/* The path, with no dots left in it. */
static void add_path(Out *out, const HttpUrl *base, const Reference *r) {
  size_t begin = out_length(out);
  bool absolute = r->path.n && r->path.at[0] == '/';
  if (!r->path.n && !r->has_authority) {
    out_add(out, base->path.at, base->path.n);
  } else if (!absolute && !r->has_authority) {
    size_t n = base->path.n; /* up to its last slash */
    while (n && base->path.at[n - 1] != '/') n--;
    if (n)
      out_add(out, base->path.at, n);
    else
      out_char(out, '/');
  }
  out_add(out, r->path.at, r->path.n);
  out->at = out->start + begin + http_remove_dots(out->start + begin, out_length(out) - begin);
}

static void add_behind(Out *out, char mark, bool has, HttpText text) {
  if (!has) return;
  out_char(out, mark);
  out_add(out, text.at, text.n);
}

static void resolve(Out *out, const HttpUrl *base, const Reference *r) {
  HttpText authority = r->has_authority ? r->authority : base->authority;
  bool same = !r->has_authority && !r->path.n && !r->has_query;
  out_add(out, base->scheme.at, base->scheme.n);
  out_text(out, "://");
  out_add(out, authority.at, authority.n);
  add_path(out, base, r);
  add_behind(out, '?', same ? base->has_query : r->has_query, same ? base->query : r->query);
  add_behind(out, '#', r->has_fragment, r->fragment);
}

/// The URL that a reference means which stands in what another URL names, as a Location does.
// @function parsers.join_url
// @tparam string base an absolute URL
// @tparam string reference relative, or absolute
// @treturn ?string nil where either is no URL
// @treturn ?string what is wrong then
static int url_join(lua_State *L) {
  HttpUrl base, whole;
  HttpText text;
  Out out;
  const char *why;
  size_t n;
  const char *at = luaL_checklstring(L, 1, &n);
  text.at = luaL_checklstring(L, 2, &text.n);
  if (!http_read_url(at, n, &base, &why)) return fail(L, why);
  asy_out_begin(L, &out);
  if (http_scheme(text.at, text.n)) {
    out_add(&out, text.at, text.n);
  } else {
    Reference r = read_reference(text);
    resolve(&out, &base, &r);
  }
  if (!http_read_url(out.start, out_length(&out), &whole, &why)) return fail(L, why);
  out_push(&out);
  return 1;
}

/// Takes `host:port` apart, or `host`, or `[::1]:port`.
// @function parsers.parse_authority
// @tparam string text
// @treturn ?string the host, in lower case and without brackets; nil and what is wrong
// @treturn ?integer the port
static int url_parse_authority(lua_State *L) {
  HttpAuthority a;
  const char *why;
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  if (!http_read_authority(text, n, false, &a, &why)) return fail(L, why);
  push_lower(L, a.host);
  if (a.port < 0) return 1;
  lua_pushinteger(L, a.port);
  return 2;
}

static const luaL_Reg functions[] = {{"url", url_parse},
                                     {"join_url", url_join},
                                     {"parse_authority", url_parse_authority},
                                     {NULL, NULL}};

void asy_url_open(lua_State *L) { luaL_setfuncs(L, functions, 0); }
