/*
** descriptor.c - descriptors of other libraries: callbacks and tasks for when they can be read or written.
**
** The loop has one Watches: the kernel's set, whose own descriptor libuv polls, and in a slot of the
** held table a Lua table that maps a descriptor to its Watch. A Watch is there while somebody wants
** one of its directions: a callback, or a task. The kernel tells once; then the set is armed again.
*/
#include "core/loop.h"

#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/callback.h"
#include "core/error.h"
#include "core/handle.h"
#include "core/report.h"
#include "core/task.h"
#include "base/pollset.h"
#include "open.h"

#define BATCH 64 /* events taken in one go */

typedef enum Direction { READ, WRITE, DIRECTIONS } Direction; /* events are 1 << direction */

typedef struct Watches {
  Handle handle;
  uv_poll_t poll;
  Ready ready;       /* takes the events */
  int set;
  uint32_t slot;     /* where the loop holds the table */
  uint32_t last_tag;
  int n;             /* watches */
} Watches;

/* User values: the callbacks. */
typedef struct Watch {
  Watches *all;
  int fd;
  uint32_t tag;  /* tells it from an older one of the same descriptor */
  int callbacks; /* directions that have one */
  bool listed;   /* it is in the table */
  Task *tasks[DIRECTIONS];
} Watch;

static const char *const NAMES[] = {"reader", "writer"};

static int bit(Direction d) { return 1 << d; }

static int wanted(const Watch *w) {
  int tasks = (w->tasks[READ] ? bit(READ) : 0) | (w->tasks[WRITE] ? bit(WRITE) : 0);
  return w->callbacks | tasks;
}

static int arm(const Watch *w, bool known) {
  return pollset_arm(w->all->set, w->fd, w->tag, wanted(w), known);
}

/* Takes a watch out of the table. Never raises. */
static void drop(lua_State *L, Watch *w) {
  Watches *all = w->all;
  w->callbacks = 0;
  w->listed = false;
  asy_held_push(L, all->handle.loop, all->slot);
  if (lua_istable(L, -1)) {
    lua_pushnil(L);
    lua_rawseti(L, -2, w->fd);
  }
  lua_pop(L, 1);
  if (--all->n == 0) uv_unref((uv_handle_t *)&all->poll);
}

static void drop_if_unwanted(lua_State *L, Watch *w) {
  if (wanted(w) || !w->listed) return;
  if (!w->all->handle.loop->copied) pollset_remove(w->all->set, w->fd); /* the set is the parent's, too */
  drop(L, w);
}

static void wake(Watch *w, Direction d, int code) {
  Task *t = w->tasks[d];
  w->tasks[d] = NULL;
  if (t) task_wake(t, code);
}

/* The descriptor was closed by somebody who didn't say so; the kernel has forgotten it. */
static void drop_closed(lua_State *L, Loop *loop, Watch *w) {
  char text[80];
  bool watched = w->callbacks != 0;
  wake(w, READ, UV_EBADF);
  wake(w, WRITE, UV_EBADF);
  drop(L, w);
  if (!watched) return;
  snprintf(text, sizeof text, "descriptor %d was closed while it was watched", w->fd);
  asy_report(L, loop, (Report){.message = text});
}

/* stack: ..., watch → ..., watch */
static void fire(lua_State *L, Loop *loop, Watch *w, int events) {
  for (Direction d = READ; d < DIRECTIONS; d++) {
    if (!(events & bit(d))) continue;
    wake(w, d, 0);
    if (!(w->callbacks & bit(d))) continue;
    lua_getiuservalue(L, -1, (int)d + 1);
    asy_callback_call(L, loop, -1);
    lua_pop(L, 1);
  }
}

/* After its events have been told. */
static void settle(lua_State *L, Loop *loop, Watch *w) {
  drop_if_unwanted(L, w);
  if (w->listed && arm(w, true)) drop_closed(L, loop, w);
}

static void watches_run(lua_State *L, Loop *loop, Ready *self) {
  Watches *all = asy_container(self, Watches, ready);
  PollsetEvent events[BATCH];
  int top = lua_gettop(L), n = pollset_take(all->set, events, BATCH);
  asy_held_push(L, loop, all->slot);
  for (int i = 0; i < n; i++) {
    lua_rawgeti(L, top + 1, events[i].fd);
    Watch *w = lua_touserdata(L, -1);
    if (w && w->tag == events[i].tag) {
      fire(L, loop, w, events[i].events);
      settle(L, loop, w);
    }
    lua_settop(L, top + 1);
  }
  lua_settop(L, top);
  if (n == BATCH && !list_linked(&all->ready.link)) loop_ready(loop, &all->ready);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  Watches *all = asy_container(poll, Watches, poll);
  (void)status;
  (void)events;
  if (!list_linked(&all->ready.link)) loop_ready(all->handle.loop, &all->ready);
}

static void destroy(Handle *h) {
  Watches *all = asy_container(h, Watches, handle);
  list_remove(&all->ready.link);
  close(all->set);
  mem_free(all);
}

