/*
** limit.h - read_timeout and write_timeout: no byte for so long, while somebody waits for one.
**
** A stream that has neither has nothing of this: its `limits` is NULL. Else who begins to wait notes when, and one
** timer for both directions looks, as a rule once in such a time: it is neither set nor cancelled by each wait.
**
** Whoever waits for bytes says so before it parks: a reader by asy_limit_read, for what waits in `out.drainers` or
** `life.closers` asy_limit_write. Who moves bytes without waking those says so too.
*/
#ifndef ASY_LIMIT_H
#define ASY_LIMIT_H

#include "core/options.h"
#include "net/stream.h"

ASY_HIDDEN

/* What all streams can be given. */
typedef struct StreamOptions {
  size_t limit;
  uint64_t read_ns, write_ns; /* read_timeout, write_timeout; 0: none */
} StreamOptions;

#define STREAM_OPTIONS \
  OPT_BYTES("limit"), {.key = "read_timeout", .kind = OPT_POSITIVE}, {.key = "write_timeout", .kind = OPT_POSITIVE}

/* Reads them from a table that was checked. */
StreamOptions asy_stream_options(lua_State *L, int idx);

typedef struct Limits {
  Stream *stream;
  Timer timer;            /* the next look, at `at` */
  uint64_t at;
  uint64_t read_ns, write_ns;
  uint64_t read_since;    /* the later of: its reader began to wait; the last byte came. TIMER_NEVER: it doesn't wait */
  bool expired;           /* the reader was woken by that, and hasn't told yet */
  uint64_t write_since;   /* when the first of those who wait for output began to, or earlier; TIMER_NEVER: nobody */
  uint64_t wrote_at;      /* when the last byte left, as far as is known */
  size_t left;            /* what was to go at the last look: moving is that it is another */
} Limits;

/* Gives a stream the limits of its options; false: no memory. */
bool limits_set(Stream *s, const StreamOptions *options);

/* Reads have so much time from now on, whatever was said before; 0: no limit. False: no memory. */
bool limits_read_within(Stream *s, lua_Number ns);

/* Looks no more: the stream is closed. */
void limits_stop(Stream *s);
void limits_free(Stream *s);

/* The wake code of those who wait for output: perhaps their time is up. */
#define LIMIT_LOOK 1

void asy_limits_read(lua_State *L, Stream *s);
void asy_limits_write(lua_State *L, Stream *s);
void limits_came(Stream *s);
void limits_left(Stream *s);

/* Before a read parks. Raises when this very wait was ended for its limit. */
static inline void asy_limit_read(lua_State *L, Stream *s) {
  if (s->limits) asy_limits_read(L, s);
}

/* A read begins, whatever became of the last. */
static inline void limit_read_anew(Stream *s) {
  if (s->limits) s->limits->expired = false;
}

/* The input has a reader, but that doesn't wait for it. */
static inline void limit_read_not(Stream *s) {
  if (s->limits) s->limits->read_since = TIMER_NEVER;
}

/* Before a call parks that waits for output, whose stack has one value: a second is when it began to wait. Raises
** when that was too long ago; so it is called again when the call was woken with LIMIT_LOOK. */
static inline void asy_limit_write(lua_State *L, Stream *s) {
  if (s->limits) asy_limits_write(L, s);
}

/* A byte has come that isn't enough for the reader; one has left. */
static inline void limit_came(Stream *s) {
  if (s->limits) limits_came(s);
}
static inline void limit_left(Stream *s) {
  if (s->limits) limits_left(s);
}

/* What a wait for output is given up after, if that is less than `ns`. */
static inline uint64_t limit_linger(const Stream *s, uint64_t ns) {
  return s->limits && s->limits->write_ns && s->limits->write_ns < ns ? s->limits->write_ns : ns;
}

ASY_HIDDEN_END

#endif
