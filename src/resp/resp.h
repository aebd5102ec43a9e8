/*
** resp.h - Redis' protocol, RESP2 and RESP3: bytes into events, and commands into bytes. Knows no Lua and no loop.
**
** The parser keeps no bytes: its owner does, and gives it all from the first that it has not used. What it tells of are
** whole tokens, by where they lie in those bytes; how the bytes arrived makes no difference. An announced length is a
** number and nothing else, until what it announces has come.
*/
#ifndef ASY_RESP_H
#define ASY_RESP_H

#include "base/asy.h"

ASY_HIDDEN

#define RESP_DEPTH 128             /* containers within each other */
#define RESP_LINE ((size_t)65536)  /* bytes of a line, without its end */
#define RESP_NUMBER 24             /* bytes that any number's text has at most, with a zero */

typedef enum RespKind {
  RESP_STRING, /* a bulk or simple string, or the text of a verbatim one */
  RESP_ERROR,
  RESP_INTEGER,
  RESP_DOUBLE, /* its text, which Lua reads as a number; or inf, -inf, nan, -nan */
  RESP_BIG,    /* digits, with or without a sign */
  RESP_BOOLEAN,
  RESP_NULL,
  RESP_LIST, /* from here on: containers */
  RESP_SET,
  RESP_PUSH,
  RESP_MAP,
  RESP_ATTRIBUTE, /* a map that says something of the value behind it, and is no value */
} RespKind;

/* What one token is. Of a container there are two: where it begins, and, behind its last value, its end. */
typedef struct RespEvent {
  RespKind kind;
  bool end;           /* of a container; nothing below says anything then but `depth` */
  size_t at, length;  /* strings, errors, doubles, big numbers: their bytes */
  int64_t integer;    /* an integer; a boolean; how many values a container has (a map: keys and values) */
  int depth;          /* in how many containers it stands */
  RespKind parent;    /* the one around it, where depth > 0 */
  uint64_t index;     /* the how manieth value in there, from 1 on; an attribute has that of what it is for */
} RespEvent;

typedef struct RespFrame {
  uint64_t count, done; /* values that it has, and those that have begun */
  uint8_t kind;
} RespFrame;

typedef struct RespParser {
  int depth;
  bool owing;       /* the last was an attribute: a value must follow */
  size_t searched;  /* bytes of the line at hand that have no end in them */
  const char *why;  /* what was wrong; it stays so */
  RespFrame frames[RESP_DEPTH];
} RespParser;

typedef enum RespStatus {
  RESP_MORE,  /* nothing yet: give more behind these bytes */
  RESP_EVENT, /* an event; *used bytes have been used */
  RESP_WRONG  /* this is not the protocol: parser->why says what, *used where. Final */
} RespStatus;

void resp_init(RespParser *p);

/* Looks at the n bytes that have not been used. */
RespStatus resp_next(RespParser *p, const char *bytes, size_t n, size_t *used, RespEvent *e);

/* Whether it stands between two replies. */
static inline bool resp_between(const RespParser *p) { return p->depth == 0 && !p->owing; }

/* Commands: a head, and each argument, are written at `to`, which has room for them; where they end. */
#define RESP_HEAD_ROOM ((size_t)32)
#define RESP_ARGUMENT_ROOM(n) ((size_t)32 + (n))
char *resp_put_head(char *to, size_t arguments);
char *resp_put_argument(char *to, const char *bytes, size_t n);

/* A number as Redis reads it back: the shortest text that is the same double; "inf", "-inf". How long it is. */
int resp_double(double number, char text[RESP_NUMBER + 8]);

ASY_HIDDEN_END

#endif
