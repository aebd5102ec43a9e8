/*
** headers.h - the fields of a message, as programs see them: in order, looked up without case.
*/
#ifndef ASY_PARSE_HEADERS_H
#define ASY_PARSE_HEADERS_H

#include "base/asy.h"
#include "http/head.h"

ASY_HIDDEN

#define HEADERS_CLASS "asyncio.Headers"

/* The bytes stand behind the fields. */
typedef struct Headers {
  uint32_t size; /* of the bytes */
  int n;
  bool plain; /* made to be sent: the bytes are lines, and none is the grammar's business */
  HttpField fields[];
} Headers;

static inline char *headers_bytes(const Headers *h) { return (char *)(uintptr_t)&h->fields[h->n]; }

/* Pushes one with room for so much. */
Headers *asy_headers_new(lua_State *L, int n, size_t size);

/* NULL: it is something else. */
Headers *asy_headers_test(lua_State *L, int idx);

/* Pushes its metatable, which the module keeps. */
void asy_headers_open(lua_State *L);

ASY_HIDDEN_END

#endif
