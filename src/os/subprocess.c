/*
** subprocess.c - asyncio.Process: a program that was started, with its pipes.
**
** What may be started how is subprocess.lua's; here it is started, waited for and sent signals. All that can fail of
** Lua's is made before: once the child runs nothing may raise.
*/
#include "os/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "base/alloc.h"
#include "base/signals.h"
#include "core/error.h"
#include "core/report.h"
#include "core/task.h"
#include "core/words.h"
#include "net/filtered.h"
#include "net/input.h"
#include "net/life.h"
#include "net/output.h"
#include "net/peer.h"
#include "net/reader.h"
#include "net/unclosed.h"
#include "net/writer.h"
#include "open.h"
#include "os/fdstream.h"

#define STANDARD 3 /* descriptors that can be pipes */

/* User values of a Process. */
enum { STDIN = 1, STDOUT, STDERR, ARGS, STATE, USER_VALUES = STATE };

/* What the numbers of a child's descriptor say, if they are no descriptor of ours. */
enum { FD_PIPE_TO_US = -1, FD_NULL = -2, FD_AS_STDOUT = -3 };

typedef struct Process {
  Child *child; /* NULL: it has been collected, or was never started */
} Process;

/* Streams, as what a child is given */

/* The stream of the reader or writer at idx, or NULL. */
static Stream *stream_at(lua_State *L, int idx) {
  const ReaderBox *reader = asy_stream_test(L, idx, &stream_reader_kind);
  const WriterBox *writer = reader ? reader->writer : asy_stream_test(L, idx, &stream_writer_kind);
  return writer ? writer->stream : NULL;
}

static Stream *check_stream(lua_State *L, int idx) {
  Stream *s = stream_at(L, idx);
  if (!s || (stream_closing(s) && !s->in.peer_ended) || !s->handle.open) asy_error(L, ASY_CLOSED, "the stream is closed");
  return s;
}

static int look_again(lua_State *L, Task *t);

static Abort pass_abort(lua_State *L, Task *t) { return asy_waitq_abort(L, t); }

static const WaitKind PASS = {.name = "pass_stream", .finish = look_again, .abort = pass_abort, .describe = peer_describe};

static void check_passable(lua_State *L, const Stream *s) {
  if (s->filtered) asy_error(L, ASY_ERROR, "a TLS connection is more than its descriptor: no program can have it");
  if (s->carrier) asy_error(L, ASY_ERROR, "a stream in memory has no descriptor that a program could have");
  if (s->backing && (s->backing->standard ? s->out.none && fdstream_of(s)->pump : !s->backing->can_give(s->backing)))
    asy_error(L, ASY_ERROR, "a thread copies what the descriptor gives: no program can have it");
  if (buffer_length(&s->in.buffer))
    asy_error(L, ASY_ERROR, "%d bytes of the stream have been read ahead: the program would never see them",
              (int)buffer_length(&s->in.buffer));
}

/* stack: stream */
static int pass(lua_State *L, Stream *s) {
  int fd = -1;
  check_passable(L, s);
  asy_stream_flush(L, s);
  if (s->out.error && !s->out.none) asy_writer_raise(L, s, s->out.error);
  if (output_pending(s)) return asy_waitq_park(L, asy_stream_waiting_task(L, s), &s->out.drainers, &PASS, s);
  asy_reader_claim(L, s);
  if (output_is_on_its_way(s)) return 0;
  if (s->backing && s->backing->standard)
    fd = !strcmp(s->backing->name, "stdin") ? 0 : !strcmp(s->backing->name, "stdout") ? 1 : 2;
  else if (s->backing)
    fd = s->backing->fd;
  else if (uv_fileno(&s->uv.handle, &fd))
    asy_error(L, ASY_CLOSED, "the stream is closed");
  lua_pushinteger(L, fd);
  return 1;
}

static int look_again(lua_State *L, Task *t) {
  (void)t;
  lua_settop(L, 1);
  return pass(L, check_stream(L, 1));
}

/* pass_stream(reader or writer) → the descriptor that a program is to have, once what is written has left; nil: ask
** again, a thread is writing */
static int stream_pass(lua_State *L) {
  lua_settop(L, 1);
  return pass(L, check_stream(L, 1));
}

