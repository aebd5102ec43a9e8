/*
** traceclass.c - asyncio.Trace: a trace from its beginning until its file is written.
*/
#include "open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/error.h"
#include "dev/tracefile.h"

typedef struct Trace {
  Tracer tracer;
  TraceFile file;
  pid_t pid; /* of who began it: a forked child writes nothing */
  bool on;
} Trace;

/* User values. */
#define TRACE_UV_PATH 1
#define TRACE_UV_BEFORE 2
#define TRACE_UV_AFTER 3
#define TRACE_UV_PROGRAM 4

static const char trace_key =
    0; /* registry: the trace that is on, which keeps it alive; else false */
static const char cycle_key = 0; /* registry: the class of what tells of the collector's cycles */

static Trace *check_trace(lua_State *L) {
  return asy_check(L, ASY_RUNTIME(L), 1, ASY_TRACE, "asyncio.Trace");
}

/* The trace that is on, or NULL. */
static Trace *current_trace(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &trace_key);
  Trace *trace = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return trace && trace->on ? trace : NULL;
}

/* What the collector finds at the end of each cycle; it is there again at once, as long as there is that trace. */
static int on_cycle(lua_State *L) {
  const uint64_t *start = lua_touserdata(L, 1);
  Trace *trace = current_trace(L);
  if (!trace || !start || trace->tracer.start != *start) return 0;
  tracer_cycle(&trace->tracer);
  lua_settop(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &cycle_key);
  lua_setmetatable(L, 1);
  return 0;
}

/* All that it has. */
static void let_go(lua_State *L, Trace *trace) {
  trace->on = false;
  tracer_end(&trace->tracer);
  asy_tracer_free(L, &trace->tracer);
  if (trace->file.fd >= 0) close(trace->file.fd);
  trace->file.fd = -1;
  mem_free(trace->file.buffer);
  trace->file.buffer = NULL;
}

/* Writes the file of one that is on; 0, or an errno, negative. */
static int end_trace(lua_State *L, Trace *trace, const char **syscall) {
  Runtime *rt = trace->tracer.rt;
  int status = 0;
  trace->on = false;
  lua_pushboolean(L, 0);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &trace_key);
  tracer_end(&trace->tracer);
  if (trace->pid == getpid())
    status = asy_tracefile_write(L, &trace->tracer, &trace->file, rt, syscall);
  if (close(trace->file.fd) != 0 && errno != EINTR && !status) {
    status = -errno;
    *syscall = "close";
  }
  trace->file.fd = -1;
  let_go(L, trace);
  return status;
}

static const char *text_at(lua_State *L, int idx, int uv, size_t *n) {
  lua_pushvalue(L, idx);
  lua_setiuservalue(L, -2, uv);
  const char *text = lua_tolstring(L, idx, n);
  return text ? text : "";
}

/* start_trace(path, max_events, before, after, program) → the trace, which is on. before, after: of a page, or nil */
static int trace_start(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Trace *trace = current_trace(L);
  size_t n;
  lua_settop(L, 5);
  asy_checkalive(L);
  if (trace && trace->pid != getpid()) let_go(L, trace);
  if (rt->observers[0]) asy_error(L, ASY_BUSY, "a trace is on already: close that first");
  trace = lua_newuserdatauv(L, sizeof *trace, 4);
  memset(trace, 0, sizeof *trace);
  tracer_init(&trace->tracer);
  trace->file.fd = -1;
  asy_pushmeta(L, rt, ASY_TRACE);
  lua_setmetatable(L, -2);
  const char *path = text_at(L, 1, TRACE_UV_PATH, &n);
  trace->file.before = text_at(L, 3, TRACE_UV_BEFORE, &trace->file.nbefore);
  trace->file.after = text_at(L, 4, TRACE_UV_AFTER, &trace->file.nafter);
  trace->file.program = text_at(L, 5, TRACE_UV_PROGRAM, &n);
  trace->file.began = time(NULL);
  trace->pid = getpid();
  if (!(trace->file.buffer = mem_alloc(TRACEFILE_BUFFER))) asy_nomemory(L);
  trace->file.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (trace->file.fd < 0) asy_oserror(L, -errno, "open", path);
  uint64_t *start = lua_newuserdatauv(L, sizeof *start, 0);
  *start = 0;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &cycle_key);
  lua_setmetatable(L, -2);
  asy_tracer_begin(L, &trace->tracer, rt, (uint64_t)lua_tointeger(L, 2));
  *start = trace->tracer.start;
  trace->on = true;
  lua_settop(L, 6);
  lua_pushvalue(L, 6);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &trace_key); /* the key is there: nothing is allocated */
  return 1;
}

/// Ends the trace and writes its file. Once more does nothing.
// Raises OSError when it cannot be written.
// @function Trace:close
static int trace_close(lua_State *L) {
  Trace *trace = check_trace(L);
  const char *syscall = "write";
  if (!trace->on) return 0;
  int status = end_trace(L, trace, &syscall);
  if (!status) return 0;
  lua_getiuservalue(L, 1, TRACE_UV_PATH);
  return asy_oserror(L, status, syscall, lua_tostring(L, -1));
}

/* The state is being closed: nobody has closed the trace, and now its file is written. */
static int trace__gc(lua_State *L) {
  Trace *trace = asy_test(L, ASY_RUNTIME(L), 1, ASY_TRACE);
  const char *syscall = "write";
  if (!trace) return 0;
  int status = trace->on ? end_trace(L, trace, &syscall) : 0;
  let_go(L, trace);
  if (!status) return 0;
  lua_getiuservalue(L, 1, TRACE_UV_PATH);
  fprintf(stderr, "asyncio: the trace %s could not be written: %s\n", lua_tostring(L, -1),
          uv_strerror(status));
  return 0;
}

static int trace__tostring(lua_State *L) {
  const Trace *trace = check_trace(L);
  lua_getiuservalue(L, 1, TRACE_UV_PATH);
  const char *path = lua_tostring(L, -1);
  if (trace->on)
    lua_pushfstring(L, "asyncio.Trace: %s, %I events (%p)", path, (LUAI_UACINT)trace->tracer.reel.n,
                    (const void *)trace);
  else
    lua_pushfstring(L, "asyncio.Trace: %s, closed (%p)", path, (const void *)trace);
  return 1;
}

/// What a program does, noted until it is closed; `asyncio.trace` makes it. It is a `<close>` variable.
// @type Trace
// @usage
// local path = os.tmpname() .. ".json"
// local trace = asyncio.trace(path)
// asyncio.sleep(0.01)
// trace:close() -- now the file is written
// print(os.remove(path)) --> true

static const luaL_Reg methods[] = {{"close", trace_close}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__close", trace_close}, {"__gc", trace__gc}, {"__tostring", trace__tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"start_trace", trace_start}, {NULL, NULL}};

/* stack: module */
void asy_open_tracer(lua_State *L) {
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_TRACE, "asyncio.Trace", methods, metamethods);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, on_cycle);
  lua_setfield(L, -2, "__gc");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &cycle_key);
  lua_pushboolean(L, 0);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &trace_key);
}
