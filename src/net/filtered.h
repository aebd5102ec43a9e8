/*
** filtered.h - a stream's filter, with what lies on its raw side.
**
** Raw input lies here until the filter takes it; what it makes of it goes to the stream's own buffer, as far as there
** is room for the reader (input.c). Plain output is sealed when it is about to be sent (output.c). What a step has put
** for the peer leaves with the stream's `tidy`. C only, so libuv's callbacks may call it, but for what asks Lua.
*/
#ifndef ASY_FILTERED_H
#define ASY_FILTERED_H

#include "net/filter.h"
#include "net/stream.h"

ASY_HIDDEN

/* Sends at once what the kernel takes: so many bytes. An error of its is noted. */
typedef size_t FilteredSend(Stream *s, const char *bytes, size_t n);

typedef struct Filtered {
  Filter *filter;
  Stream *stream;
  Buffer raw;    /* input that has come, and the filter hasn't taken */
  Out sealed;    /* output that the filter has put; what was written before it began goes first */
  FilteredSend *straight; /* what is put now goes by that first; or NULL */
  int raw_end;   /* the status that has ended the raw input; 0: it goes on */
  const char *step; /* what the errors of a handshake call it for which a task waits */
  bool shaking;  /* the handshake is under way ... */
  bool asks;     /* ... and Lua is to be asked something: by `tidy` */
  bool failed;   /* it is of no use any more */
  bool resumed;  /* what it held back has come at once, perhaps before its reader was parked: `tidy` wakes that */
  bool choked;   /* nothing is read: the peer makes it answer, and takes no answers */
  bool finished; /* the end of the output has been put */
  Timer timer;   /* a server's: so long the handshake may take */
  bool late;     /* ... and that is over */
  ListNode link; /* a server's: among those whose handshake has ended */
  void (*over)(struct Filtered *f); /* told when the handshake has ended, or the stream. Or NULL */
} Filtered;

/* Gives the stream a filter, which it owns from then on, and moves what lies unread and unsent to the raw side. The
** handshake begins with the first `filtered_pull`. NULL: no memory, and the filter is the caller's. */
Filtered *filtered_attach(Stream *s, Filter *filter);
void filtered_free(Stream *s);

/* The handle has closed: frees what only an open stream needs. What is known of it, and of its failure, stays. */
void filtered_retire(Filtered *f);

/* What has come of a pull. */
typedef struct Pulled {
  size_t fresh; /* so many bytes were added */
  int end;      /* the status that ended the input: UV_EPROTO where the filter tells it; or 0 */
} Pulled;

/* Goes on with the handshake, then adds plain bytes, `room` at most. */
Pulled filtered_pull(Filtered *f, Buffer *to, size_t room);

/* Lets Lua answer what it has asked. stack: unchanged */
void asy_filtered_ask(lua_State *L, Filtered *f);

/* Seals plain output, as much as is to be sent in one go; where that is one record `send` has it at once, unless NULL.
** A libuv status; UV_EPROTO: the filter tells why. */
int filtered_seal(Filtered *f, FilteredSend *send);

/* Puts the end of the output; false: there is nothing to put (any more). */
bool filtered_finish(Filtered *f);

/* The handshake, if it is under way, comes to nothing. */
void filtered_end_shake(Filtered *f);

/* Whether it is said that input goes on after the end of the output. */
static inline bool filtered_can_half(const Filtered *f) { return f->filter->ops->can_half(f->filter); }

/* Bytes that are sealed, and not sent. */
static inline size_t filtered_pending(const Filtered *f) { return f->sealed.bytes - f->sealed.sent; }

/* Pushes the error that it has met. Raises it, where its peer is to blame. */
void asy_filtered_push_error(lua_State *L, const Filtered *f, const char *what);
int asy_filtered_raise(lua_State *L, const Stream *s, const char *what) ASY_NORETURN;

/* Whether the raw input has ended without the peer's word that it should. */
bool filtered_truncated(const Stream *s);

ASY_HIDDEN_END

#endif
