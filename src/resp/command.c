/*
** command.c - a command as Redis takes it: a list of strings, each with its length.
*/
#include "resp/resp.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *end_line(char *to) {
  *to++ = '\r';
  *to++ = '\n';
  return to;
}

static char *put_number(char *to, char mark, size_t number) {
  char digits[24], *p = digits + sizeof digits;
  do *--p = (char)('0' + number % 10);
  while (number /= 10);
  size_t n = (size_t)(digits + sizeof digits - p);
  *to++ = mark;
  memcpy(to, p, n);
  return end_line(to + n);
}

char *resp_put_head(char *to, size_t arguments) { return put_number(to, '*', arguments); }

char *resp_put_argument(char *to, const char *bytes, size_t n) {
  to = put_number(to, '$', n);
  memcpy(to, bytes, n);
  return end_line(to + n);
}

int resp_double(double number, char text[RESP_NUMBER + 8]) {
  if (isinf(number)) return snprintf(text, RESP_NUMBER, "%s", number > 0 ? "inf" : "-inf");
  int n = 0;
  for (int digits = 15; digits <= 17; digits++) {
    n = snprintf(text, RESP_NUMBER + 8, "%.*g", digits, number);
    if (strtod(text, NULL) == number) break;
  }
  for (char *c = text; *c; c++)
    if (!strchr("+-.e0123456789", *c)) *c = '.'; /* the locale's */
  return n;
}