/* standard_stream(fd) → the loop's, if it has one: what is written there goes before what a program writes; fd: 1 or 2.
** What Lua has written goes now. */
static int standard_stream(lua_State *L) {
  lua_Integer fd = luaL_checkinteger(L, 1);
  fflush(fd == 1 ? stdout : stderr);
  asy_loop_getfield(L, asy_running(L, ASY_RUNTIME(L)), "standard");
  if (!lua_istable(L, -1)) return 0;
  lua_rawgeti(L, -1, fd);
  const Stream *s = stream_at(L, -1);
  if (!s || stream_closing(s) || !s->handle.open || s->out.error) return 0;
  return 1;
}

/* The child's is blocking: so is the description, which is ours too until we have closed it. */
static void set_blocking(const Stream *s, bool blocking) {
  int fd;
  if (s->backing || uv_fileno(&s->uv.handle, &fd)) return;
  int flags = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

/* file_descriptor(x) → of a file of io's, and what was written goes now; nil: it is no file; false: it is closed */
static int file_descriptor(lua_State *L) {
  const luaL_Stream *file = luaL_testudata(L, 1, LUA_FILEHANDLE);
  if (!file) return 0;
  if (!file->closef) {
    lua_pushboolean(L, 0);
    return 1;
  }
  fflush(file->f); // cppcheck-suppress fflushOnInputStream
  lua_pushinteger(L, fileno(file->f));
  return 1;
}

/* Starting: the order. stack: argv, order, ... */

/* The list of strings in the field of the order at 2 as C wants it, in a userdata that is pushed; NULL: there is none,
** and nothing is pushed. The strings are the list's. */
static char **push_strings(lua_State *L, int idx) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, idx);
  char **strings = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *strings, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, idx, i);
    strings[i - 1] = (char *)lua_tostring(L, -1); // NOLINT: exec takes them so, and changes nothing
    lua_pop(L, 1);
  }
  strings[n] = NULL;
  return strings;
}

static char **push_field(lua_State *L, const char *key) {
  if (lua_getfield(L, 2, key) != LUA_TTABLE) {
    lua_pop(L, 1);
    return NULL;
  }
  return push_strings(L, lua_gettop(L)); /* the list stays below it */
}

static lua_Integer number(lua_State *L, const char *key, lua_Integer fallback) {
  lua_Integer n = lua_getfield(L, 2, key) == LUA_TNUMBER ? lua_tointeger(L, -1) : fallback;
  lua_pop(L, 1);
  return n;
}

/* Pushes the descriptors: {from, to, from, to, ...}, by `to`. */
static SpawnFd *push_fds(lua_State *L, int *n) {
  lua_getfield(L, 2, "fds");
  int list = lua_gettop(L);
  *n = (int)lua_rawlen(L, list) / 2;
  SpawnFd *fds = lua_newuserdatauv(L, (size_t)*n * sizeof *fds, 0);
  for (int i = 0; i < *n; i++) {
    lua_rawgeti(L, list, 2 * i + 1);
    lua_rawgeti(L, list, 2 * i + 2);
    fds[i] = (SpawnFd){(int)lua_tointeger(L, -2), (int)lua_tointeger(L, -1)};
    lua_pop(L, 2);
  }
  return fds;
}

/* Raises for a number that is no descriptor of ours. */
static void check_fds(lua_State *L, const SpawnFd *fds, int n) {
  for (int i = 0; i < n; i++) {
    if (fds[i].from <= STDERR_FILENO || fcntl(fds[i].from, F_GETFD) >= 0) continue;
    asy_oserror_push(L, -errno, "dup2", NULL);
    lua_pushfstring(L, "bad file descriptor: %d, which was to be %d there", fds[i].from, fds[i].to);
    lua_setfield(L, -2, "message");
    asy_made_note(L, 0);
    lua_error(L);
  }
}

/* What a start has open until it is over. */
typedef struct Start {
  SpawnOrder order;
  SpawnFd *fds;
  Stream *streams[STANDARD]; /* ours of the pipes, or NULL */
  int close[STANDARD + 1];   /* the child's, which we have no use for; -1: none */
} Start;

/* Our end of a pipe, not open yet, pushed: a writer, or a reader. */
static Stream *push_stream(lua_State *L, Loop *loop, int which, size_t limit) {
  Stream *s = asy_stream_new(L, loop, UV_NAMED_PIPE, limit);
  stream_make_part(s);
  s->out.one_way = true;
  if (which == 0) return s;
  s->out.none = s->out.endless = true;
  asy_stream_push_reader(L, -1);
  lua_remove(L, -2);
  return s;
}

