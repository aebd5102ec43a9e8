/*
** fileclass.c - asyncio.File: an open file, whose calls wait without holding up the loop.
*/
#include <stdio.h>
#include <string.h>

#include "core/argument.h"
#include "core/error.h"
#include "core/report.h"
#include "net/unclosed.h"
#include "open.h"
#include "files/filecall.h"
#include "files/fileread.h"

#define WRITE_MOST 65536 /* bytes that are kept back, for the next write */

/* What is on the stack at `i` remains: a body's results. */
static int over(lua_State *L, File *f, int i) {
  file_over(f);
  lua_settop(L, i);
  return 1;
}

/* Opening */

/* As fopen's; 0: none. */
static int parse_mode(const char *mode) {
  int bits;
  switch (*mode++) {
  case 'r': bits = FILE_READS; break;
  case 'w': bits = FILE_WRITES | FILE_MAKES | FILE_EMPTIES; break;
  case 'a': bits = FILE_WRITES | FILE_MAKES | FILE_APPENDS; break;
  default: return 0;
  }
  if (*mode == '+') {
    bits |= FILE_READS | FILE_WRITES;
    mode++;
  }
  return strspn(mode, "b") == strlen(mode) ? bits : 0;
}

static const char *check_path(lua_State *L, int idx) {
  size_t n;
  if (lua_type(L, idx) != LUA_TSTRING) asy_typeerror(L, idx, idx, "path", "");
  const char *path = lua_tolstring(L, idx, &n);
  asy_argcheck(L, strlen(path) == n, idx, "path with a zero byte");
  return path;
}

static int check_mode(lua_State *L, int idx) {
  size_t n;
  if (lua_isnoneornil(L, idx)) return FILE_READS;
  if (lua_type(L, idx) != LUA_TSTRING) asy_typeerror(L, idx, idx, "mode", "");
  const char *mode = lua_tolstring(L, idx, &n);
  int bits = strlen(mode) == n ? parse_mode(mode) : 0;
  asy_argcheck(L, bits, idx, "invalid mode: \"r\", \"w\" or \"a\" expected, and behind it \"+\", \"b\"");
  return bits;
}

static int open_file(lua_State *L, Task *t, const char *path, int mode, lua_CFunction opened) {
  asy_checkalive(L);
  File *f = asy_file_push(L, t->loop, path);
  f->work->mode = mode;
  file_begin(f, "open");
  t->on = f;
  return asy_file_work(L, f, FILE_OPEN, opened);
}

static File *check_opened(lua_State *L) {
  File *f = asy_file_current(L);
  if (f->status) {
    int status = f->status;
    const char *call = f->call;
    file_close(f);
    asy_patherror(L, status, call, f->path, NULL);
  }
  file_opened(f);
  file_over(f);
  return f;
}

static int opened(lua_State *L) {
  check_opened(L);
  return 1;
}

/// Opens a file: as `io.open`, but off the loop, and failures are raised.
// Raises FileNotFoundError, PermissionError, IsADirectoryError or another OSError, with the `path`. Programs that are
// started do not inherit it.
// @function open
// @tparam string path
// @tparam[opt="r"] string mode `"r"`, `"w"`, `"a"`, `"r+"`, `"w+"`, `"a+"`; a `"b"` changes nothing
// @treturn File `local file <close> = asyncio.open(path)` closes it at the end of the block
// @usage
// local path = os.tmpname()
// do
//   local file <close> = asyncio.open(path, "w")
//   for i = 1, 3 do file:write("line ", i, "\n") end
// end
// for line in asyncio.lines(path) do print(line) end
// --> line 1
// --> line 2
// --> line 3
// os.remove(path)
static int file_open(lua_State *L) {
  const char *path = check_path(L, 1);
  int mode = check_mode(L, 2);
  if (!lua_isnoneornil(L, 3)) asy_argerror(L, 3, "nothing expected: a file is opened by its path and a mode");
  Task *t = asy_current(L);
  lua_settop(L, 2);
  if (task_spent(t)) return asy_give_way(L, t, file_open);
  return open_file(L, t, path, mode, opened);
}

