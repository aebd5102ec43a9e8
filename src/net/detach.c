/*
** detach.c - StreamWriter:detach: the descriptor without the stream.
**
** A libuv handle closes its descriptor, so what is given away is a copy. Meanwhile the call stands as the stream's
** reader: nothing more is taken from the kernel, and what was taken goes along.
*/
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <sys/socket.h>

#include "core/error.h"
#include "net/filtered.h"
#include "net/input.h"
#include "net/life.h"
#include "net/limit.h"
#include "net/output.h"
#include "net/peer.h"
#include "net/reader.h"
#include "net/writer.h"
#include "open.h"

/* A copy of the socket, as the system makes new ones: it blocks. Or a negative status. */
static int copy_socket(const Stream *s) {
  int fd, status = uv_fileno(&s->uv.handle, &fd);
  if (status) return status;
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return -errno;
  fcntl(copy, F_SETFL, fcntl(copy, F_GETFL) & ~O_NONBLOCK);
  if (s->out.eof_wanted) shutdown(copy, SHUT_WR); /* libuv may not have come to it */
  return copy;
}

/* stack: writer, unread. Nothing may raise once the descriptor is the caller's. */
static int give(lua_State *L, Stream *s) {
  int fd = s->backing ? s->backing->give(s->backing) : copy_socket(s);
  if (fd < 0) return asy_peer_oserror(L, s, fd, "dup");
  asy_stream_abort(L, s);
  buffer_free(&s->in.buffer);
  lua_pushinteger(L, fd);
  lua_insert(L, 2);
  return 2;
}

static void check_usable(lua_State *L, Stream *s) {
  if (stream_closing(s) || !s->handle.open) asy_stream_closed(L, s);
  if (s->out.error) asy_writer_raise(L, s, s->out.error);
}

static int go_on(lua_State *L, Stream *s);

static int look_again(lua_State *L, Task *t) {
  Stream *s = t->on;
  s->in.reader = NULL;
  if (t->code != LIMIT_LOOK) lua_settop(L, 1);
  return go_on(L, s);
}

static Abort detach_abort(lua_State *L, Task *t) {
  Stream *s = t->on;
  if (s && s->in.reader == t) input_let_go(s);
  return asy_waitq_abort(L, t);
}

static void detach_giveback(lua_State *L, Task *t) { detach_abort(L, t); }

static const WaitKind DETACH = {.name = "detach", .finish = look_again, .abort = detach_abort,
                                .giveback = detach_giveback, .describe = peer_describe, .may_come = peer_may_come};

/* stack: writer; for how long it has waited so (limit.h) */
static int wait(lua_State *L, Stream *s) {
  Task *t = asy_stream_waiting_task(L, s);
  asy_limit_write(L, s);
  input_hold(s, t);
  return asy_waitq_park(L, t, &s->out.drainers, &DETACH, s);
}

/* stack: writer */
static int go_on(lua_State *L, Stream *s) {
  size_t unread = buffer_length(&s->in.buffer);
  check_usable(L, s);
  asy_stream_flush(L, s);
  if (s->out.error) asy_writer_raise(L, s, s->out.error);
  if (output_pending(s)) return wait(L, s);
  lua_settop(L, 1);
  lua_pushlstring(L, buffer_bytes(&s->in.buffer), unread);
  check_usable(L, s); /* finalisers may have done anything meanwhile */
  asy_reader_claim(L, s);
  if (output_pending(s) || buffer_length(&s->in.buffer) != unread)
    return asy_error(L, ASY_ERROR, "a finaliser used the stream meanwhile");
  return give(L, s);
}

/// Gives up the descriptor: it is the caller's now, to be closed by him, and reader and writer are closed.
// Waits until what has been written is with the kernel; cancelled meanwhile, it has done nothing. The descriptor of a
// connection is a new number, blocking, and closed in programs that are started (close-on-exec); that of `open_fd` is
// the one that was given, and its flags are untouched. Raises BusyError while a task reads, and what `drain` would; a
// stream without a descriptor of its own (in memory, a standard stream, one that a thread copies) is refused.
// @function StreamWriter:detach
// @treturn integer
// @treturn string what had come and nobody has read; the descriptor doesn't give it again
// @usage
// local function handler(_, writer) writer:write "hello" end
// local server <close> = asyncio.start_server(handler, "127.0.0.1", 0)
// local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
// local fd = writer:detach()
// local reader <const>, again <close> = asyncio.open_fd(fd)
// print(reader:read(), writer:is_closing()) --> hello  true
static int writer_detach(lua_State *L) {
  const WriterBox *box = asy_stream_test(L, 1, &stream_writer_kind);
  if (!box) asy_badself(L, "asyncio.StreamWriter");
  Stream *s = box->stream;
  if (!s) return asy_error(L, ASY_CLOSED, "the stream is closed");
  lua_settop(L, 1);
  check_usable(L, s);
  if (s->filtered) return asy_error(L, ASY_ERROR, "a TLS connection is more than its descriptor: it cannot be detached");
  if (s->carrier) return asy_error(L, ASY_ERROR, "a stream in memory has no descriptor");
  if (s->handle.kept) return asy_error(L, ASY_ERROR, "the descriptor of a standard stream is the process's");
  if (s->backing && !s->backing->can_give(s->backing))
    return asy_error(L, ASY_ERROR, "a thread copies what the descriptor gives: it cannot be had back");
  asy_reader_claim(L, s);
  limit_read_anew(s);
  return go_on(L, s);
}

static const luaL_Reg methods[] = {{"detach", writer_detach}, {NULL, NULL}};

void asy_open_detach(lua_State *L) { asy_newclass(L, ASY_WRITER, "asyncio.StreamWriter", methods, NULL); }
