/*
** url.h - absolute URLs after RFC 3986, of http's kind, and what stands in their place in requests.
*/
#ifndef ASY_HTTP_URL_H
#define ASY_HTTP_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

typedef struct HttpText {
  const char *at;
  size_t n;
} HttpText;

typedef struct HttpAuthority {
  HttpText user; /* all before the @ */
  HttpText host; /* an IPv6 address without its brackets; may be empty */
  int32_t port;  /* -1: none is said */
  bool has_user;
  bool ipv6, ipv4; /* as one writes them */
  bool
      odd; /* a number that some take for an IPv4 address: 127.1, 0x7f000001, 2130706433, 010.0.0.1 */
} HttpAuthority;

typedef struct HttpUrl {
  HttpText scheme, authority, path, query, fragment;
  HttpAuthority of;
  bool has_query, has_fragment;
} HttpUrl;

/* [user@]host[:port]; false: *why says what is wrong. */
bool http_read_authority(const char *bytes, size_t n, bool users, HttpAuthority *out,
                         const char **why);

/* Whether it may be a value of Host. */
static inline bool http_is_host(const char *bytes, size_t n) {
  HttpAuthority of;
  const char *why;
  return !n || http_read_authority(bytes, n, false, &of, &why);
}

/* scheme://authority[/path][?query][#fragment] */
bool http_read_url(const char *bytes, size_t n, HttpUrl *out, const char **why);

/* How many bytes of the front are a scheme that a colon follows; 0: none. */
size_t http_scheme(const char *bytes, size_t n);

/* Resolves "." and ".." in a path, in place; returns its new length. */
size_t http_remove_dots(char *path, size_t n);

#pragma GCC visibility pop

#endif