static int lines_opened(lua_State *L) {
  check_opened(L);
  int file = lua_gettop(L);
  asy_file_push_lines(L, file, 2, file - 2, true);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, file);
  return 4;
}

/// For each line of a file: `for line in asyncio.lines(path) do`. It is closed at its end, and when the loop is left.
// @function lines
// @tparam string path
// @param ... formats, as of `File:read`; a line, if there are none
// @treturn function which reads on; nil at the end
// @treturn nil
// @treturn nil
// @treturn File to be closed
static int file_lines(lua_State *L) {
  const char *path = check_path(L, 1);
  asy_file_check_formats(L, 2);
  Task *t = asy_current(L);
  if (task_spent(t)) return asy_give_way(L, t, file_lines);
  return open_file(L, t, path, FILE_READS, lines_opened);
}

/* Writing */

static void check_writable(lua_State *L, const File *f, const char *call) {
  asy_file_checkopen(L, f);
  if (!(f->work->mode & FILE_WRITES)) asy_patherror(L, UV_EBADF, call, f->path, NULL);
}

static int written(lua_State *L) {
  File *f = asy_file_current(L);
  if (f->status) {
    file_drop_own(f);
    return asy_file_fail(L, f);
  }
  return over(L, f, 1);
}

/* What io writes for the number at idx. */
static size_t format_number(lua_State *L, int idx, char *text, size_t size) {
#if LUA_VERSION_NUM > 504
  size_t n;
  lua_pushvalue(L, idx);
  const char *s = lua_tolstring(L, -1, &n);
  memcpy(text, s, n < size ? n : size);
  lua_pop(L, 1);
  return n;
#else
  int n = lua_isinteger(L, idx) ? snprintf(text, size, LUA_INTEGER_FMT, (LUAI_UACINT)lua_tointeger(L, idx))
                                : snprintf(text, size, LUA_NUMBER_FMT, (LUAI_UACNUMBER)lua_tonumber(L, idx));
  return (size_t)n;
#endif
}

static bool append(lua_State *L, File *f, int idx) {
  char text[100];
  size_t n;
  const char *bytes = text;
  if (lua_type(L, idx) == LUA_TNUMBER)
    n = format_number(L, idx, text, sizeof text);
  else
    bytes = lua_tolstring(L, idx, &n);
  asy_file_checkopen(L, f); /* a stranger may have closed it */
  return file_append(f, bytes, n);
}

static int append_all(lua_State *L) {
  File *f = asy_file_current(L);
  if (f->status) return asy_file_fail(L, f);
  for (int i = 2, top = lua_gettop(L); i <= top; i++) {
    if (append(L, f, i)) continue;
    file_drop_own(f);
    file_over(f);
    return asy_nomemory(L);
  }
  if (buffer_length(&f->out) < WRITE_MOST && !f->work->terminal) return over(L, f, 1);
  return asy_file_work(L, f, FILE_WRITE_OUT, written);
}

/* What could not be written before is tried again first: no more is kept than that. */
static int write_body(lua_State *L) {
  File *f = asy_file_current(L);
  file_begin(f, "write");
  if (buffer_length(&f->out) >= WRITE_MOST) return asy_file_work(L, f, FILE_WRITE_OUT, append_all);
  return append_all(L);
}

/// Writes strings and numbers. They are kept back and written together: by a write that makes them many (64 KiB), by
// `flush` and `close`, and where the loop ends; `os.exit` in the middle of it loses them.
// A cancelled one that had to wait has written nothing; one that was under way is done. Raises OSError when the system
// takes no more of it; then what it has not taken of this call is dropped, and what was kept back from earlier ones is
// tried again later. Where the caller has left meanwhile, the next `flush`, `sync` or `close` raises it.
// @function File:write
// @param ... strings and numbers
// @treturn File itself
static int file_write(lua_State *L) {
  File *f = asy_file_check(L);
  for (int i = 2, top = lua_gettop(L); i <= top; i++)
    if (lua_type(L, i) != LUA_TSTRING && lua_type(L, i) != LUA_TNUMBER) asy_typeerror(L, i, i, "string", "");
  Task *t = asy_current_in(L, ASY_RUNTIME(L));
  check_writable(L, f, "write");
  if (task_spent(t)) return asy_give_way(L, t, file_write);
  return asy_file_begin(L, f, t, write_body);
}

