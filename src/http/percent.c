/*
** percent.c - see percent.h.
*/
#include "http/percent.h"

#include <string.h>

#include "http/chars.h"

bool http_decode(const char *bytes, size_t n, bool plus, char *to, size_t *length) {
  size_t out = 0;
  for (size_t i = 0; i < n; i++) {
    char c = bytes[i];
    if (c == '%') {
      int high = n - i > 2 ? http_hex(bytes[i + 1]) : -1,
          low = n - i > 2 ? http_hex(bytes[i + 2]) : -1;
      if (high < 0 || low < 0) return false;
      c = (char)(high << 4 | low);
      i += 2;
    } else if (c == '+' && plus)
      c = ' ';
    to[out++] = c;
  }
  *length = out;
  return true;
}

size_t http_encode(const char *bytes, size_t n, const char *keep, size_t kept, bool plus,
                   char *to) {
  static const char digits[] = "0123456789ABCDEF";
  size_t out = 0;
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)bytes[i];
    if (http_is((char)c, CHAR_UNRESERVED) || (kept && memchr(keep, c, kept))) {
      to[out++] = (char)c;
    } else if (c == ' ' && plus) {
      to[out++] = '+';
    } else {
      to[out++] = '%';
      to[out++] = digits[c >> 4];
      to[out++] = digits[c & 15];
    }
  }
  return out;
}
