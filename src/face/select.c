/*
** select.c - select: which of several descriptors can be read or written, anybody's.
**
** Each call that waits has a set of the kernel's for itself, and waits for that: so what others wait for doesn't
** matter.
*/
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/pollset.h"
#include "core/error.h"
#include "face/face.h"
#include "face/kinds.h"
#include "face/moment.h"

#define READABLE (POLLIN | POLLHUP | POLLERR)
#define WRITABLE (POLLOUT | POLLERR)

typedef struct Select {
  Spot spot; /* the set, while it waits */
  struct pollfd *fds;
  int n, size;
} Select;

static const char class_key = 0; /* registry: its metatable */

static int select__gc(lua_State *L) {
  Select *all = lua_touserdata(L, 1);
  spot_close(&all->spot);
  mem_free(all->fds);
  *all = (Select){.spot.fd = -1};
  return 0;
}

/* stack: list to read, list to write, seconds, [4] descriptor → object, [5] results, [6] results, [7] Select, ... */
enum { OBJECTS = 4, SELECT = 7 };

/* What is asked for */

/* The descriptor of the object on the top; -1: none. */
static int fd_of(lua_State *L) {
  int fd = -1;
  lua_getfield(L, -1, "getfd");
  if (!lua_isnil(L, -1)) {
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
    double n = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : -1;
    fd = n >= 0 && n <= INT32_MAX ? (int)n : -1;
  }
  lua_pop(L, 1);
  return fd;
}

static bool is_dirty(lua_State *L) {
  bool dirty = false;
  lua_getfield(L, -1, "dirty");
  if (!lua_isnil(L, -1)) {
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
    dirty = lua_toboolean(L, -1);
  }
  lua_pop(L, 1);
  return dirty;
}

static void add(lua_State *L, Select *all, int fd, short events) {
  if (all->n == all->size) {
    int size = all->size ? 2 * all->size : 16;
    struct pollfd *fds = mem_realloc(all->fds, (size_t)size * sizeof *fds);
    if (!fds) asy_nomemory(L);
    all->fds = fds;
    all->size = size;
  }
  all->fds[all->n++] = (struct pollfd){.fd = fd, .events = events};
}

/* Those of the list at idx. What is dirty is a result at once. → how many are */
static int collect(lua_State *L, Select *all, int idx, short events) {
  int dirty = 0;
  if (lua_isnil(L, idx)) return 0;
  luaL_checktype(L, idx, LUA_TTABLE);
  for (lua_Integer i = 1; lua_geti(L, idx, i) != LUA_TNIL; i++) {
    int fd = fd_of(L);
    if (fd >= 0) {
      lua_pushvalue(L, -1);
      lua_rawseti(L, OBJECTS, fd);
      if (idx == 1 && is_dirty(L)) {
        lua_pushvalue(L, -1);
        lua_rawseti(L, OBJECTS + idx, ++dirty);
      } else
        add(L, all, fd, events);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return dirty;
}

static int by_fd(const void *a, const void *b) {
  int x = ((const struct pollfd *)a)->fd, y = ((const struct pollfd *)b)->fd;
  return (x > y) - (x < y);
}

/* In order, each descriptor once. */
static void merge(Select *all) {
  int n = 0;
  if (all->n) qsort(all->fds, (size_t)all->n, sizeof *all->fds, by_fd);
  for (int i = 0; i < all->n; i++)
    if (n && all->fds[n - 1].fd == all->fds[i].fd)
      all->fds[n - 1].events = (short)(all->fds[n - 1].events | all->fds[i].events);
    else
      all->fds[n++] = all->fds[i];
  all->n = n;
}

/* Results */

static int look(lua_State *L, Select *all) {
  int found = 0;
  if (all->n && poll(all->fds, (nfds_t)all->n, 0) < 0 && errno != EINTR) luaL_error(L, "select failed");
  for (int i = 0; i < all->n; i++) {
    struct pollfd *p = &all->fds[i];
    if (p->revents & POLLNVAL) luaL_error(L, "select failed");
    if ((p->events & POLLIN && p->revents & READABLE) || (p->events & POLLOUT && p->revents & WRITABLE)) found++;
  }
  return found;
}

/* The list at idx gets its own, after so many, and their places by object. */
static void list_found(lua_State *L, const Select *all, int idx, int n, short events, short revents) {
  for (int i = 0; i < all->n; i++) {
    if (!(all->fds[i].events & events) || !(all->fds[i].revents & revents)) continue;
    lua_rawgeti(L, OBJECTS, all->fds[i].fd);
    lua_rawseti(L, idx, ++n);
  }
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, idx, i);
    lua_pushnumber(L, i);
    lua_settable(L, idx);
  }
}

