/*
** start.c - first lines: a request's and an answer's (head.h).
*/
#include <string.h>

#include "http/chars.h"
#include "http/head.h"
#include "http/url.h"

#define HTTP10 "HTTP/1.0"

/* "HTTP/1.x" and nothing behind it. */
static bool read_version(const char *at, size_t n, HttpStart *out, HttpFault *fault) {
  if (n != sizeof HTTP10 - 1 || memcmp(at, "HTTP/", 5) != 0 || !http_is(at[5], CHAR_DIGIT) ||
      at[6] != '.' || !http_is(at[7], CHAR_DIGIT))
    return http_wrong(fault, 400, "there is no version, as HTTP/1.1, at the end of the first line",
                      0);
  if (at[5] != '1') return http_wrong(fault, 505, "the version is not HTTP/1", 0);
  out->old = at[7] == '0';
  return true;
}

static bool read_absolute(const char *target, size_t n, HttpStart *out, HttpFault *fault) {
  HttpUrl url;
  const char *why;
  if (!http_read_url(target, n, &url, &why))
    return http_wrong(fault, 400, "the target is no URL", 0);
  out->is_https = HTTP_SAME(url.scheme.at, url.scheme.n, "https");
  if (!out->is_https && !HTTP_SAME(url.scheme.at, url.scheme.n, "http"))
    return http_wrong(fault, 400, "the target's scheme is not http", 0);
  if (url.of.has_user) return http_wrong(fault, 400, "the target names a user", 0);
  out->form = FORM_ABSOLUTE;
  out->has_host = true;
  out->host = (HttpSpan){(uint32_t)(url.authority.at - target), (uint32_t)url.authority.n};
  out->path = (HttpSpan){(uint32_t)(url.path.at - target), (uint32_t)url.path.n};
  out->has_query = url.has_query;
  if (url.has_query)
    out->query = (HttpSpan){(uint32_t)(url.query.at - target), (uint32_t)url.query.n};
  return true;
}

static bool read_target(const char *target, size_t n, bool connect, bool options, HttpStart *out,
                        HttpFault *fault) {
  HttpAuthority of;
  const char *why;
  if (connect) {
    if (!http_read_authority(target, n, false, &of, &why) || !of.host.n || of.port < 0)
      return http_wrong(fault, 400, "the target of CONNECT is not host:port", 0);
    out->form = FORM_AUTHORITY;
    out->has_host = true;
    out->host = (HttpSpan){0, (uint32_t)n};
    return true;
  }
  if (*target == '/') {
    const char *mark = memchr(target, '?', n);
    out->form = FORM_ORIGIN;
    out->path = (HttpSpan){0, (uint32_t)(mark ? (size_t)(mark - target) : n)};
    out->has_query = mark != NULL;
    if (mark) out->query = (HttpSpan){out->path.n + 1, (uint32_t)n - out->path.n - 1};
    return true;
  }
  if (n == 1 && *target == '*' && options) {
    out->form = FORM_ASTERISK;
    out->path = (HttpSpan){0, 1};
    return true;
  }
  if (http_scheme(target, n)) return read_absolute(target, n, out, fault);
  return http_wrong(fault, 400, "the target is neither a path nor a URL", 0);
}

bool http_request_line(const char *line, size_t n, HttpStart *out, HttpFault *fault) {
  *out = (HttpStart){0};
  size_t method = http_run(line, n, CHAR_TOKEN);
  if (!method || method == n || line[method] != ' ')
    return http_wrong(fault, 400, "the method is no token", 0);
  const char *target = line + method + 1;
  size_t length = http_run(target, n - method - 1, CHAR_TARGET), used = method + 1 + length;
  if (!length || used == n || line[used] != ' ')
    return http_wrong(fault, 400,
                      used == n ? "there is no version, as HTTP/1.1, at the end of the first line"
                      : length  ? "the target has a character that none may have"
                                : "there is no target",
                      0);
  if (!read_version(line + used + 1, n - used - 1, out, fault)) return false;
  out->method = (HttpSpan){0, (uint32_t)method};
  out->target = (HttpSpan){(uint32_t)method + 1, (uint32_t)length};
  return read_target(target, length, method == 7 && memcmp(line, "CONNECT", 7) == 0,
                     method == 7 && memcmp(line, "OPTIONS", 7) == 0, out, fault);
}

/* The space behind the status may lack where there is no reason. */
bool http_status_line(const char *line, size_t n, HttpStart *out, HttpFault *fault) {
  *out = (HttpStart){0};
  if (n < sizeof HTTP10 - 1 || !read_version(line, sizeof HTTP10 - 1, out, fault))
    return http_wrong(fault, 400, "the answer doesn't begin with HTTP/1.1", 0);
  const char *at = line + sizeof HTTP10 - 1;
  size_t left = n - (sizeof HTTP10 - 1);
  if (left < 4 || at[0] != ' ' || http_run(at + 1, 3, CHAR_DIGIT) != 3 || at[1] == '0' ||
      (left > 4 && at[4] != ' '))
    return http_wrong(fault, 400, "the answer's status is no number of three digits", 0);
  out->status = (uint16_t)((at[1] - '0') * 100 + (at[2] - '0') * 10 + (at[3] - '0'));
  if (left > 5) {
    if (!http_is_value(at + 5, left - 5))
      return http_wrong(fault, 400, "the answer's reason has a control character", 0);
    out->reason = (HttpSpan){(uint32_t)(at + 5 - line), (uint32_t)left - 5};
  }
  return true;
}