static int did(lua_State *L) {
  File *f = asy_file_current(L);
  if (f->status) return asy_file_fail(L, f);
  return over(L, f, 1);
}

static int flush_body(lua_State *L) {
  File *f = asy_file_current(L);
  file_begin(f, "flush");
  if (f->lost) return asy_file_fail_lost(L, f);
  return buffer_length(&f->out) ? asy_file_work(L, f, FILE_WRITE_OUT, did) : over(L, f, 1);
}

/// Hands what was written to the operating system: other programs see it.
// @function File:flush
// @treturn File itself
static int file_flush(lua_State *L) {
  File *f = asy_file_check(L);
  Task *t = asy_current(L);
  lua_settop(L, 1);
  asy_file_checkopen(L, f);
  if (task_spent(t)) return asy_give_way(L, t, file_flush);
  return asy_file_begin(L, f, t, flush_body);
}

static int sync_body(lua_State *L) {
  File *f = asy_file_current(L);
  file_begin(f, "sync");
  if (f->lost) return asy_file_fail_lost(L, f);
  return asy_file_work(L, f, FILE_SYNC, did);
}

/// As `flush`, and waits until the disk has it (fsync).
// @function File:sync
// @treturn File itself
static int file_sync(lua_State *L) {
  File *f = asy_file_check(L);
  Task *t = asy_current(L);
  lua_settop(L, 1);
  asy_file_checkopen(L, f);
  return asy_file_begin(L, f, t, sync_body);
}

/* Given to a program */

static int passed(lua_State *L) {
  File *f = asy_file_current(L);
  if (f->status) return asy_file_fail(L, f);
  lua_pushinteger(L, file_share(f));
  file_over(f);
  return 1;
}

static int pass_body(lua_State *L) {
  File *f = asy_file_current(L);
  file_begin(f, "flush");
  if (f->lost) return asy_file_fail_lost(L, f);
  return buffer_length(&f->out) ? asy_file_work(L, f, FILE_WRITE_OUT, passed) : passed(L);
}

/* The file at 1, if it is open; else pushes what pass_file gives. */
static File *open_one(lua_State *L) {
  File **box = asy_test(L, ASY_RUNTIME(L), 1, ASY_FILE);
  if (box && *box && file_is_open(*box)) return *box;
  lua_settop(L, 1);
  if (box) lua_pushboolean(L, 0); else lua_pushnil(L);
  return NULL;
}

/* pass_file(x) → the descriptor of a File that a program is given, once all is written; nil: it is none; false: it is
** closed */
static int pass_file(lua_State *L) {
  File *f = open_one(L);
  return f ? asy_file_begin(L, f, asy_current(L), pass_body) : 1;
}

/* passed_file(file) → its descriptor, or false, at once */
static int passed_file(lua_State *L) {
  const File *f = open_one(L);
  if (f) lua_pushinteger(L, f->work->fd);
  return 1;
}

/* Position and length */

static bool pos_unknown(const File *f) { return f->work->mode & FILE_APPENDS && buffer_length(&f->out); }

static int truncate_known(lua_State *L) {
  File *f = asy_file_current(L);
  if (f->status) return asy_file_fail(L, f);
  file_begin(f, "truncate");
  f->work->size = lua_isnil(L, 2) ? f->pos : (int64_t)lua_tointeger(L, 2);
  file_drop_ahead(f);
  return asy_file_work(L, f, FILE_RESIZE, did);
}

