/*
** state.h - the object for one HTTP connection: what was fed and not read yet, and the grammar's state.
*/
#ifndef ASY_PARSE_STATE_H
#define ASY_PARSE_STATE_H

#include "base/asy.h"
#include "http/connection.h"
#include "parse/self.h"

ASY_HIDDEN

#define CONNECTION_CLASS "asyncio.HTTPConnection"

typedef struct Connection {
  HttpConnection http;
  const char *
      bytes; /* these are still to be read; they are the user value's: a string that was fed, or the block */
  size_t n;
  char *block;      /* NULL: it is a string, or there is nothing */
  size_t size;      /* the block's */
  unsigned changes; /* counts them: a finaliser may call a method while another allocates */
} Connection;

static inline Connection *asy_connection_check(lua_State *L) { return asy_self(L, CONNECTION_CLASS); }

ASY_HIDDEN_END

#endif
