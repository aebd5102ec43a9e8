/*
** output.h - a stream's bytes on their way out.
**
** What a turn writes leaves at its end. What the kernel doesn't take at once becomes a Flight, libuv's
** until it calls back; there is one at most, and what is written meanwhile waits.
*/
#ifndef ASY_OUTPUT_H
#define ASY_OUTPUT_H

#include "net/filtered.h"
#include "net/out.h"

ASY_HIDDEN

/* Bytes written and not with the kernel yet; those that never will be, since the filter has failed, don't count. */
static inline size_t output_pending(const Stream *s) {
  size_t n = s->out.waiting.bytes - s->out.waiting.sent;
  if (s->filtered) n = filtered_pending(s->filtered) + (s->filtered->failed ? 0 : n);
  if (s->out.flight && !s->out.flight->landed) n += uv_stream_get_write_queue_size(&s->uv.stream);
  return n;
}

/* Whether there is output that a thread has, and hasn't written yet. */
bool output_is_on_its_way(const Stream *s);

/* Notes the error that a thread has met. */
void output_look(Stream *s);

/* The libuv status with which a device (no peer) refused output, ENOSPC say; 0: none has. */
int output_device_error(const Stream *s);

/* Sends at the end of the turn. Called before the writing: should memory run out in the middle, what is
** there leaves. */
static inline void output_schedule(Stream *s) {
  if (!s->out.flight && !list_linked(&s->out.send.link)) list_append(&s->handle.loop->turn_end, &s->out.send.link);
}

/* What is to be sent at the end of the turn leaves in the next one, behind whoever is ready by now. */
static inline void output_delay(Stream *s) {
  if (!list_linked(&s->out.send.link)) return;
  list_remove(&s->out.send.link);
  loop_ready(s->handle.loop, &s->out.send);
}

/* Adds the string at idx. */
static inline void asy_output_write(lua_State *L, Stream *s, int idx) {
  asy_out_add(L, s->handle.loop, &s->out.waiting, idx);
}

/* Adds the first n bytes of a buffer, which loses them: the whole of it becomes ours where it can. False when there is
** no memory, and nothing has changed. */
bool output_take(Stream *s, Buffer *from, size_t n);

/* Whether a stream with a filter has something that could be sent. */
static inline bool output_waits(const Stream *s) {
  return s->out.waiting.bytes || filtered_pending(s->filtered);
}

/* Whether all there is to be sent is what the filter itself had to say, after the handshake: that may wait for what
** this turn's tasks write (the end of a handshake for the first request, tickets for the first answer). */
static inline bool output_can_gather(const Stream *s) {
  const Filtered *f = s->filtered;
  return f && filtered_pending(f) && !f->shaking && !f->failed && !s->out.waiting.bytes && !s->out.flight &&
         !s->out.ending && s->life.state == LIFE_OPEN;
}

/* Sends what can be sent now. 0 (an error of the kernel's is noted); UV_ENOMEM: some of it is lost for
** lack of memory, and the stream must not go on with a hole in it. No Flight may be under way.
** The second is for a stream with a filter. */
int asy_output_send(lua_State *L, Stream *s);
int asy_output_send_sealed(lua_State *L, Stream *s);

/* The libuv status for which no more can be written, or 0: a write has met it, or the filter has failed, and only what
** it has put by then is still sent. */
static inline int output_error(const Stream *s) {
  return s->out.error || !s->filtered || !s->filtered->failed ? s->out.error : s->in.error;
}

/* The loop closes: sends the filter's word for the end, where all else is sent, and as the kernel takes it. C only. */
void output_send_last(Stream *s);

/* Sends the end that `ending` was made for. */
void output_send_eof(Stream *s);

/* Frees a Flight that has landed. */
void asy_output_land(lua_State *L, Loop *loop, Stream *s);

/* Drops what waits. */
void asy_output_drop(lua_State *L, Loop *loop, Stream *s);

/* Frees the memory of it all, where no Lua is left. */
void output_free(Stream *s);

ASY_HIDDEN_END

#endif
