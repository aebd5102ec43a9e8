/*
** date.h - moments as HTTP writes them. Seconds are those since 1970, UTC.
*/
#ifndef ASY_HTTP_DATE_H
#define ASY_HTTP_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

#define HTTP_DATE 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

/* Years 0 to 9999; false: it is outside. */
bool http_write_date(int64_t seconds, char to[HTTP_DATE]);

/* That form, RFC 850's (a year of two digits is the nearest one to `now` that isn't more than 50 years ahead), or asctime's. */
bool http_read_date(const char *bytes, size_t n, int64_t now, int64_t *seconds);

#pragma GCC visibility pop

#endif
