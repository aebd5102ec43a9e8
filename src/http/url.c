/*
** url.c - see url.h.
*/
#include "http/url.h"

#include <string.h>

#include "http/chars.h"

static bool no(const char **why, const char *what) {
  *why = what;
  return false;
}

/* Hosts */

/* Decimal, 0 to 255, without needless zeros. */
static bool is_octet(const char *bytes, size_t n) {
  unsigned value = 0;
  if (n < 1 || n > 3 || (n > 1 && bytes[0] == '0')) return false;
  for (size_t i = 0; i < n; i++) {
    if (!http_is(bytes[i], CHAR_DIGIT)) return false;
    value = value * 10 + (unsigned)(bytes[i] - '0');
  }
  return value <= 255;
}

static bool is_ipv4(const char *bytes, size_t n) {
  int octets = 0;
  for (size_t from = 0, i = 0; i <= n; i++) {
    if (i < n && bytes[i] != '.') continue;
    if (!is_octet(bytes + from, i - from) || ++octets > 4) return false;
    from = i + 1;
  }
  return octets == 4;
}

/* Whether its last part is a number; then the whole is an address to some, or nothing. */
static bool ends_in_number(const char *bytes, size_t n) {
  if (n && bytes[n - 1] == '.') n--;
  size_t from = n;
  while (from && bytes[from - 1] != '.') from--;
  bytes += from;
  n -= from;
  if (n >= 2 && bytes[0] == '0' && http_lower(bytes[1]) == 'x')
    return http_run(bytes + 2, n - 2, CHAR_HEX) == n - 2;
  return n && http_run(bytes, n, CHAR_DIGIT) == n;
}

static bool is_ipv6(const char *bytes, size_t n) {
  int groups = 0;
  bool gap = false;
  size_t i = 0;
  if (n >= 2 && bytes[0] == ':' && bytes[1] == ':') {
    gap = true;
    i = 2;
  }
  while (i < n) {
    size_t run = http_run(bytes + i, n - i, CHAR_HEX);
    if (i + run < n && bytes[i + run] == '.') {
      groups += 2;
      return is_ipv4(bytes + i, n - i) && (gap ? groups < 8 : groups == 8);
    }
    if (run < 1 || run > 4) return false;
    groups++;
    i += run;
    if (i == n) break;
    if (bytes[i++] != ':' || i == n) return false;
    if (bytes[i] != ':') continue;
    if (gap) return false;
    gap = true;
    i++;
  }
  return gap ? groups < 8 : groups == 8;
}

static bool read_port(const char *bytes, size_t n, HttpAuthority *out, const char **why) {
  uint64_t port;
  if (!http_number(bytes, n, &port) || n > 5 || port > 65535)
    return no(why, "the port is no number up to 65535");
  out->port = (int32_t)port;
  return true;
}

static bool read_literal(const char *bytes, size_t n, HttpAuthority *out, const char **why) {
  const char *close = memchr(bytes, ']', n);
  if (!close) return no(why, "the host's bracket is never closed");
  out->host = (HttpText){bytes + 1, (size_t)(close - bytes) - 1};
  out->ipv6 = true;
  if (!is_ipv6(out->host.at, out->host.n))
    return no(why, "the host in brackets is no IPv6 address");
  size_t at = (size_t)(close - bytes) + 1;
  if (at == n) return true;
  if (bytes[at] != ':') return no(why, "something follows the host's bracket");
  return read_port(bytes + at + 1, n - at - 1, out, why);
}

bool http_read_authority(const char *bytes, size_t n, bool users, HttpAuthority *out,
                         const char **why) {
  *out = (HttpAuthority){.port = -1};
  for (size_t i = n; i--;) { /* the last one */
    if (bytes[i] != '@') continue;
    if (!users) return no(why, "there is a user before the host");
    out->user = (HttpText){bytes, i};
    out->has_user = true;
    bytes += i + 1;
    n -= i + 1;
    break;
  }
  if (out->has_user && memchr(out->user.at, '@', out->user.n))
    return no(why, "there are several @");
  if (n && bytes[0] == '[') return read_literal(bytes, n, out, why);
  size_t run = http_run(bytes, n, CHAR_UNRESERVED);
  out->host = (HttpText){bytes, run};
  if (run < n && bytes[run] != ':') return no(why, "the host has a character that none may have");
  out->ipv4 = is_ipv4(bytes, run);
  out->odd = !out->ipv4 && ends_in_number(bytes, run);
  return run == n || read_port(bytes + run + 1, n - run - 1, out, why);
}

