/*
** fields.h - fields that a program gives to be sent: each is looked at, so that nothing in it can be taken for another line.
*/
#ifndef ASY_PARSE_FIELDS_H
#define ASY_PARSE_FIELDS_H

#include "base/asy.h"
#include "http/connection.h"
#include "parse/out.h"

ASY_HIDDEN

typedef enum FieldsFor { FIELDS_HEAD, FIELDS_TRAILERS, FIELDS_KEPT } FieldsFor;

typedef struct Fields {
  Out *out;
  FieldsFor what;
  HttpPlan
      plan; /* what Content-Length, Connection and Upgrade say, goes there; the first two are no lines, in a head */
  bool has_date, has_host;
  bool special; /* one of them means something to the grammar */
  int n;
} Fields;

/* Adds the lines of the argument arg: nil, a table, or Headers. Raises an argument error for what can't be sent. */
void asy_fields_add(lua_State *L, int arg, Fields *f);

/* Adds parsers.headers to the module's table at the top. */
void asy_fields_open(lua_State *L);

ASY_HIDDEN_END

#endif
