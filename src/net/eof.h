/*
** eof.h - who waits for the end of a stream's input, whether it is read or not. C only.
**
** What isn't read stays with the kernel, and the end behind it libuv doesn't see: so the kernel is asked to tell of the
** end by itself, while somebody waits for it.
*/
#ifndef ASY_EOF_H
#define ASY_EOF_H

#include "net/stream.h"

ASY_HIDDEN

/* Has the kernel tell of the end, for those who stand in the line. 0 or a negative status; 0 also where there is no
** descriptor to ask about: its carrier tells of the end. */
int eof_watch(Stream *s);

/* The kernel is not to tell any more: nobody waits, or the descriptor is about to be closed. */
void eof_unwatch(Stream *s);

/* The input has ended, or the stream: wakes who waits for that. */
void eof_wake(Stream *s);
static inline void eof_tell(Stream *s) {
  if (!list_empty(&s->in.enders)) eof_wake(s);
}

/* Whether the end is known: there is nothing to wait for. A file's content is all there. */
static inline bool eof_known(const Stream *s) {
  return s->in.eof || (s->in.error && s->in.error != UV_ENOMEM) || s->in.file >= 0 ||
         (s->carrier && s->carrier->ending && s->carrier->ending(s));
}

/* Whether the connection is open and nothing has come that wasn't read, neither bytes nor the end, not even to the kernel:
** what was asked on it was answered, and it can be used again. */
bool eof_is_quiet(const Stream *s);

ASY_HIDDEN_END

#endif
