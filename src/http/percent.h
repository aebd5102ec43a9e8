/*
** percent.h - escapes in URLs and forms: %41, and + for a space.
*/
#ifndef ASY_HTTP_PERCENT_H
#define ASY_HTTP_PERCENT_H

#include <stdbool.h>
#include <stddef.h>

#pragma GCC visibility push(hidden)

/* `to` has room for n bytes. plus: a + is a space. False: an escape is none. */
bool http_decode(const char *bytes, size_t n, bool plus, char *to, size_t *length);

/* `to` has room for 3 n bytes. All but what is unreserved, or in `keep`, is escaped; plus: a space becomes +. Returns the length. */
size_t http_encode(const char *bytes, size_t n, const char *keep, size_t kept, bool plus, char *to);

#pragma GCC visibility pop

#endif