static int truncate_body(lua_State *L) {
  File *f = asy_file_current(L);
  file_begin(f, "truncate");
  if (lua_isnil(L, 2) && pos_unknown(f)) return asy_file_work(L, f, FILE_WRITE_OUT, truncate_known);
  return truncate_known(L);
}

/// Makes the file so long: what is behind is cut off, what is missing is zeros. The position stays.
// @function File:truncate
// @tparam[opt] integer size bytes; up to the position, if it isn't given
// @treturn File itself
static int file_truncate(lua_State *L) {
  File *f = asy_file_check(L);
  if (!lua_isnoneornil(L, 2))
    asy_argcheck(L, asy_checkinteger(L, 2) >= 0, 2, "number of bytes, 0 or more, expected");
  Task *t = asy_current(L);
  lua_settop(L, 2);
  check_writable(L, f, "truncate");
  return asy_file_begin(L, f, t, truncate_body);
}

/* stack: file, whence, offset, base of it in numbers */
static int move(lua_State *L, File *f, int64_t base) {
  int64_t to = base, by = (int64_t)lua_tointeger(L, 3);
  bool wrong = by > 0 ? to > INT64_MAX - by : to + by < 0;
  if (wrong) {
    file_over(f);
    return asy_patherror(L, UV_EINVAL, "seek", f->path, NULL);
  }
  file_move(f, to + by);
  file_over(f);
  lua_pushinteger(L, f->pos);
  return 1;
}

static int whence(lua_State *L) { return *lua_tostring(L, 2); }

static int sought(lua_State *L) {
  File *f = asy_file_current(L);
  if (f->status) return asy_file_fail(L, f);
  return move(L, f, whence(L) == 's' ? 0 : whence(L) == 'c' ? f->pos : f->work->size);
}

static int seek_body(lua_State *L) {
  File *f = asy_file_current(L);
  file_begin(f, "seek");
  bool stays = whence(L) == 'c' && lua_tointeger(L, 3) == 0 && !pos_unknown(f);
  if (whence(L) == 'e') return asy_file_work(L, f, FILE_MEASURE, sought);
  if (buffer_length(&f->out) && !stays) return asy_file_work(L, f, FILE_WRITE_OUT, sought);
  return sought(L);
}

/// Moves the position, or tells it.
// @function File:seek
// @tparam[opt="cur"] string whence `"set"` (from the beginning), `"cur"` (from where it is), `"end"`
// @tparam[opt=0] integer offset bytes
// @treturn integer the position now, from the beginning
static int file_seek(lua_State *L) {
  static const char *const WHENCE[] = {"set", "cur", "end", NULL};
  File *f = asy_file_check(L);
  lua_settop(L, 3);
  if (lua_isnil(L, 2)) {
    lua_pushliteral(L, "cur");
    lua_replace(L, 2);
  }
  if (lua_type(L, 2) != LUA_TSTRING) asy_typeerror(L, 2, 2, "\"set\", \"cur\" or \"end\"", "");
  int i = 0;
  while (WHENCE[i] && strcmp(lua_tostring(L, 2), WHENCE[i]) != 0) i++;
  if (!WHENCE[i])
    asy_argerror(L, 2, lua_pushfstring(L, "\"set\", \"cur\" or \"end\" expected, got '%s'", lua_tostring(L, 2)));
  if (!lua_isnil(L, 3)) asy_checkinteger(L, 3);
  Task *t = asy_current(L);
  asy_file_checkopen(L, f);
  if (!f->work->seekable) return asy_patherror(L, UV_ESPIPE, "seek", f->path, NULL);
  if (task_spent(t)) return asy_give_way(L, t, file_seek);
  return asy_file_begin(L, f, t, seek_body);
}

/* Closing */