/* URLs */

size_t http_scheme(const char *bytes, size_t n) {
  size_t i = 0;
  if (!n || !http_is(bytes[0], CHAR_ALPHA)) return 0;
  while (i < n && (http_is(bytes[i], CHAR_ALPHA | CHAR_DIGIT) || bytes[i] == '+' ||
                   bytes[i] == '-' || bytes[i] == '.'))
    i++;
  return i < n && bytes[i] == ':' ? i : 0;
}

/* What may not stand in a URL at all is refused, also what others take for a slash. */
static bool check_characters(const char *bytes, size_t n, const char **why) {
  for (size_t i = 0; i < n; i++) {
    if (bytes[i] == '\\') return no(why, "there is a backslash");
    if (bytes[i] == '%') {
      if (i + 2 >= n || http_hex(bytes[i + 1]) < 0 || http_hex(bytes[i + 2]) < 0)
        return no(why, "a % is followed by no two hex digits");
      continue;
    }
    if (bytes[i] != '#' && !http_is(bytes[i], CHAR_TARGET)) {
      if (bytes[i] == ' ') return no(why, "there is a space; it is written %20");
      return no(why, (signed char)bytes[i] < 0
                         ? "there is a character beyond ASCII; its bytes are written as %XX each"
                         : "there is a control character");
    }
  }
  return true;
}

/* As far as that character, or to the end. */
static HttpText up_to(const char *from, const char *end, char stop) {
  const char *found = memchr(from, stop, (size_t)(end - from));
  return (HttpText){from, (size_t)((found ? found : end) - from)};
}

bool http_read_url(const char *bytes, size_t n, HttpUrl *out, const char **why) {
  const char *end = bytes + n;
  *out = (HttpUrl){.scheme = {bytes, http_scheme(bytes, n)}};
  if (!out->scheme.n) return no(why, "there is no scheme, as http:");
  if (!check_characters(bytes, n, why)) return false;
  const char *at = bytes + out->scheme.n + 1;
  if (end - at < 2 || at[0] != '/' || at[1] != '/')
    return no(why, "there is no // behind the scheme");
  at += 2;
  HttpText all = up_to(at, end, '#');
  if (all.at + all.n < end) {
    out->has_fragment = true;
    out->fragment = (HttpText){all.at + all.n + 1, (size_t)(end - (all.at + all.n + 1))};
    if (memchr(out->fragment.at, '#', out->fragment.n)) return no(why, "there are several #");
    end = all.at + all.n;
  }
  HttpText before = up_to(at, end, '?');
  if (before.at + before.n < end) {
    out->has_query = true;
    out->query = (HttpText){before.at + before.n + 1, (size_t)(end - (before.at + before.n + 1))};
    end = before.at + before.n;
  }
  out->authority = up_to(at, end, '/');
  out->path = (HttpText){at + out->authority.n, (size_t)(end - (at + out->authority.n))};
  if (!http_read_authority(out->authority.at, out->authority.n, true, &out->of, why)) return false;
  return out->of.host.n ? true : no(why, "there is no host");
}

/* RFC 3986 5.2.4, segment by segment, for paths that begin with a slash. */
size_t http_remove_dots(char *path, size_t n) {
  size_t to = 0, from = 0;
  while (from < n) {
    size_t end = from + 1;
    while (end < n && path[end] != '/') end++;
    size_t length = end - from - 1; /* of the segment at from, which begins with a slash */
    const char *segment = path + from + 1;
    if (length == 1 && segment[0] == '.') {
      if (end == n) path[to++] = '/';
    } else if (length == 2 && segment[0] == '.' && segment[1] == '.') {
      while (to && path[--to] != '/') continue;
      if (end == n) path[to++] = '/';
    } else {
      memmove(path + to, path + from, end - from);
      to += end - from;
    }
    from = end;
  }
  return to;
}