/* stack: argv, order, process, ... */
static void make_streams(lua_State *L, Loop *loop, Start *start) {
  size_t limit = (size_t)number(L, "limit", STREAM_LIMIT);
  for (int i = 0; i < STANDARD; i++) {
    if (start->fds[i].from != FD_PIPE_TO_US) continue;
    start->streams[i] = push_stream(L, loop, i, limit);
    lua_setiuservalue(L, 3, STDIN + i);
  }
}

/* 0, or a negative status. */
static int open_pipe(Start *start, int which) {
  int ends[2], status = spawn_pipe(ends, 0);
  if (status) return status;
  int ours = ends[which == 0], theirs = ends[which != 0];
  status = uv_pipe_open(&start->streams[which]->uv.pipe, ours);
  if (status) {
    close(ours);
    close(theirs);
    return status;
  }
  start->close[which] = start->fds[which].from = theirs;
  return 0;
}

static int open_null(Start *start) {
  int *null = &start->close[STANDARD];
  if (*null >= 0) return 0;
  *null = open("/dev/null", O_RDWR | O_CLOEXEC);
  return *null < 0 ? -errno : 0;
}

static int open_fds(Start *start, SpawnStage *stage) {
  int status = 0;
  *stage = SPAWN_PIPE;
  for (int i = 0; i < STANDARD && !status; i++) {
    SpawnFd *f = &start->fds[i];
    if (f->from == FD_PIPE_TO_US)
      status = open_pipe(start, i);
    else if (f->from == FD_NULL) {
      status = open_null(start);
      f->from = start->close[STANDARD];
      if (status) *stage = SPAWN_NULL;
    } else if (f->from == FD_AS_STDOUT)
      f->from = start->fds[1].from;
  }
  return status;
}

static void close_theirs(Start *start) {
  for (int i = 0; i <= STANDARD; i++)
    if (start->close[i] >= 0) close(start->close[i]);
}

/* Whether each stream of the list at idx can be given as it is now: while the others were waited for it may have been
** used. */
static bool all_ready(lua_State *L, int idx) {
  if (!lua_istable(L, idx)) return true;
  for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, idx); i <= n; i++) {
    lua_rawgeti(L, idx, i);
    const Stream *s = check_stream(L, lua_gettop(L));
    lua_pop(L, 1);
    if (output_pending(s) || s->in.reader || buffer_length(&s->in.buffer)) return false;
  }
  return true;
}

/* The streams that the child is given, at idx: a list. */
static void each_given(lua_State *L, int idx, bool blocking, bool close) {
  for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, idx); i <= n; i++) {
    lua_rawgeti(L, idx, i);
    Stream *s = stream_at(L, -1);
    lua_pop(L, 1);
    if (!s || !s->handle.open) continue;
    set_blocking(s, blocking);
    if (close && !(s->backing && s->backing->standard)) asy_stream_take(L, s, false);
  }
}

static int fail(lua_State *L, int status, SpawnStage stage) {
  static const char *const CALLS[] = {
      [SPAWN_PIPE] = "pipe",     [SPAWN_NULL] = "open",      [SPAWN_FORK] = "fork",     [SPAWN_SESSION] = "setsid", [SPAWN_GROUP] = "setpgid", [SPAWN_FDS] = "dup2",
      [SPAWN_GROUPS] = "setgroups", [SPAWN_GID] = "setgid",  [SPAWN_UID] = "setuid",    [SPAWN_WATCH] = "pidfd_open"};
  if (stage != SPAWN_CWD && stage != SPAWN_EXEC && stage != SPAWN_INTERPRETER)
    return asy_oserror(L, status, CALLS[stage], NULL);
  lua_getfield(L, 2, stage == SPAWN_CWD ? "cwd" : "program");
  const char *path = lua_tostring(L, -1);
  if (stage != SPAWN_INTERPRETER) return asy_patherror(L, status, stage == SPAWN_CWD ? "chdir" : "exec", path, NULL);
  lua_pushfstring(L, "no such file or directory: the interpreter of %s", path);
  asy_patherror_push(L, status, "exec", path, NULL);
  lua_insert(L, -2);
  lua_setfield(L, -2, "message");
  asy_made_note(L, 0);
  return lua_error(L);
}

