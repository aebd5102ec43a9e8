/*
** fileread.c - File:read, File:lines, asyncio.lines.
*/
#include "files/fileread.h"

#include "core/error.h"
#include "core/argument.h"
#include "files/filecall.h"
#include "files/format.h"

#define BYTES_PER_CALL 16384 /* so many are copied in the time of a call that need not wait */

/* args: file (light), format or nil. The same while others wait for their turn, whom no error may keep waiting. */
static int read_protected(lua_State *L) {
  File *f = lua_touserdata(L, 1);
  f->got = asy_format_read(L, f, lua_isnil(L, 2) ? 0 : 2);
  return f->got == SHORT ? 0 : 1;
}

static Got read_one(lua_State *L, File *f) {
  int idx = f->last ? f->arg : 0;
  if (!f->taken) return asy_format_read(L, f, idx);
  lua_pushcfunction(L, read_protected);
  lua_pushlightuserdata(L, f);
  if (idx) lua_pushvalue(L, idx); else lua_pushnil(L);
  int status = lua_pcall(L, 2, LUA_MULTRET, 0);
  if (status) {
    file_over(f);
    lua_error(L);
  }
  return f->got;
}

/* All that was asked for is on the stack: only now it has been read. */
static int take(lua_State *L, File *f) {
  int n = lua_gettop(L) - f->top;
  buffer_consume(&f->in, f->used);
  f->pos += (int64_t)f->used;
  f->used = 0;
  file_over(f);
  if (!f->closes || !lua_isnil(L, -n)) return n;
  lua_settop(L, 0);
  lua_pushnil(L);
  return asy_file_end(L, f, ASY_RUNTIME(L)->current);
}

/* Whether there is more to read now, without waiting. Copying takes its time, too. */
static bool more_now(Task *t, File *f) {
  int n = t->budget > 0 ? file_fill_now(f) : -1;
  if (n > 0) t->budget = (int16_t)(t->budget - n / BYTES_PER_CALL);
  return n >= 0;
}

static int read_on(lua_State *L) {
  Task *t = ASY_RUNTIME(L)->current;
  File *f = t->on;
  Got got;
  do {
    got = read_one(L, f);
    asy_file_checkopen(L, f); /* a stranger may have closed it */
    if (got == SHORT && f->status) return asy_file_fail(L, f);
    if (got == SHORT && !more_now(t, f)) return asy_file_work(L, f, FILE_FILL, read_on);
  } while (got == SHORT || (got == GOT && ++f->arg <= f->last));
  return take(L, f);
}

static int read_from(lua_State *L, File *f, int first, bool closes) {
  file_begin(f, "read");
  f->top = lua_gettop(L);
  f->arg = first;
  f->last = f->top >= first ? f->top : 0;
  f->closes = closes;
  luaL_checkstack(L, f->last + 3, "too many formats");
  return read_on(L);
}

static void check_readable(lua_State *L, const File *f) {
  asy_file_checkopen(L, f);
  if (!(f->work->mode & FILE_READS)) asy_patherror(L, UV_EBADF, "read", f->path, NULL);
}

static int read_body(lua_State *L) { return read_from(L, asy_file_current(L), 2, false); }

/// Reads by formats, as Lua's files do: `"l"` (a line, without its end: the default), `"L"` (with it), `"a"` (all
// that is left), `"n"` (a number), or a number of bytes.
// A cancelled read has read nothing. Raises OSError, and ClosedError when the file is closed meanwhile.
// @function File:read
// @param ... formats
// @return a value for each; nil where the file has ended (for `"a"` the empty string) or there is no number, and none after that
int asy_file_read(lua_State *L) {
  File *f = asy_file_check(L);
  asy_format_check(L, 2);
  Task *t = asy_current_in(L, ASY_RUNTIME(L));
  check_readable(L, f);
  if (task_spent(t)) return asy_give_way(L, t, asy_file_read);
  return asy_file_begin(L, f, t, read_body);
}

/* Lines. Upvalues: the runtime, the file, how many formats, whether it is closed at its end, the formats */

enum { LINES_FILE = 2, LINES_COUNT, LINES_CLOSES, LINES_FIRST };

static int lines_body(lua_State *L) {
  return read_from(L, asy_file_current(L), 1, lua_toboolean(L, lua_upvalueindex(LINES_CLOSES)));
}

static int next_line(lua_State *L) {
  const Runtime *rt = ASY_RUNTIME(L);
  File *f = *(File **)lua_touserdata(L, lua_upvalueindex(LINES_FILE));
  Task *t = asy_current_in(L, rt);
  asy_file_checkopen(L, f);
  lua_settop(L, 0);
  if (task_spent(t)) return asy_give_way(L, t, next_line);
  int n = (int)lua_tointeger(L, lua_upvalueindex(LINES_COUNT));
  luaL_checkstack(L, n, "too many formats");
  for (int i = 0; i < n; i++) lua_pushvalue(L, lua_upvalueindex(LINES_FIRST + i));
  return asy_file_begin(L, f, t, lines_body);
}

#define FORMATS_MOST 250

void asy_file_push_lines(lua_State *L, int file, int first, int n, bool closes) {
  lua_pushvalue(L, file);
  lua_pushinteger(L, n);
  lua_pushboolean(L, closes);
  for (int i = 0; i < n; i++) lua_pushvalue(L, first + i);
  asy_pushclosure(L, next_line, LINES_FIRST - LINES_FILE + n);
}

void asy_file_check_formats(lua_State *L, int first) {
  asy_argcheck(L, lua_gettop(L) - first < FORMATS_MOST, first + FORMATS_MOST, "too many arguments");
  luaL_checkstack(L, FORMATS_MOST + 10, NULL);
  asy_format_check(L, first);
}

/// For each line: `for line in file:lines() do`; with formats, what `read` gives of them. The file stays open.
// @function File:lines
// @param ... formats
// @treturn function which reads on; nil at the end
int asy_file_lines(lua_State *L) {
  File *f = asy_file_check(L);
  asy_file_check_formats(L, 2);
  check_readable(L, f);
  asy_file_push_lines(L, 1, 2, lua_gettop(L) - 1, false);
  return 1;
}
