/*
** standard.c - stdin, stdout and stderr as streams: one of each for a loop, which keeps it.
**
** What was read ahead of stdin and nobody has asked for goes on to the next loop of the Lua state.
*/
#include "core/loop.h"

#include <stdio.h>
#include <unistd.h>

#include <sys/stat.h>

#include "base/fork.h"
#include "core/error.h"
#include "core/options.h"
#include "net/input.h"
#include "net/life.h"
#include "net/output.h"
#include "open.h"
#include "os/fdstream.h"

/* What a Lua state keeps of its stdin between two loops; in the registry. */
typedef struct Ahead {
  Buffer bytes; /* read ahead */
  Pump *pump;   /* which reads it, or NULL */
  ForkWatch fork;
} Ahead;

static const char *const NAMES[] = {"stdin", "stdout", "stderr"};

static int ahead__gc(lua_State *L) {
  Ahead *a = lua_touserdata(L, 1);
  ASY_RUNTIME(L)->ahead = NULL;
  fork_unwatch(&a->fork);
  buffer_free(&a->bytes);
  if (a->pump) pump_unref(a->pump);
  a->pump = NULL;
  return 0;
}

/* A forked child: what was read ahead is the parent's, and so is the thread. */
static void in_child(ForkWatch *w, bool ours) {
  Ahead *a = asy_container(w, Ahead, fork);
  (void)ours;
  buffer_free(&a->bytes);
  a->pump = NULL;
}

/* stack: ... */
static void make_ahead(lua_State *L) {
  Ahead *a = lua_newuserdatauv(L, sizeof *a, 0);
  *a = (Ahead){.pump = NULL};
  lua_createtable(L, 0, 1);
  asy_pushfunction(L, ahead__gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  fork_watch(&a->fork, in_child);
  asy_runtime(L)->ahead = a;
  lua_rawsetp(L, LUA_REGISTRYINDEX, a);
}

/* A file goes back to where nobody has read yet, for io.read and other programs; unless somebody has moved it. */
static bool set_back(Stream *s) {
  off_t unread = (off_t)buffer_length(&s->in.buffer);
  return s->in.file >= 0 && lseek(s->in.file, 0, SEEK_CUR) == s->in.file_at &&
         lseek(s->in.file, -unread, SEEK_CUR) >= 0;
}

static void stdin_gone(Stream *s) {
  Ahead *a = s->handle.loop->rt->ahead;
  if (!a || s->handle.loop->copied || !buffer_length(&s->in.buffer) || set_back(s)) return;
  if (!a->bytes.data) {
    a->bytes = s->in.buffer;
    s->in.buffer = (Buffer){NULL, 0, 0, 0};
  } else /* of two loops */
    buffer_append(&a->bytes, buffer_bytes(&s->in.buffer), buffer_length(&s->in.buffer));
}

/* Goes on where the last loop's has stopped. */
static void read_on(Stream *s, Ahead *a) {
  FdStream *f = fdstream_of(s);
  s->in.on_demand = true; /* what lies there is whoever's that asks next */
  s->life.on_gone = stdin_gone;
  if (f->pump && !a->pump) a->pump = pump_ref(f->pump);
  buffer_free(&s->in.buffer);
  s->in.buffer = a->bytes;
  a->bytes = (Buffer){NULL, 0, 0, 0};
}

/* Whether the process was started without it: we have put /dev/null there since. */
static bool is_closed(const Loop *loop, int fd) {
  struct stat ours, null;
  return loop->rt->plugged & 1u << fd && fstat(fd, &ours) == 0 && stat("/dev/null", &null) == 0 &&
         S_ISCHR(ours.st_mode) && ours.st_rdev == null.st_rdev;
}

/* The stream of the reader or writer at idx, NULL if there is none (any more). */
static Stream *stream_at(lua_State *L, int idx) {
  const ReaderBox *reader = asy_stream_test(L, idx, &stream_reader_kind);
  const WriterBox *writer = reader ? reader->writer : asy_stream_test(L, idx, &stream_writer_kind);
  return writer ? writer->stream : NULL;
}

/* stack: fd, options, the loop's standard streams, ... Pushes the one that is there; false: it is not to be used. */
static bool push_present(lua_State *L, int fd) {
  lua_rawgeti(L, 3, fd);
  Stream *s = stream_at(L, -1);
  if (!s || stream_closing(s) || !s->handle.open) return false;
  if (fd == 0 && s->uv.handle.type == UV_TTY && !s->in.reader)
    s->in.eof = s->in.peer_ended = false; /* a terminal goes on after what was typed as its end */
  return true;
}

/* Whether it has something to send, or waits for one that has. */
static bool is_busy(const Stream *s) {
  return !s->handle.closed && (s->out.held || (!s->out.error && output_pending(s)) || output_is_on_its_way(s));
}

/* stack: fd, options, the loop's standard streams. What io.read has read ahead of a file goes back (so says POSIX).
** Pushes a new one, but if there is one by then that. */
static void push_new(lua_State *L, Loop *loop, int fd, size_t limit) {
  Ahead *a = loop->rt->ahead;
  Stream *s = asy_fdstream_new(L, loop, fd, fd == 0 ? FD_READS : FD_WRITES, limit, NAMES[fd]);
  stream_disown(s); /* the process closes it */
  if (fd == 0) asy_stream_push_reader(L, 4);
  if (push_present(L, fd)) return; /* a finaliser's */
  Stream *former = fd == 0 ? NULL : stream_at(L, -1);
  lua_pop(L, 1);
  if (former && !is_busy(former)) former = NULL;
  bool from_file = fd == 0 && fdstream_of(s)->kind == FD_FILE;
  if (from_file) fflush(stdin); // cppcheck-suppress fflushOnInputStream
  int status = fdstream_open(s, fd, fd == 0 ? (a ? a->pump : NULL) : former ? fdstream_of(former)->pump : NULL);
  if (status) {
    asy_stream_abort(L, s);
    asy_oserror(L, status, "open", NAMES[fd]);
  }
  if (fd == 0 && a) read_on(s, a);
  if (former) fdstream_follow(s, former);
  lua_pushvalue(L, -1);
  lua_rawseti(L, 3, fd);
}

/* open_standard(fd, opts) → reader for 0, writer for 1 and 2: the loop's, made at first */
static int stream_open_standard(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  asy_argcheck(L, fd >= 0 && fd <= 2, 1, "0, 1 or 2 expected");
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t limit = asy_opt_bytes(L, 2, "limit", 0);
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  lua_settop(L, 2);
  asy_loop_subtable(L, loop, "standard");
  if (push_present(L, fd)) {
    if (limit) stream_at(L, -1)->in.limit = limit;
    return 1;
  }
  lua_settop(L, 3);
  if (is_closed(loop, fd)) return asy_oserror(L, UV_EBADF, "open", NAMES[fd]);
  push_new(L, loop, fd, limit ? limit : STREAM_LIMIT);
  return 1;
}

/* isatty(fd) → boolean */
static int standard_isatty(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

static const luaL_Reg functions[] = {
    {"open_standard", stream_open_standard}, {"isatty", standard_isatty}, {NULL, NULL}};

/* stack: module */
void asy_open_standard(lua_State *L) {
  make_ahead(L);
  asy_setfuncs(L, functions);
}
