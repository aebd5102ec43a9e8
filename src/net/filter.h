/*
** filter.h - what may stand between a stream and its handle: it makes other bytes of those that pass, as TLS does.
**
** A Filter is C, knows neither streams nor descriptors nor Lua (but in `ask` and `info`), and may come from another
** shared object: it is reached by its FilterOps alone, and FILTER_ABI says which. Raw bytes are the handle's side, plain
** ones the user's. What a stream does with one stands in filtered.h.
*/
#ifndef ASY_FILTER_H
#define ASY_FILTER_H

#include "base/asy.h"

ASY_HIDDEN

#define FILTER_ABI 3 /* changes with anything that stands here down to FilterSource */

/* What a step has come to. */
typedef enum FilterStep {
  FILTER_DONE,   /* what was asked for: plain bytes, or the handshake is over */
  FILTER_MORE,   /* it needs more raw bytes first */
  FILTER_ASK,    /* ... or `ask` to be called first */
  FILTER_END,    /* the peer has ended in good order: no more plain bytes come. Output may go on */
  FILTER_FAILED  /* see `failure`; it is of no use any more, but what it put may still be sent */
} FilterStep;

/* What a step works on: takes raw bytes off the front of bytes[0..n), which is all there is when `ended`; hands raw
** output to `put`, which says false where there is no memory. */
typedef struct FilterIo {
  const char *bytes;
  size_t n;
  bool ended;
  bool (*put)(void *to, const char *bytes, size_t n);
  void *to;
} FilterIo;

/* Which error of the core it is. */
typedef enum FilterFault { FILTER_NO_MEMORY, FILTER_ERROR, FILTER_UNVERIFIED, FILTER_TRUNCATED } FilterFault;

typedef struct FilterFailure {
  FilterFault fault;
  const char *library, *reason;    /* as Python's SSLError has them; may be NULL */
  long verify_code;                /* FILTER_UNVERIFIED */
  const char *verify_message;      /* ... or NULL */
  const char *text;                /* a sentence for people, without the place */
} FilterFailure;

struct Filter;

typedef struct FilterOps {
  unsigned abi;     /* FILTER_ABI */
  const char *name; /* what errors call it */
  /* Goes on with the handshake; DONE once. */
  FilterStep (*shake)(struct Filter *f, FilterIo *io);
  /* Plain bytes, `room` at most and at least one where it is DONE; *got says how many. */
  FilterStep (*pull)(struct Filter *f, FilterIo *io, char *to, size_t room, size_t *got);
  /* Takes plain bytes, all of them where it is DONE. Asked again after anything else it must be the same bytes. */
  FilterStep (*push)(struct Filter *f, FilterIo *io, const char *bytes, size_t n);
  /* Puts the end of the output. */
  FilterStep (*finish)(struct Filter *f, FilterIo *io);
  size_t (*held)(const struct Filter *f);  /* plain bytes that `pull` gives without any more raw ones */
  bool (*can_half)(const struct Filter *f); /* whether input goes on after `finish` */
  void (*failure)(const struct Filter *f, FilterFailure *failure); /* after FAILED; valid until it is freed */
  /* After ASK; may call Lua, which must not wait. Raises nothing; an error of what it called is pushed: how many.
  ** handler: the stack index of a message handler. */
  int (*ask)(lua_State *L, struct Filter *f, int handler);
  int (*info)(lua_State *L, struct Filter *f, const char *name); /* pushes what get_extra_info asks for, or nothing: how many */
  /* No step follows, but `failure`, `can_half` and `info` answer as ever: what only steps need can go. C only. */
  void (*retire)(struct Filter *f);
  void (*free)(struct Filter *f);
} FilterOps;

/* The first field of every filter. */
typedef struct Filter {
  const FilterOps *ops;
} Filter;

/* For whom a filter is made. */
typedef struct FilterOrder {
  bool server;
  const char *name; /* a client's: what the peer's certificate must be for; or NULL */
  const char *key;  /* a client's: "host:port", for resumption; or NULL */
} FilterOrder;

/* What makes filters: the first part of a context's block, which outlives them. */
typedef struct FilterSource {
  unsigned abi; /* FILTER_ABI */
  /* NULL: no memory. C only. */
  Filter *(*make)(struct FilterSource *source, const FilterOrder *order);
} FilterSource;

ASY_HIDDEN_END

#endif
