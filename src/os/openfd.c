/*
** openfd.c - any descriptor as a reader and a writer: the mechanism of open_fd.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <lauxlib.h>

#include "core/argument.h"
#include "core/error.h"
#include "net/input.h"
#include "net/life.h"
#include "net/limit.h"
#include "open.h"
#include "os/fdstream.h"

/* The descriptor of a file of io's, less what io has read ahead where that can go back, and with what it has written;
** -1: it is closed. */
static int fd_of_file(const luaL_Stream *file) {
  if (!file->closef) return -1;
  fflush(file->f); // cppcheck-suppress fflushOnInputStream
  return fileno(file->f);
}

static int check_fd(lua_State *L, const luaL_Stream *file) {
  if (file) return fd_of_file(file);
  if (lua_type(L, 1) != LUA_TNUMBER) asy_typeerror(L, 1, 1, "descriptor or file of io's", "");
  lua_Integer fd = asy_checkinteger(L, 1);
  if (fd >= 0 && fd <= 2)
    asy_argerror(L, 1, "0, 1 and 2 are the process's: asyncio.stdin, stdout and stderr are for them");
  return fd > INT32_MAX || fd < 0 ? -1 : (int)fd;
}

static int fail(lua_State *L, Stream *s, int status, const char *name) {
  char text[sizeof fdstream_of(s)->text];
  snprintf(text, sizeof text, "%s", name); /* it goes with the stream */
  asy_stream_abort(L, s);
  return asy_oserror(L, status, "open_fd", text);
}

/* What the descriptor can do; 0: it is none. */
static FdMode mode_of(int fd) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return 0;
  int access = flags & O_ACCMODE;
  return access == O_RDWR ? FD_BOTH : access == O_WRONLY ? FD_WRITES : FD_READS;
}

/* open_fd(fd | file, opts) → reader or nil, writer */
static int stream_open_fd(lua_State *L) {
  const luaL_Stream *file = luaL_testudata(L, 1, LUA_FILEHANDLE);
  int fd = check_fd(L, file);
  luaL_checktype(L, 2, LUA_TTABLE);
  StreamOptions options = asy_stream_options(L, 2);
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  lua_settop(L, 2);
  FdMode mode = mode_of(fd);
  if (!mode) return asy_oserror(L, UV_EBADF, "open_fd", NULL);
  Stream *s = asy_fdstream_new(L, loop, fd, mode, options.limit, NULL);
  if (!limits_set(s, &options)) return fail(L, s, UV_ENOMEM, s->backing->name);
  if (mode & FD_READS)
    asy_stream_push_reader(L, 3);
  else
    lua_pushnil(L);
  lua_insert(L, 3);
  int own = file ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : fd;
  int status = own < 0 ? -errno : fdstream_open(s, own, NULL);
  if (status) {
    if (file && own >= 0) close(own);
    return fail(L, s, status, s->backing->name);
  }
  s->backing->fd = own;
  if (mode & FD_READS && !s->in.on_demand) input_start(s);
  return 2;
}

static const luaL_Reg functions[] = {{"open_fd", stream_open_fd}, {NULL, NULL}};

/* stack: module */
void asy_open_openfd(lua_State *L) { asy_setfuncs(L, functions); }
