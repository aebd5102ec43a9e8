/*
** filecall.c - calls of files, in the order in which they were made.
*/
#include "files/filecall.h"

#include <stdio.h>

#include "base/alloc.h"
#include "core/error.h"
#include "core/report.h"

File *asy_file_check(lua_State *L) {
  File **box = asy_check(L, ASY_RUNTIME(L), 1, ASY_FILE, "asyncio.File");
  if (!*box) asy_error(L, ASY_CLOSED, "the file was never opened");
  return *box;
}

File *asy_file_push(lua_State *L, Loop *loop, const char *path) {
  File **box = lua_newuserdatauv(L, sizeof(File *), 0);
  *box = NULL;
  asy_pushmeta(L, asy_runtime(L), ASY_FILE);
  lua_setmetatable(L, -2);
  if (!(*box = file_new(loop, path))) asy_nomemory(L);
  (*box)->site = asy_debug_site(L, loop);
  return *box;
}

static int raise_closed(lua_State *L, const File *f) {
  return asy_error(L, ASY_CLOSED, "the file is closed: %s", f->path);
}

void asy_file_checkopen(lua_State *L, const File *f) {
  if (!ASY_LIKELY(file_is_open(f))) raise_closed(L, f);
}

static void describe(const Task *t, char *text) {
  const File *f = t->on;
  if (f) snprintf(text, ASY_WAIT_TEXT, "%s %s", f->doing, f->path);
}

/* Its turn */

static int have_turn(lua_State *L, Task *t) {
  File *f = t->on;
  waitq_took(t);
  if (t->code == FILE_CLOSED || !file_is_open(f)) return raise_closed(L, f);
  return t->again(L);
}

static void pass_turn(lua_State *L, Task *t) {
  (void)L;
  if (!t->on) return;
  waitq_took(t);
  file_pass(t->on);
}

static void describe_turn(const Task *t, char *text) {
  const File *f = t->on;
  if (f) snprintf(text, ASY_WAIT_TEXT, "its turn at %s", f->path);
}

static const WaitKind TURN = {.name = "file", .finish = have_turn, .abort = asy_waitq_abort, .giveback = pass_turn,
                              .describe = describe_turn};

int asy_file_begin(lua_State *L, File *f, Task *t, lua_CFunction body) {
  if (f->handle.loop != t->loop) asy_error(L, ASY_ERROR, "the file belongs to another event loop");
  t->on = f;
  if (ASY_LIKELY(!f->taken)) return body(L);
  t->again = body;
  return asy_waitq_park(L, t, &f->line, &TURN, f);
}

/* Its Work */

static int worked(lua_State *L, Task *t) {
  if (t->code == FILE_CLOSED) return raise_closed(L, t->on);
  return t->again(L);
}

/* What had not begun is as if it had never been asked for. */
static Abort work_abort(lua_State *L, Task *t) {
  File *f = t->on;
  (void)L;
  bool undone = file_leave(f);
  if (!f->handle.open || f->closing) {
    file_close(f);
  } else if (undone) {
    file_drop_own(f);
    file_pass(f);
  }
  return ASY_DETACHED;
}

static void work_giveback(lua_State *L, Task *t) {
  File *f = t->on;
  (void)L;
  if (!f) return;
  if (!file_is_open(f)) {
    file_close(f); /* it was opened, or closed, for nobody */
    return;
  }
  file_lose(f);
  file_pass(f);
}

static const WaitKind WORK = {.name = "file", .finish = worked, .abort = work_abort, .giveback = work_giveback,
                              .describe = describe};

int asy_file_work(lua_State *L, File *f, FileAct act, lua_CFunction again) {
  Task *t = ASY_RUNTIME(L)->current;
  int status = file_start(f, t, act);
  if (status) {
    f->status = -status;
    f->call = "thread";
    return again(L);
  }
  t->again = again;
  return asy_park(L, t, &WORK, f);
}

int asy_file_fail(lua_State *L, File *f) {
  int status = f->status;
  const char *call = f->call;
  file_over(f);
  if (status == UV_ENOMEM) asy_nomemory(L);
  asy_patherror(L, status, call, f->path, NULL);
}

int asy_file_fail_lost(lua_State *L, File *f) {
  f->status = f->lost;
  f->call = f->lost_call;
  f->lost = 0;
  asy_file_fail(L, f);
}

/* Closing */

static int ended(lua_State *L) {
  File *f = asy_file_current(L);
  int status = f->status;
  const char *call = f->call;
  if (f->lost) {
    status = f->lost;
    call = f->lost_call;
  }
  file_close(f);
  if (status) return asy_patherror(L, status, call, f->path, NULL);
  return 1;
}

static int close_now(lua_State *L) {
  File *f = asy_file_current(L);
  file_begin(f, "close");
  return asy_file_work(L, f, FILE_CLOSE, ended);
}

static int close_rest(lua_State *L) {
  file_lose(asy_file_current(L));
  return close_now(L);
}

/* Who waits for others would wait for what may hang: they are told that it is closed. Only output that nobody else waits
** for any more is waited for, as what has been kept back is. */
int asy_file_end(lua_State *L, File *f, Task *t) {
  bool left = file_has_left_output(f);
  if (!t || (f->taken && !left) || f->handle.loop != t->loop) {
    file_close(f);
    return 1;
  }
  f->doing = "close";
  f->closing = true;
  t->on = f;
  if (!left) return close_now(L);
  waitq_wake_all(&f->line, FILE_CLOSED);
  file_rejoin(f, t);
  t->again = close_rest;
  return asy_park(L, t, &WORK, f);
}
