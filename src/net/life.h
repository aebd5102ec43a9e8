/*
** life.h - a connection's life: made, opened, closed, freed.
*/
#ifndef ASY_LIFE_H
#define ASY_LIFE_H

#include "net/stream.h"

ASY_HIDDEN

#define STREAM_LINGER 30 /* seconds that <close>, or a server, waits for a peer that takes nothing */

/* Pushes a writer with a new stream of that kind (UV_TCP, UV_NAMED_PIPE: a unix socket, too), or raises. */
Stream *asy_stream_new(lua_State *L, Loop *loop, uv_handle_type type, size_t limit);

/* Pushes a writer for a stream that libuv knows nothing of; it is opened by itself, which cannot fail. */
Stream *asy_stream_new_carried(lua_State *L, Loop *loop, size_t limit, const Carrier *carrier);
void stream_open_carried(Stream *s);

/* Pushes a writer for a tty; then opens it on a descriptor of our own, which it takes over. */
Stream *asy_stream_new_tty(lua_State *L, Loop *loop, size_t limit);
int stream_open_tty(Stream *s, int fd);

/* Pushes a reader for the stream of the writer at idx: it points to the writer's box, which it keeps
** alive, and which is empty once the writer has been finalised. */
void asy_stream_push_reader(lua_State *L, int writer);

/* The same with room for so many user values; 1 is the writer. */
void asy_stream_push_reader_with(lua_State *L, int writer, int values);

/* Sends what can be sent now; what the end of the output was waiting for is done then. */
void asy_stream_flush(lua_State *L, Stream *s);

/* Sends what is written, then closes. linger_ns: abort after so long without progress; 0, or a
** standard stream: never. */
void asy_stream_close(lua_State *L, Stream *s, uint64_t linger_ns);

/* Closes at once; what is not sent is dropped. */
void asy_stream_abort(lua_State *L, Stream *s);

/* The same, and what its peer has got must not pass for all of it: a reset, where there is one. */
void asy_stream_break(lua_State *L, Stream *s);

/* The same for one that is taken from its user: what is read then raises, unless its end had come. even_at_end: then, too, since
** somebody else has read that. */
void asy_stream_take(lua_State *L, Stream *s, bool even_at_end);

/* Raises: it is closed, or, in a forked child, the parent's. */
int asy_stream_closed(lua_State *L, const Stream *s) ASY_NORETURN;

/* What isn't sent by now never will be: the peer will see a reset, which its user's own abort is not. */
void stream_lose_pending(Stream *s);

/* A stream that nobody is expected to close: it is not reported. */
void stream_disown(Stream *s);

/* One that is part of something else, which is reported itself: at the end of its input it closes by itself. */
void stream_make_part(Stream *s);

/* The running task where it may wait, else NULL. */
static inline Task *asy_stream_task_or_null(lua_State *L, const Stream *s) {
  const Loop *loop = s->handle.loop; /* nearer than the upvalue, but it may be gone */
  return asy_current_or_null_in(L, ASY_LIKELY(loop) ? loop->rt : ASY_RUNTIME(L));
}

/* The running task, which must be of the stream's loop, to wait for the stream. */
Task *asy_stream_waiting_task(lua_State *L, const Stream *s);

ASY_HIDDEN_END

#endif