/* Once it runs nothing may raise. stack: argv, order, process, ..., the streams it is given (or nil) */
static int start_child(lua_State *L, Start *start, Child *child, SpawnStage *stage) {
  int given = lua_gettop(L);
  bool gives = lua_istable(L, given);
  int status = open_fds(start, stage);
  if (gives) each_given(L, given, true, false);
  if (!status) status = child_start(child, &start->order, stage);
  close_theirs(start);
  if (gives) each_given(L, given, status == 0, status == 0);
  return status;
}

static void abort_streams(lua_State *L, Stream *const streams[STANDARD]) {
  for (int i = 0; i < STANDARD; i++)
    if (streams[i]) asy_stream_abort(L, streams[i]);
}

/* spawn(args, order) → Process; nil: a stream that is given isn't ready any more. order: program, name; argv, paths, env
** (lists; or nil: ours), cwd; fds: numbers, of ours and of the child's, by the latter, in turn; given: streams of ours
** among them; session, group, umask, uid, gid (numbers; nil: ours), detach, limit. All has been checked. */
static int process_spawn(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  luaL_checkstack(L, 30, NULL);
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  asy_checkalive(L);
  Start start = {.close = {-1, -1, -1, -1}};
  SpawnStage stage;
  Process *p = lua_newuserdatauv(L, sizeof *p, USER_VALUES);
  p->child = NULL;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 3, ARGS);
  lua_newtable(L);
  lua_setiuservalue(L, 3, STATE);
  start.order = (SpawnOrder){.argv = push_field(L, "argv"), .paths = push_field(L, "paths"), .envp = push_field(L, "env")};
  start.order.fds = start.fds = push_fds(L, &start.order.nfds);
  check_fds(L, start.fds, start.order.nfds);
  lua_getfield(L, 2, "cwd");
  start.order.cwd = lua_tostring(L, -1);
  start.order.session = number(L, "session", 0) != 0;
  start.order.group = (pid_t)number(L, "group", -1);
  start.order.umask = (int)number(L, "umask", -1);
  start.order.uid = number(L, "uid", -1);
  start.order.gid = number(L, "gid", -1);
  make_streams(L, loop, &start);
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_PROCESS);
  lua_setmetatable(L, 3);
  lua_getfield(L, 2, "name");
  Child *child = p->child = child_new(loop, lua_tostring(L, -1));
  if (!child) return asy_nomemory(L);
  child->site = asy_debug_site(L, loop);
  child->detached = child->handle.kept = number(L, "detach", 0) != 0;
  lua_getfield(L, 2, "given");
  if (!all_ready(L, lua_gettop(L))) {
    p->child = NULL;
    child_drop(child);
    abort_streams(L, start.streams);
    return 0;
  }
  int status = start_child(L, &start, child, &stage);
  if (!status) {
    lua_settop(L, 3);
    return 1;
  }
  p->child = NULL;
  child_drop(child);
  abort_streams(L, start.streams);
  return fail(L, status, stage);
}

/* Its methods */

static Process *check_process(lua_State *L) { return asy_check(L, ASY_RUNTIME(L), 1, ASY_PROCESS, "asyncio.Process"); }

static Child *check_child(lua_State *L) {
  Process *p = check_process(L);
  if (!p->child) asy_error(L, ASY_CLOSED, "the process has been collected");
  if (p->child->handle.loop && p->child->handle.loop->copied)
    asy_error(L, ASY_CLOSED, "the process is the parent's: this one was forked from it");
  return p->child;
}

static int push_code(lua_State *L, const Child *c) {
  if (c->state == CHILD_LOST) {
    asy_oserror_push(L, -ECHILD, "wait", NULL);
    lua_pushfstring(L, "somebody else has taken the status of process %d (%s)", (int)c->pid, c->name);
    lua_setfield(L, -2, "message");
    asy_made_note(L, 0);
    return lua_error(L);
  }
  lua_pushinteger(L, c->code);
  return 1;
}

static bool has_code(const Child *c) { return c->state != CHILD_RUNS && c->state != CHILD_LEFT; }

static int waited(lua_State *L, Task *t) { return push_code(L, t->on); }

static int waited_quietly(lua_State *L, Task *t) {
  const Child *c = t->on;
  return c->state == CHILD_LOST ? 0 : push_code(L, c);
}