static int select_over(lua_State *L, const Select *all, int dirty) {
  list_found(L, all, 5, dirty, POLLIN, READABLE);
  list_found(L, all, 6, 0, POLLOUT, WRITABLE);
  lua_settop(L, 6);
  return 2;
}

static int select_late(lua_State *L) {
  lua_settop(L, 6);
  lua_pushliteral(L, "timeout");
  return 3;
}

/* Waiting. stack: ..., [8] until when */

static int select_on(lua_State *L);

static int select_resumed(lua_State *L, Task *t) {
  Select *all = lua_touserdata(L, SELECT);
  spot_left(&all->spot, t);
  return select_on(L);
}

static Abort select_abort(lua_State *L, Task *t) {
  (void)L;
  spot_left(t->on, t);
  return ASY_DETACHED;
}

static void select_giveback(lua_State *L, Task *t) { select_abort(L, t); }

static const WaitKind SELECT_KIND = {
    .name = "socket.select", .finish = select_resumed, .abort = select_abort, .giveback = select_giveback};

/* Has the set watch them all. */
static void arm(lua_State *L, Select *all) {
  bool known = all->spot.fd >= 0;
  if (!known) {
    int set = pollset_open();
    if (set < 0) asy_oserror(L, set, "select", NULL);
    spot_init(&all->spot, set);
  }
  for (int i = 0; i < all->n; i++) {
    const struct pollfd *p = &all->fds[i];
    int events = ((p->events & POLLIN) ? POLLSET_READ : 0) | ((p->events & POLLOUT) ? POLLSET_WRITE : 0);
    int status = pollset_arm(all->spot.fd, p->fd, 0, events, known);
    if (status == UV_EEXIST || status == UV_ENOENT) status = pollset_arm(all->spot.fd, p->fd, 0, events, !known);
    if (status) asy_oserror(L, status, "select", NULL);
  }
}

static bool poll_all(void *arg, uint64_t ns) {
  const Select *all = arg;
  uint64_t ms = ns / 1000000 + 1;
  return poll(all->fds, (nfds_t)all->n, ns == TIMER_NEVER ? -1 : ms > INT32_MAX ? INT32_MAX : (int)ms) != 0;
}

static int select_on(lua_State *L) {
  Select *all = lua_touserdata(L, SELECT);
  uint64_t deadline = (uint64_t)lua_tointeger(L, 8);
  Patience p;
  for (;;) {
    if (look(L, all)) return select_over(L, all, 0);
    switch (asy_face_wait_until(L, deadline, poll_all, all, &p)) {
    case FACE_AGAIN: break;
    case FACE_LATE: return select_late(L);
    case FACE_PARKS: arm(L, all); return asy_spot_park(L, p.task, &all->spot, SPOT_READ, p.deadline, &SELECT_KIND, SELECT);
    }
  }
}

static Select *new_select(lua_State *L) {
  asy_checkalive(L);
  Select *all = lua_newuserdatauv(L, sizeof *all, 0);
  *all = (Select){.spot.fd = -1};
  lua_rawgetp(L, LUA_REGISTRYINDEX, &class_key);
  lua_setmetatable(L, -2);
  return all;
}

static int face_select(lua_State *L) {
  double seconds = luaL_optnumber(L, 3, -1);
  lua_settop(L, 3);
  for (int i = OBJECTS; i < SELECT; i++) lua_newtable(L);
  Select *all = new_select(L);
  int dirty = collect(L, all, 1, POLLIN);
  collect(L, all, 2, POLLOUT);
  merge(all);
  if (dirty) {
    look(L, all);
    return select_over(L, all, dirty);
  }
  lua_pushinteger(L, (lua_Integer)face_after(face_now(ASY_RUNTIME(L)), seconds));
  Task *spent = asy_face_spent(L);
  return spent ? asy_give_way(L, spent, select_on) : select_on(L);
}

static const luaL_Reg functions[] = {{"select", face_select}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__gc", select__gc}, {NULL, NULL}};

void asy_kinds_select(lua_State *L) {
  asy_setfuncs(L, functions);
  lua_newtable(L);
  asy_setfuncs(L, metamethods);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &class_key);
}
