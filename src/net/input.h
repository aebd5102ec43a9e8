/*
** input.h - a stream's bytes on their way in.
**
** Reads land in the stream's buffer, whether somebody waits or not, until twice the limit lies there.
** Who takes bytes out is the reader's business (reader.c), and when reading ends for good life's.
*/
#ifndef ASY_INPUT_H
#define ASY_INPUT_H

#include "net/filtered.h"

ASY_HIDDEN

/* Begins to read; what fails shows at the first read. */
void input_start(Stream *s);

/* The same with a callback of the caller's, for what nobody will read. */
void input_start_with(Stream *s, uv_read_cb on_read);

/* Reads no more until somebody wants to. */
void input_pause(Stream *s);

/* Reads again, where more may come. */
void input_resume(Stream *s);

/* Of a stream with a filter: goes on with what lies there raw. */
void input_go_on(Stream *s);

/* ... and wakes the reader if that has come, or the end, which it waits for. */
void input_look(Stream *s);

/* Output has left: reads again, if nothing was read for want of that. */
void input_breathe(Stream *s);

/* For a read callback that got no bytes but a status: the input has ended. Wakes the reader. C only. */
void input_failed(Stream *s, int status);

/* For a stream that isn't libuv's: how many bytes it would take now; takes them, however many. False when there is no
** memory: it has taken none. C only. */
size_t input_room(const Stream *s);
bool input_put(Stream *s, const char *bytes, size_t n);

/* Brings it to its end: what lies here and with the kernel (64 KiB at most) can be read, then there is no more. The
** peer isn't told, and output goes on. C only. */
void input_end(Stream *s);

/* Wakes who waits for input, or for the connection. C only. */
static inline void input_wake(Stream *s, int code) {
  if (s->in.reader && s->in.reader->phase == TASK_PARKED) task_wake(s->in.reader, code);
}

/* Reads of a regular file, in a turn of its own. */
void input_read_file(Stream *s);

/* The task is the reader, but of nothing: what comes stays with the kernel. And: it no longer is. */
void input_hold(Stream *s, Task *t);
void input_let_go(Stream *s);

/* Whether a reader that is content with any byte may take them from the kernel itself. */
static inline bool input_can_be_direct(const Stream *s) {
  return !s->in.on_demand && s->in.file < 0 && !s->carrier && !(s->filtered && buffer_length(&s->filtered->raw));
}

/* Reads what libuv has only said is there, in the reader's step. */
void input_fill(Stream *s);

/* The first n bytes have been taken: they go, and reading goes on. */
void input_took(Stream *s, size_t n);

/* Takes n bytes off the front, and pushes them but for the last `less`. What there is no memory for stays. */
int asy_input_take_less(lua_State *L, Stream *s, size_t n, size_t less);
static inline int asy_input_take(lua_State *L, Stream *s, size_t n) { return asy_input_take_less(L, s, n, 0); }

/* Gives the buffer back if it is empty: nobody knows how long it stays so. */
void input_free_if_empty(Stream *s);

ASY_HIDDEN_END

#endif