static void describe(const Task *t, char *text) {
  const Child *c = t->on;
  snprintf(text, ASY_WAIT_TEXT, "%d (%s)", (int)c->pid, c->name);
}

static const WaitKind WAIT = {.name = "process", .finish = waited, .abort = asy_waitq_abort, .describe = describe};
static const WaitKind WAIT_QUIETLY = {.name = "process", .finish = waited_quietly, .abort = asy_waitq_abort,
                                      .describe = describe};

/* A cancellation, the end of its time, or a second Ctrl-C, after which no Lua runs any more: it is killed. */
static Abort kill_abort(lua_State *L, Task *t) {
  if (t->phase != TASK_ENDED) child_signal(t->on, SIGKILL);
  return asy_waitq_abort(L, t);
}

static const WaitKind WAIT_OR_KILL = {.name = "process", .finish = waited_quietly, .abort = kill_abort,
                                      .describe = describe};

static void check_loop(lua_State *L, const Child *c, const Task *t) {
  if (!c->handle.loop) asy_error(L, ASY_CLOSED, "the process runs on, but its event loop is closed");
  if (c->handle.loop != t->loop) asy_error(L, ASY_ERROR, "the process belongs to another event loop");
}

static int wait(lua_State *L, Child *c, Task *t, const WaitKind *kind) {
  check_loop(L, c, t);
  list_append(&c->line, &t->waiter.link);
  return asy_park_on(L, t, kind, c, 1);
}

/// Waits until it has ended, whoever still holds its pipes. Several tasks may wait.
// Raises ChildProcessError when somebody else has taken its status: a host that waits for whatever child ends, or that
// ignores SIGCHLD.
// @function Process:wait
// @treturn integer the exit status; of a signal that ended it the negative number
static int process_wait(lua_State *L) {
  Child *c = check_child(L);
  Task *t = asy_current(L);
  lua_settop(L, 1);
  if (task_spent(t)) return asy_give_way(L, t, process_wait);
  if (has_code(c)) return push_code(L, c);
  return wait(L, c, t, &WAIT);
}

/* _wait(kill) → the same, but nothing for a status that was taken. kill: when it is cancelled the process is killed */
static int process_wait_quietly(lua_State *L) {
  Child *c = check_child(L);
  Task *t = asy_current(L);
  bool kills = lua_toboolean(L, 2);
  lua_settop(L, 1);
  if (!has_code(c)) return wait(L, c, t, kills ? &WAIT_OR_KILL : &WAIT_QUIETLY);
  return c->state == CHILD_LOST ? 0 : push_code(L, c);
}

/// How it has ended, as `wait` says it.
// Raises ChildProcessError when somebody else has taken its status.
// @function Process:returncode
// @treturn ?integer nil while it runs
static int process_returncode(lua_State *L) {
  Child *c = check_child(L);
  child_look(c);
  if (has_code(c)) return push_code(L, c);
  lua_pushnil(L);
  return 1;
}

static int send_to(lua_State *L, int signum) {
  int status = child_signal(check_child(L), signum);
  if (status && status != UV_ESRCH) return asy_oserror(L, status, "kill", NULL);
  lua_pushboolean(L, status == 0);
  return 1;
}

/// Sends a signal; to all of its group, if it leads one (`new_session`, `process_group = 0`).
// @function Process:send_signal
// @param signal a name like "SIGTERM", or a number; 0: none is sent, whether it could be is told
// @treturn boolean false: it has ended, and been reaped; so no other process that has the same pid by now is ever hit
static int process_send_signal(lua_State *L) {
  int isint, signum = -1;
  check_process(L);
  if (lua_type(L, 2) == LUA_TSTRING) {
    signum = signal_number(lua_tostring(L, 2));
    if (!signum) signum = -1;
  }
  else if (lua_type(L, 2) == LUA_TNUMBER) {
    lua_Integer n = lua_tointegerx(L, 2, &isint);
    signum = isint && n >= 0 && n <= SIGNAL_MOST ? (int)n : -1;
  }
  if (signum < 0) asy_argerror(L, 2, "signal expected: a name like \"SIGTERM\", or a number");
  return send_to(L, signum);
}

/// Sends SIGTERM: asks it to end.
// @function Process:terminate
// @treturn boolean as `send_signal`
static int process_terminate(lua_State *L) { return send_to(L, SIGTERM); }

