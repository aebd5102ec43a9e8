/*
** grammar.h - what makes messages of a stream's bytes, and bytes of messages, as WebSocket's frames do.
**
** A Grammar is the first field of a userdata's block, knows neither streams nor loops, and may come from another shared
** object: it is reached by its GrammarOps alone, and GRAMMAR_ABI says which. What a stream does with one stands in
** messages.c.
*/
#ifndef ASY_GRAMMAR_H
#define ASY_GRAMMAR_H

#include "base/asy.h"

ASY_HIDDEN

#define GRAMMAR_ABI 1 /* changes with anything that stands here */

/* What has come. */
typedef enum GrammarEvent {
  GRAMMAR_WANTS, /* nothing yet: all bytes are used, it needs more */
  GRAMMAR_TEXT,  /* a whole message, which is pushed */
  GRAMMAR_BINARY,
  GRAMMAR_OTHER  /* what the Lua layer has to know: some values are pushed, the first of them its name */
} GrammarEvent;

typedef struct GrammarInput {
  const char *bytes;
  size_t n;
  size_t used; /* of the bytes: they are taken off the front */
  int pushed;  /* values */
  /* Whether the bytes are still those of whoever gave them; false after a finaliser has had some of them. Or NULL: they
  ** are. */
  bool (*untouched)(const struct GrammarInput *in);
  const void *whose; /* for that */
} GrammarInput;

struct Grammar;

typedef struct GrammarOps {
  unsigned abi;     /* GRAMMAR_ABI */
  size_t most_head; /* bytes that `write` adds to a message, at most */
  /* The next event of the input. Raises where there is no memory, or the input was touched: then nothing has changed.
  ** idx: where its userdata stands. */
  GrammarEvent (*read)(lua_State *L, struct Grammar *g, int idx, GrammarInput *in);
  /* Writes a whole message of n bytes to `to`, which has room for them and most_head; returns how many that are. 0: this
  ** is no text. May raise, allocates nothing. */
  size_t (*write)(lua_State *L, struct Grammar *g, GrammarEvent kind, const char *data, size_t n, char *to);
} GrammarOps;

typedef struct Grammar {
  const GrammarOps *ops;
} Grammar;

ASY_HIDDEN_END

#endif
