/*
** chars.h - which bytes may stand where, after RFC 9110 and 3986; small things about runs of bytes.
*/
#ifndef ASY_HTTP_CHARS_H
#define ASY_HTTP_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

enum {
  CHAR_TOKEN = 1,  /* in names of methods and fields */
  CHAR_VALUE = 2,  /* in a field's value: all but controls; HTAB may be */
  CHAR_TARGET = 4, /* in a request's target: what is visible and ASCII, and no # */
  CHAR_DIGIT = 8,
  CHAR_HEX = 16,
  CHAR_UNRESERVED = 32, /* never in need of an escape in a URL */
  CHAR_ALPHA = 64
};

extern const uint8_t http_chars[256];

static inline bool http_is(char c, int what) { return (http_chars[(unsigned char)c] & what) != 0; }
static inline char http_lower(char c) {
  if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
  return c;
}

/* How many bytes at the front are of that sort. */
static inline size_t http_run(const char *bytes, size_t n, int what) {
  size_t i = 0;
  while (i < n && http_is(bytes[i], what)) i++;
  return i;
}

/* How many bytes at the front may stand in a value. */
size_t http_value_run(const char *bytes, size_t n);

bool http_is_token(const char *bytes, size_t n);

static inline bool http_is_value(const char *bytes, size_t n) {
  return http_value_run(bytes, n) == n;
}

/* Without case; `lower` is in lower case. */
bool http_same(const char *bytes, size_t n, const char *lower, size_t length);
#define HTTP_SAME(bytes, n, lower) http_same((bytes), (n), "" lower, sizeof(lower) - 1)
bool http_alike(const char *a, const char *b, size_t n); /* neither is in lower case */

/* -1: not a digit. */
static inline int http_hex(char c) {
  int n = (unsigned char)c;
  if (n >= '0' && n <= '9') return n - '0';
  n |= 0x20;
  return n >= 'a' && n <= 'f' ? n - 'a' + 10 : -1;
}

/* Decimal digits and nothing else, up to 2^53. */
bool http_number(const char *bytes, size_t n, uint64_t *out);
#define HTTP_MOST ((uint64_t)1 << 53)

/* The next member of a comma-separated list, which may be empty; false: there is none. *at begins at 0. */
bool http_member(const char *bytes, size_t n, size_t *at, const char **member, size_t *length);

#pragma GCC visibility pop

#endif