/// Sends SIGKILL: ends it.
// @function Process:kill
// @treturn boolean as `send_signal`
static int process_kill(lua_State *L) { return send_to(L, SIGKILL); }

/* For subprocess.lua */

/* _state() → a table of its own */
static int process_state(lua_State *L) {
  check_process(L);
  lua_getiuservalue(L, 1, STATE);
  return 1;
}

/* _end(): its block is left */
static int process_end(lua_State *L) {
  check_child(L)->ending = true;
  return 0;
}

/* _release(): its group is done with */
static int process_release(lua_State *L) {
  child_release(check_child(L));
  return 0;
}

/* _ended() → whether it has; nothing is raised for a status that was taken. _lives(): whether anybody else of its group
** does; nil: that can't be known */
static int process_ended(lua_State *L) {
  Child *c = check_child(L);
  child_look(c);
  lua_pushboolean(L, has_code(c));
  return 1;
}

static int process_lives(lua_State *L) {
  Company company = child_company(check_child(L));
  if (company == COMPANY_UNKNOWN) return 0;
  lua_pushboolean(L, company == COMPANY_LIVES);
  return 1;
}

/* _take(1 or 2) → what has been read ahead of its output, or of its errors, if there is no other reader */
static int process_take(lua_State *L) {
  lua_Integer which = luaL_checkinteger(L, 2);
  check_process(L);
  lua_getiuservalue(L, 1, STDIN + (int)which);
  Stream *s = stream_at(L, -1);
  if (s && !s->in.reader) return asy_input_take(L, s, buffer_length(&s->in.buffer));
  lua_pushliteral(L, "");
  return 1;
}

/* _check(): raises where the running task may not wait for it, since it belongs to another loop, or to none any more */
static int process_check(lua_State *L) {
  const Child *c = check_child(L);
  if (!has_code(c)) check_loop(L, c, asy_current(L));
  return 0;
}

/* _claim(): raises where a task reads its output, or its errors */
static int process_claim(lua_State *L) {
  check_process(L);
  for (int i = STDOUT; i <= STDERR; i++) {
    lua_getiuservalue(L, 1, i);
    Stream *s = stream_at(L, -1);
    if (s) asy_reader_claim(L, s);
  }
  return 0;
}

/* _close_pipes("input"): only that; ("drained"): what came last somebody has thrown away; () */
static int process_close_pipes(lua_State *L) {
  check_process(L);
  const char *how = luaL_optstring(L, 2, "");
  int last = *how == 'i' ? STDIN : STDERR;
  bool drained = *how == 'd';
  lua_settop(L, 1);
  for (int i = STDIN; i <= last; i++) {
    lua_getiuservalue(L, 1, i);
    Stream *s = stream_at(L, -1);
    if (s) asy_stream_take(L, s, drained && i != STDIN);
    lua_pop(L, 1);
  }
  return 0;
}

/* environment(name) → the value of that variable, or nil; environment() → all, by name */
static int process_environment(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) {
    const char *value = getenv(luaL_checkstring(L, 1));
    lua_pushstring(L, value);
    return 1;
  }
  lua_newtable(L);
  for (char **e = environ; e && *e; e++) {
    const char *value = strchr(*e, '=');
    if (!value) continue;
    lua_pushlstring(L, *e, (size_t)(value - *e));
    lua_pushstring(L, value + 1);
    lua_rawset(L, -3);
  }
  return 1;
}

/* signal_name(n) → "SIGTERM"; nil: it has none */
static int get_signal_name(lua_State *L) {
  lua_pushstring(L, signal_name((int)luaL_checkinteger(L, 1)));
  return 1;
}

/* Fields, then the methods: upvalue 2. */
static int process__index(lua_State *L) {
  static const char *const FIELDS[] = {[STDIN] = "stdin", [STDOUT] = "stdout", [STDERR] = "stderr", [ARGS] = "args"};
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  lua_settop(L, 2);
  const Process *p = asy_test(L, ASY_RUNTIME(L), 1, ASY_PROCESS);
  if (p && p->child && !strcmp(key, "pid")) {
    lua_pushinteger(L, p->child->pid);
    return 1;
  }
  for (int i = STDIN; p && i <= ARGS; i++) {
    if (strcmp(key, FIELDS[i]) != 0) continue;
    lua_getiuservalue(L, 1, i);
    return 1;
  }
  lua_rawget(L, lua_upvalueindex(2));
  return 1;
}