/* The loop closes. */
static void shut(Shutter *s) {
  Handle *h = asy_container(s, Handle, shutter);
  h->loop->watches = NULL;
  handle_close(h);
}

static const char *tell(const Handle *h, char *text, size_t size) {
  snprintf(text, size, "%d watched descriptors (add_reader, add_writer)", asy_container(h, Watches, handle)->n);
  return NULL;
}

/* The loop's watches, made at the first need. */
static Watches *watches_of(lua_State *L, Loop *loop) {
  if (loop->watches) return loop->watches;
  lua_newtable(L);
  if (loop->watches) { /* a finaliser made them meanwhile */
    lua_pop(L, 1);
    return loop->watches;
  }
  uint32_t slot = asy_hold(L, loop);
  Watches *all = mem_calloc(1, sizeof *all);
  int status = all ? all->set = pollset_open() : UV_ENOMEM;
  if (status >= 0) {
    handle_init(&all->handle, loop, (uv_handle_t *)&all->poll, destroy, shut);
    all->slot = slot;
    all->ready.run = watches_run;
    list_init(&all->ready.link);
    status = uv_poll_init(&loop->uv, &all->poll, all->set);
    if (status) close(all->set);
  }
  if (status) {
    mem_free(all);
    asy_release(L, loop, slot);
    asy_oserror(L, status, "poll", NULL);
  }
  all->handle.tell = tell;
  handle_opened(&all->handle);
  handle_unbox(&all->handle); /* nobody's but the loop's */
  uv_poll_start(&all->poll, UV_READABLE, on_poll);
  uv_unref((uv_handle_t *)&all->poll);
  return loop->watches = all;
}

/* The descriptor at idx: a number, or an object with getfd. */
static int check_fd(lua_State *L, int idx) {
  int isint;
  lua_Integer fd = lua_tointegerx(L, idx, &isint);
  if (!isint && (lua_isuserdata(L, idx) || lua_istable(L, idx)) &&
      lua_getfield(L, idx, "getfd") != LUA_TNIL) {
    lua_pushvalue(L, idx);
    lua_call(L, 1, 1);
    fd = lua_tointegerx(L, -1, &isint);
    lua_pop(L, 1);
  }
  if (lua_type(L, idx) == LUA_TSTRING || !isint || fd < 0 || fd > INT32_MAX)
    asy_argerror(L, idx, "descriptor, or object with getfd, expected");
  return (int)fd;
}

/* Pushes the watch of a descriptor, or nil. */
static Watch *find(lua_State *L, Loop *loop, int fd) {
  if (!loop->watches) {
    lua_pushnil(L);
    return NULL;
  }
  asy_held_push(L, loop, loop->watches->slot);
  lua_rawgeti(L, -1, fd);
  lua_replace(L, -2);
  return lua_touserdata(L, -1);
}

/* Pushes the watch of a descriptor, new where there is none. One whose descriptor was closed and given
** to another file meanwhile has gone. */
static Watch *obtain(lua_State *L, Loop *loop, int fd) {
  Watch *w = find(L, loop, fd), *fresh;
  if (w && arm(w, true) == 0) return w;
  lua_pop(L, 1);
  fresh = lua_newuserdatauv(L, sizeof *fresh, DIRECTIONS);
  Watches *all = watches_of(L, loop);
  asy_loop_checkopen(L, loop);
  while ((w = find(L, loop, fd))) { /* reports, and finalisers, may have made one by now */
    if (arm(w, true) == 0) {
      lua_replace(L, -2);
      return w;
    }
    drop_closed(L, loop, w);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  w = fresh;
  *w = (Watch){.all = all, .fd = fd, .tag = ++all->last_tag};
  asy_held_push(L, loop, all->slot);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, fd);
  lua_pop(L, 1);
  w->listed = true;
  if (all->n++ == 0) uv_ref((uv_handle_t *)&all->poll);
  return w;
}

static int raise_status(lua_State *L, int status, int fd) {
  char text[64];
  snprintf(text, sizeof text, "descriptor %d%s", fd, status == UV_EPERM ? ", which is always ready" : "");
  return asy_oserror(L, status, "poll", text);
}

/* What the kernel is to tell of has changed, `was` before; raises if that fails, nothing changed then. */
static void change(lua_State *L, Watch *w, int was) {
  int status = arm(w, was != 0);
  if (!status) return;
  w->callbacks &= was;
  for (Direction d = READ; d < DIRECTIONS; d++)
    if (!(was & bit(d))) w->tasks[d] = NULL;
  drop_if_unwanted(L, w);
  raise_status(L, status, w->fd);
}

/* Callbacks */

static void check_no_task(lua_State *L, const Watch *w, Direction d) {
  Task *t = w->tasks[d];
  if (!t) return;
  asy_task_push(L, t);
  asy_task_name(L, t, -1);
  asy_error(L, ASY_BUSY, "descriptor %d is waited for by task '%s'", w->fd, lua_tostring(L, -1));
}

