/*
** poll.c - callbacks when a descriptor can be read or written.
**
** The loop's field `watches` maps a descriptor to its Watch, whose user values are the callbacks.
*/
#include "poll.h"

#include <stdlib.h>

#include "callback.h"
#include "error.h"
#include "handle.h"

#define READER 1 /* user value of the callback; also the bit of its event, below */
#define WRITER 2

typedef struct Watch {
  Handle handle;
  uv_poll_t poll;
  Ready ready;
  int wanted, seen; /* UV_READABLE, UV_WRITABLE */
  lua_Integer fd;
} Watch;

static void destroy(Handle *h) { free(asy_container(h, Watch, handle)); }

static void shut(Shutter *s) { asy_handle_close(asy_container(s, Handle, shutter)); }

/* Pushes the loop's table of watches. */
static void push_watches(lua_State *L, Loop *loop) {
  asy_loop_getfield(L, loop, "watches");
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  asy_loop_setfield(L, loop, "watches");
}

static void watch_run(lua_State *L, Loop *loop, Ready *self) {
  Watch *w = asy_container(self, Watch, ready);
  int seen = w->seen & w->wanted, top = lua_gettop(L);
  w->seen = 0;
  push_watches(L, loop);
  lua_rawgeti(L, -1, w->fd); /* keeps the watch alive below */
  for (int which = READER; which <= WRITER; which++) {
    if (!(seen & w->wanted & (which == READER ? UV_READABLE : UV_WRITABLE))) continue;
    lua_getiuservalue(L, top + 2, which);
    asy_callback_call(L, loop, -1);
    lua_settop(L, top + 2);
  }
  lua_settop(L, top);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  Watch *w = asy_container(poll, Watch, poll);
  w->seen |= status < 0 ? UV_READABLE | UV_WRITABLE : events;
  if (!list_linked(&w->ready.link)) asy_ready(w->handle.loop, &w->ready);
}

static int watch__gc(lua_State *L) {
  Watch **box = asy_test(L, ASY_RUNTIME(L), 1, ASY_WATCH), *w = box ? *box : NULL;
  if (!w) return 0;
  *box = NULL;
  if (w->handle.open || !w->handle.closing) list_remove(&w->ready.link);
  asy_handle_close(&w->handle);
  asy_handle_unbox(&w->handle);
  return 0;
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
  if (!isint || fd < 0 || fd > INT32_MAX) luaL_argerror(L, idx, "descriptor, or object with getfd, expected");
  return (int)fd;
}

/* Pushes a new watch. */
static Watch *new_watch(lua_State *L, Loop *loop, int fd) {
  Watch **box = lua_newuserdatauv(L, sizeof *box, WRITER);
  *box = NULL;
  asy_pushmeta(L, loop->rt, ASY_WATCH);
  lua_setmetatable(L, -2);
  Watch *w = *box = calloc(1, sizeof *w);
  if (!w) luaL_error(L, "not enough memory");
  asy_handle_init(&w->handle, loop, (uv_handle_t *)&w->poll, destroy, shut);
  w->ready.run = watch_run;
  list_init(&w->ready.link);
  w->fd = fd;
  int status = uv_poll_init(&loop->uv, &w->poll, fd);
  if (status) asy_oserror(L, status, "poll", NULL);
  asy_handle_opened(&w->handle);
  return w;
}

static int update(Watch *w) {
  return w->wanted ? uv_poll_start(&w->poll, w->wanted, on_poll) : uv_poll_stop(&w->poll);
}

static Loop *check_loop(lua_State *L) {
  Loop *loop = asy_check(L, ASY_RUNTIME(L), 1, ASY_LOOP, "asyncio.Loop");
  asy_loop_checkopen(L, loop);
  return loop;
}

/* stack: loop, fd, fn, arguments */
static int add(lua_State *L, int which) {
  Loop *loop = check_loop(L);
  int fd = check_fd(L, 2), n = lua_gettop(L) - 3;
  if (!lua_isfunction(L, 3)) luaL_typeerror(L, 3, "function");
  asy_callback_new(L, loop, n); /* stack: loop, fd, callback */
  push_watches(L, loop);
  if (lua_rawgeti(L, -1, fd) == LUA_TNIL) {
    lua_pop(L, 1);
    new_watch(L, loop, fd);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, fd);
  }
  Watch *w = *(Watch **)lua_touserdata(L, -1);
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, -2, which);
  w->wanted |= which == READER ? UV_READABLE : UV_WRITABLE;
  int status = update(w);
  if (status) asy_oserror(L, status, "poll", NULL);
  return 0;
}

static int remove_one(lua_State *L, int which) {
  Loop *loop = check_loop(L);
  int fd = check_fd(L, 2), bit = which == READER ? UV_READABLE : UV_WRITABLE;
  push_watches(L, loop);
  Watch *w = lua_rawgeti(L, -1, fd) == LUA_TNIL ? NULL : *(Watch **)lua_touserdata(L, -1);
  bool found = w && (w->wanted & bit);
  if (found) {
    w->wanted &= ~bit;
    update(w);
    lua_pushnil(L);
    lua_setiuservalue(L, -2, which);
    if (!w->wanted) {
      lua_pushnil(L);
      lua_rawseti(L, -3, fd);
      list_remove(&w->ready.link);
      asy_handle_close(&w->handle);
    }
  }
  lua_pushboolean(L, found);
  return 1;
}

/// Calls a function whenever a descriptor can be read.
// @function Loop:add_reader
// @param fd a number, or an object with a method getfd
// @tparam function fn must not await
// @param ... its arguments
static int loop_add_reader(lua_State *L) { return add(L, READER); }

/// Ends `add_reader`.
// @function Loop:remove_reader
// @param fd a number, or an object with a method getfd
// @treturn boolean whether there was one
static int loop_remove_reader(lua_State *L) { return remove_one(L, READER); }

/// Calls a function whenever a descriptor can be written.
// @function Loop:add_writer
// @param fd a number, or an object with a method getfd
// @tparam function fn must not await
// @param ... its arguments
static int loop_add_writer(lua_State *L) { return add(L, WRITER); }

/// Ends `add_writer`.
// @function Loop:remove_writer
// @param fd a number, or an object with a method getfd
// @treturn boolean whether there was one
static int loop_remove_writer(lua_State *L) { return remove_one(L, WRITER); }

static const luaL_Reg methods[] = {{"add_reader", loop_add_reader},
                                   {"remove_reader", loop_remove_reader},
                                   {"add_writer", loop_add_writer},
                                   {"remove_writer", loop_remove_writer},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", watch__gc}, {NULL, NULL}};

void asy_open_poll(lua_State *L) {
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", methods, NULL);
  asy_newclass(L, ASY_WATCH, "asyncio.Watch", NULL, metamethods);
}