static int process__tostring(lua_State *L) {
  const Process *p = check_process(L);
  const Child *c = p->child;
  if (!c)
    lua_pushfstring(L, "asyncio.Process: collected (%p)", (const void *)p);
  else if (!has_code(c))
    lua_pushfstring(L, "asyncio.Process: %d (%s), %s (%p)", (int)c->pid, c->name,
                    c->state == CHILD_LEFT ? "left running" : "running", (const void *)p);
  else if (c->state == CHILD_LOST)
    lua_pushfstring(L, "asyncio.Process: %d (%s), ended (%p)", (int)c->pid, c->name, (const void *)p);
  else if (c->code < 0 && signal_name(-c->code))
    lua_pushfstring(L, "asyncio.Process: %d (%s), ended by %s (%p)", (int)c->pid, c->name, signal_name(-c->code), (const void *)p);
  else
    lua_pushfstring(L, "asyncio.Process: %d (%s), ended with %d (%p)", (int)c->pid, c->name, c->code, (const void *)p);
  return 1;
}

/* Left behind */

static void push_left(lua_State *L, const Child *c) {
  lua_pushfstring(L, "process %d (%s) was left running: nobody will wait for it", (int)c->pid, c->name);
}

static int process__gc(lua_State *L) {
  char site[1000] = "";
  Process *p = asy_test(L, ASY_RUNTIME(L), 1, ASY_PROCESS);
  Child *c = p ? p->child : NULL;
  if (!c) return 0;
  p->child = NULL;
  waiter_wake_all(&c->line, 0); /* only where a stranger closed the task's coroutine */
  Loop *loop = c->handle.loop;
  if (!loop || !loop->copied) child_look(c);
  bool left = c->state == CHILD_RUNS && !c->detached && !c->ending && loop && !loop->copied;
  if (left && c->site) snprintf(site, sizeof site, "%s", c->site);
  if (left && lua_checkstack(L, 10)) push_left(L, c); else lua_settop(L, 0);
  child_drop(c);
  if (left) asy_unclosed_report_later(L, loop, *site ? site : NULL);
  return 0;
}

static void report_one(Handle *h, void *arg) {
  const Child *c = asy_container(h, Child, handle);
  lua_State *L = arg;
  if (c->detached || c->dropped || c->killed || c->ending || c->state != CHILD_RUNS) return;
  push_left(L, c);
  asy_unclosed_report(L, h->loop, lua_tostring(L, -1), "started at", c->site);
  lua_pop(L, 1);
}

static void report_children(lua_State *L, Loop *loop) { children_each(loop, report_one, L); }

/// A program that was started, by `asyncio.create_subprocess_exec` or `create_subprocess_shell`.
// Its fields are `pid`, `args`, and of what is a pipe `stdin` (a StreamWriter), `stdout` and `stderr` (StreamReaders).
// A pipe is read only when somebody reads, then ahead; it closes by itself at its end.
// @type Process

static const luaL_Reg methods[] = {{"wait", process_wait},
                                   {"returncode", process_returncode},
                                   {"send_signal", process_send_signal},
                                   {"terminate", process_terminate},
                                   {"kill", process_kill},
                                   {"_wait", process_wait_quietly},
                                   {"_state", process_state},
                                   {"_end", process_end},
                                   {"_release", process_release},
                                   {"_ended", process_ended},
                                   {"_lives", process_lives},
                                   {"_take", process_take},
                                   {"_claim", process_claim},
                                   {"_check", process_check},
                                   {"_close_pipes", process_close_pipes},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", process__gc}, {"__tostring", process__tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"spawn", process_spawn},
                                     {"pass_stream", stream_pass},
                                     {"standard_stream", standard_stream},
                                     {"file_descriptor", file_descriptor},
                                     {"environment", process_environment},
                                     {"signal_name", get_signal_name},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_subprocess(lua_State *L) {
  static const LoopHooks hooks = {.report = report_children};
  asy_setfuncs(L, functions);
  runtime_on_loop(asy_runtime(L), &hooks);
  asy_newclass(L, ASY_PROCESS, "asyncio.Process", methods, metamethods);
  asy_pushmeta(L, asy_runtime(L), ASY_PROCESS);
  lua_getfield(L, -1, "methods");
  asy_pushclosure(L, process__index, 1);
  lua_setfield(L, -2, "__index");
  lua_setfield(L, -2, "process_class");
}
