/*
** fuzz/http_chunks.c - bodies in chunks: as http_requests.c, and beside a naive reader that sees all of it at once.
**
** Input: how (1 byte: small limits or the usual ones), the bytes behind the head.
*/
#include "http_events.h"

static const char HEAD[] = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

static void start(HttpConnection *c, unsigned how) {
  HttpFound found;
  HttpField fields[2];
  HttpSaid said;
  http_init(c, true, how & 1 ? &http_small : &http_usual);
  if (how & 1) c->limits.head = http_usual.head;
  check(http_read(c, HEAD, sizeof HEAD - 1, &found) == HTTP_HEAD);
  check(http_read_head(c, HEAD, sizeof HEAD - 1, fields, &said));
}

/* Where the line ends that begins there, without its CR LF; n: it doesn't. */
static size_t line_end(const char *bytes, size_t from, size_t n) {
  while (from < n && bytes[from] != '\n') from++;
  return from < n && from && bytes[from - 1] == '\r' ? from - 1 : n;
}

static bool token(char c) {
  return c && ((c >= 'a' && c <= 'z') ||
               strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~", c));
}

/* An automaton: 0 before a semicolon, 1 in an empty name, 2 in a name, 3 at a value, 4 in a token, 5 in quotes, 6 behind a
** backslash there, 7 behind quotes. */
static bool extensions(const char *bytes, size_t n) {
  int state = 0;
  for (size_t i = 0; i < n; i++) {
    char c = bytes[i];
    if ((c >= 0 && c < 32 && c != '\t') || c == 127) return false;
    switch (state) {
    case 0:
    case 7:
      if (c != ';') return false;
      state = 1;
      break;
    case 1:
      if (!token(c)) return false;
      state = 2;
      break;
    case 2:
    case 4:
      if (c == ';')
        state = 1;
      else if (c == '=' && state == 2)
        state = 3;
      else if (!token(c))
        return false;
      break;
    case 3:
      if (c != '"' && !token(c)) return false;
      state = c == '"' ? 5 : 4;
      break;
    case 5: state = c == '"' ? 7 : c == '\\' ? 6 : 5; break;
    default: state = 5;
    }
  }
  return state == 0 || state == 2 || state == 4 || state == 7;
}

/* Whether the bytes begin with a whole body that the model takes; then its content. Limits are not its business. */
static bool model(const char *bytes, size_t n, char *body, size_t *length) {
  for (size_t at = 0;;) {
    size_t end = line_end(bytes, at, n), digits = 0;
    unsigned long long size = 0;
    if (end == n) return false;
    for (; at + digits < end && strchr("0123456789abcdefABCDEF", bytes[at + digits]) &&
           bytes[at + digits];
         digits++) {
      if (digits == 16) return false;
      char digit[2] = {bytes[at + digits], 0};
      size = size * 16 + strtoull(digit, NULL, 16);
    }
    if (!digits || (at + digits < end && bytes[at + digits] != ';')) return false;
    if (!extensions(bytes + at + digits, end - at - digits)) return false;
    at = end + 2;
    if (!size) return at + 2 <= n && bytes[at] == '\r' && bytes[at + 1] == '\n';
    if (size > n - at || n - at - size < 2 || bytes[at + size] != '\r' ||
        bytes[at + size + 1] != '\n')
      return false;
    memcpy(body + *length, bytes + at, size);
    *length += size;
    at += size + 2;
  }
}

static void check_model(const char *bytes, size_t n) {
  HttpConnection c;
  HttpFound found;
  char *expected = malloc(n + 1), *body = malloc(n + 1);
  size_t length = 0, got = 0, from = 0;
  if (!expected || !body) exit(0);
  bool takes = model(bytes, n, expected, &length);
  start(&c, 0);
  HttpEvent event;
  while ((event = http_read(&c, bytes + from, n - from, &found)) == HTTP_DATA) {
    memcpy(body + got, found.data, found.n);
    got += found.n;
    from += found.used;
  }
  /* with trailers the model has nothing to say; too long lines it takes */
  if (event == HTTP_END)
    check(takes && got == length && memcmp(body, expected, got) == 0);
  else if (takes)
    check(event == HTTP_FAULT && (strstr(c.fault.what, "too l") != NULL));
  free(expected);
  free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
  if (!length) return 0;
  check_splits(start, bytes[0], (const char *)bytes + 1, length - 1);
  check_model((const char *)bytes + 1, length - 1);
  return 0;
}