/// Writes what was kept back, and closes the file. Closing it again does nothing.
// What others do with it at that moment ends with a ClosedError; it waits for none of them, so a disk that does not answer
// holds nobody up. But it waits
// for what is still written for one who was cancelled, and tells of its failure. Where nothing can wait, a thread does the rest.
// Raises OSError when something could not be written; it is closed all the same.
// @function File:close
// @return true
static int file_close_method(lua_State *L) {
  File *f = asy_file_check(L);
  Task *t = asy_current_or_null(L);
  lua_settop(L, 1); /* the file: the caller may have it no more */
  lua_pushboolean(L, 1);
  return file_is_open(f) ? asy_file_end(L, f, t) : 1;
}

/* stack: file. It is a File no more. */
static int file__gc(lua_State *L) {
  char path[300], site[1000] = "";
  File **box = asy_test(L, ASY_RUNTIME(L), 1, ASY_FILE), *f = box ? *box : NULL;
  if (!f) return 0;
  Loop *loop = f->handle.loop;
  *box = NULL;
  bool forgotten = file_is_open(f) && !f->copied;
  snprintf(path, sizeof path, "%s", f->path);
  if (f->site && loop && loop->debug) snprintf(site, sizeof site, "%s", f->site);
  asy_waitq_destroy(L, &f->line);
  if (f->task) f->task->on = NULL; /* only where a stranger closed its coroutine, as of those in the line */
  file_close(f);
  handle_unbox(&f->handle);
  if (!forgotten) return 0;
  lua_pushfstring(L, "asyncio: the file %s was not closed before it was collected", path); /* may raise: last */
  lua_warning(L, lua_tostring(L, -1), 0);
  if (!*site) return 0;
  lua_pushstring(L, lua_tostring(L, -1) + strlen("asyncio: "));
  asy_unclosed_report_later(L, loop, site);
  return 0;
}

static void report_one(Handle *h, void *arg) {
  const File *f = file_of_handle(h);
  lua_State *L = arg;
  lua_pushfstring(L, "the file %s was not closed", f->path);
  asy_unclosed_report(L, h->loop, lua_tostring(L, -1), "opened at", f->site);
  lua_pop(L, 1);
}

static void close_one(Handle *h, void *arg) {
  (void)arg;
  file_close(file_of_handle(h));
}

static void report_files(lua_State *L, Loop *loop) {
  if (loop->debug) files_each(loop, report_one, L);
}

static void close_files(Loop *loop) { files_each(loop, close_one, NULL); }

static int file__tostring(lua_State *L) {
  File **box = asy_check(L, ASY_RUNTIME(L), 1, ASY_FILE, "asyncio.File");
  const File *f = *box;
  lua_pushfstring(L, "asyncio.File: %s, %s (%p)", f ? f->path : "?", f && file_is_open(f) ? "open" : "closed", (void *)box);
  return 1;
}

/// An open file, as `asyncio.open` gives it: its calls wait, and other tasks go on meanwhile.
// The calls of one file happen in their order, those of several side by side, 32 at once. Names of methods, formats and
// modes are those of Lua's `io`; what fails raises an OSError.
// @type File
// @usage
// local file <close> = asyncio.open(os.tmpname(), "w+")
// file:write("one\n", 2, "\n")
// file:seek("set")
// print(file:read("l", "n")) --> one  2

static const luaL_Reg methods[] = {{"read", asy_file_read},
                                   {"write", file_write},
                                   {"lines", asy_file_lines},
                                   {"seek", file_seek},
                                   {"flush", file_flush},
                                   {"sync", file_sync},
                                   {"truncate", file_truncate},
                                   {"close", file_close_method},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__gc", file__gc}, {"__close", file_close_method}, {"__tostring", file__tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"open", file_open}, {"lines", file_lines}, {"pass_file", pass_file}, {"passed_file", passed_file}, {NULL, NULL}};

/* stack: module */
void asy_open_file(lua_State *L) {
  static const LoopHooks hooks = {.report = report_files, .part = close_files, .in_child = files_in_child};
  asy_setfuncs(L, functions);
  runtime_on_loop(asy_runtime(L), &hooks);
  asy_newclass(L, ASY_FILE, "asyncio.File", methods, metamethods);
}