/* stack: loop, fd, fn, arguments */
static int add(lua_State *L, Direction d) {
  Loop *loop = asy_checkopenloop(L, 1);
  int fd = check_fd(L, 2), n = lua_gettop(L) - 3;
  if (!lua_isfunction(L, 3)) asy_notfunction(L, 3, 3, "function", "fd, f, x", "fd, f(x)");
  asy_callback_new(L, loop, n); /* stack: loop, fd, callback */
  Watch *w = obtain(L, loop, fd);
  int was = wanted(w);
  check_no_task(L, w, d);
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, -2, (int)d + 1);
  w->callbacks |= bit(d);
  change(L, w, was);
  return 0;
}

static int remove_one(lua_State *L, Direction d) {
  Loop *loop = asy_checkopenloop(L, 1);
  Watch *w = find(L, loop, check_fd(L, 2));
  bool found = w && (w->callbacks & bit(d));
  if (found) {
    w->callbacks &= ~bit(d);
    lua_pushnil(L);
    lua_setiuservalue(L, -2, (int)d + 1);
    drop_if_unwanted(L, w);
  }
  lua_pushboolean(L, found);
  return 1;
}

/// Calls a function whenever a descriptor can be read. Takes the place of one that was there.
// The descriptor stays as it is, blocking or not. Remove the function before closing it.
// Raises OSError for a descriptor that can't be watched, as a file's, BusyError while a task waits for it.
// @function Loop:add_reader
// @param fd a number, or an object with a method getfd
// @tparam function fn must not await
// @param ... its arguments
static int loop_add_reader(lua_State *L) { return add(L, READ); }

/// Ends `add_reader`.
// @function Loop:remove_reader
// @param fd a number, or an object with a method getfd
// @treturn boolean whether there was one
static int loop_remove_reader(lua_State *L) { return remove_one(L, READ); }

/// Calls a function whenever a descriptor can be written; otherwise as `add_reader`.
// @function Loop:add_writer
// @param fd a number, or an object with a method getfd
// @tparam function fn must not await
// @param ... its arguments
static int loop_add_writer(lua_State *L) { return add(L, WRITE); }

/// Ends `add_writer`.
// @function Loop:remove_writer
// @param fd a number, or an object with a method getfd
// @treturn boolean whether there was one
static int loop_remove_writer(lua_State *L) { return remove_one(L, WRITE); }

/* Waiting */

static Abort stop_waiting(lua_State *L, Watch *w, Direction d) {
  w->tasks[d] = NULL;
  drop_if_unwanted(L, w);
  return ASY_DETACHED;
}

static Abort read_abort(lua_State *L, Task *t) { return stop_waiting(L, t->on, READ); }
static Abort write_abort(lua_State *L, Task *t) { return stop_waiting(L, t->on, WRITE); }

/* stack: fd */
static int waited(lua_State *L, Task *t) {
  if (t->code) asy_error(L, ASY_CLOSED, "the descriptor was closed while it was waited for");
  return 0;
}

static const WaitKind KINDS[] = {{.name = "wait_readable", .finish = waited, .abort = read_abort},
                                 {.name = "wait_writable", .finish = waited, .abort = write_abort}};

static int wait(lua_State *L, Direction d) {
  int fd = check_fd(L, 1);
  Task *t = asy_current(L);
  lua_settop(L, 1);
  Watch *w = obtain(L, t->loop, fd);
  int was = wanted(w);
  check_no_task(L, w, d);
  if (w->callbacks & bit(d))
    asy_error(L, ASY_BUSY, "descriptor %d is watched by add_%s", fd, NAMES[d]);
  w->tasks[d] = t;
  change(L, w, was);
  return asy_park_on(L, t, &KINDS[d], w, 2);
}

/// Waits until a descriptor can be read, or has an end or error to tell of.
// The descriptor stays as it is, blocking or not. Raises BusyError when another task or `add_reader`
// waits for the same, OSError for one that can't be watched, as a file's (that is always ready). Close
// a descriptor only when nobody waits for it: the kernel would never tell.
// @function wait_readable
// @param fd a number, or an object with a method getfd, as the sockets of other libraries have
static int poll_wait_readable(lua_State *L) { return wait(L, READ); }

/// Waits until a descriptor can be written, or has an error to tell of; otherwise as `wait_readable`.
// @function wait_writable
// @param fd a number, or an object with a method getfd
static int poll_wait_writable(lua_State *L) { return wait(L, WRITE); }

static const luaL_Reg methods[] = {{"add_reader", loop_add_reader},
                                   {"remove_reader", loop_remove_reader},
                                   {"add_writer", loop_add_writer},
                                   {"remove_writer", loop_remove_writer},
                                   {NULL, NULL}};

static const luaL_Reg functions[] = {
    {"wait_readable", poll_wait_readable}, {"wait_writable", poll_wait_writable}, {NULL, NULL}};

/* stack: module */
void asy_open_poll(lua_State *L) {
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", methods, NULL);
}
