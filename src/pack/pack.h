/*
** pack.h - MessagePack: bytes into values, a token at a time, and values into bytes. Knows no Lua and no loop.
**
** The reader has all bytes from the first on. An announced length is compared with the bytes that are there and still
** belong to no other announcement, so whoever makes room for what is announced never makes more than has come.
*/
#ifndef ASY_PACK_H
#define ASY_PACK_H

#include "base/asy.h"

ASY_HIDDEN

#define PACK_DEPTH 128 /* containers within each other */
#define PACK_HEAD 9    /* bytes that a number takes at most, and what stands before a string or a container's values */

typedef enum PackKind {
  PACK_NIL,
  PACK_BOOLEAN,
  PACK_INTEGER,
  PACK_FLOAT,
  PACK_STRING, /* text or bytes */
  PACK_LIST,   /* from here on: containers */
  PACK_MAP,
} PackKind;

typedef struct PackToken {
  PackKind kind;
  int64_t integer;   /* an integer, a boolean */
  double number;     /* a float */
  const char *bytes; /* a string's */
  size_t length;     /* of a string; how many values a list has, how many pairs a map */
} PackToken;

typedef struct PackReader {
  const char *bytes;
  size_t n, at;
  uint64_t owed; /* values that containers have announced and that have not begun */
  int depth, most_deep;
  const char *why; /* what was wrong, at `at`; it stays so */
  bool ended;      /* it is that the bytes have an end there */
} PackReader;

static inline void pack_reader_init(PackReader *r, const char *bytes, size_t n, int most_deep) {
  *r = (PackReader){.bytes = bytes, .n = n, .most_deep = most_deep};
}

/* The next token; false: r->why. */
bool pack_next(PackReader *r, PackToken *t);

/* All values of the innermost container have been read. */
static inline void pack_leave(PackReader *r) { r->depth--; }

/* Each writes at `to`, where PACK_HEAD bytes have room, in the shortest form that there is; where it ends. */
char *pack_put_nil(char *to);
char *pack_put_boolean(char *to, bool value);
char *pack_put_integer(char *to, int64_t value);
char *pack_put_float(char *to, double value);

/* Only what stands before the bytes, the values or the pairs, of which there are less than 2^32. */
char *pack_put_string(char *to, size_t length, bool text);
char *pack_put_list(char *to, size_t values);
char *pack_put_map(char *to, size_t pairs);

ASY_HIDDEN_END

#endif
