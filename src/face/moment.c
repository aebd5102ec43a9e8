/*
** moment.c - LuaSocket's time: its clock and its two limits, and what a call does that has to wait.
*/
#include "face/moment.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <time.h>

#define MAX_SECONDS 9e9 /* what is longer is for ever */

static uint64_t since_1970(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

double face_time(const Runtime *rt) {
  Loop *loop = rt->running;
  if (!loop) return ns_seconds(since_1970());
  uint64_t now = loop_now(loop);
  if (!loop->epoch) loop->epoch = since_1970() - now;
  return ns_seconds(loop->epoch + now);
}

uint64_t face_now(const Runtime *rt) { return rt->running ? loop_now(rt->running) : uv_hrtime(); }

uint64_t face_after(uint64_t moment, double seconds) {
  if (!(seconds >= 0) || seconds > MAX_SECONDS) return TIMER_NEVER;
  return moment + (uint64_t)(seconds * NS_PER_S);
}

/* "t" counts from the call's start; "b" too, but beside "t" for each wait: as LuaSocket has it. */
static uint64_t deadline_of(const FaceSocket *s, uint64_t since, uint64_t now) {
  if (s->total < 0) return face_after(since, s->block);
  if (s->block < 0) return face_after(since, s->total);
  uint64_t block = face_after(now, s->block), total = face_after(since, s->total);
  return block < total ? block : total;
}

FaceWait asy_face_wait_until(lua_State *L, uint64_t deadline, bool (*blocks)(void *arg, uint64_t ns), void *arg,
                             Patience *p) {
  const Runtime *rt = ASY_RUNTIME(L);
  uint64_t now = face_now(rt);
  if (deadline <= now) return FACE_LATE;
  if (!rt->running) return blocks(arg, deadline == TIMER_NEVER ? TIMER_NEVER : deadline - now) ? FACE_AGAIN : FACE_LATE;
  p->task = asy_current(L); /* raises where nothing can wait */
  p->deadline = deadline;
  return FACE_PARKS;
}

static int milliseconds(uint64_t ns) {
  return ns == TIMER_NEVER ? -1 : ns > (uint64_t)INT_MAX * 1000000 ? INT_MAX : (int)((ns + 999999) / 1000000);
}

typedef struct PollOne {
  int fd;
  short events;
} PollOne;

static bool poll_one(void *arg, uint64_t ns) {
  const PollOne *one = arg;
  struct pollfd p = {.fd = one->fd, .events = one->events};
  return poll(&p, 1, milliseconds(ns)) != 0; /* interrupted: the caller tries again */
}

FaceWait asy_face_wait(lua_State *L, FaceSocket *s, SpotWay way, uint64_t since, Patience *p) {
  PollOne one = {s->spot.fd, way == SPOT_READ ? POLLIN : POLLOUT};
  if (s->block == 0 || p->late) return FACE_LATE;
  return asy_face_wait_until(L, deadline_of(s, since, face_now(ASY_RUNTIME(L))), poll_one, &one, p);
}

Task *asy_face_spent(lua_State *L) {
  Task *t = asy_current_or_null(L);
  return t && task_spent(t) ? t : NULL;
}

/* Functions */

int asy_face_gettime(lua_State *L) {
  lua_pushnumber(L, face_time(ASY_RUNTIME(L)));
  return 1;
}

static int slept(lua_State *L, Task *t) {
  (void)L;
  (void)t;
  return 0;
}

static Abort sleep_abort(lua_State *L, Task *t) {
  (void)L;
  timer_cancel(&t->loop->timers, &t->timer);
  return ASY_DETACHED;
}

static const WaitKind SLEEP = {.name = "socket.sleep", .finish = slept, .abort = sleep_abort};

static bool block_for(void *arg, uint64_t ns) {
  struct timespec t = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
  (void)arg;
  if (ns == TIMER_NEVER) t = (struct timespec){INT_MAX, 0};
  while (nanosleep(&t, &t) && errno == EINTR) continue;
  return true;
}

int asy_face_sleep(lua_State *L) {
  double seconds = luaL_checknumber(L, 1);
  Patience p;
  if (!(seconds > 0)) {
    Task *t = asy_current_or_null(L);
    lua_settop(L, 0);
    lua_pushnil(L);
    return t ? asy_give_way(L, t, NULL) : 0;
  }
  if (asy_face_wait_until(L, face_after(face_now(ASY_RUNTIME(L)), seconds), block_for, NULL, &p) != FACE_PARKS) return 0;
  if (p.deadline != TIMER_NEVER && !timer_set(&p.task->loop->timers, &p.task->timer, p.deadline)) return asy_nomemory(L);
  return asy_park(L, p.task, &SLEEP, NULL);
}

int asy_face_settimeout(lua_State *L, FaceSocket *s) {
  double seconds = luaL_optnumber(L, 2, -1);
  const char *mode = luaL_optstring(L, 3, "b");
  switch (*mode) {
  case 'b': s->block = seconds; break;
  case 'r': case 't': s->total = seconds; break;
  default: luaL_argerror(L, 3, "invalid timeout mode");
  }
  lua_pushnumber(L, 1);
  return 1;
}

int asy_face_gettimeout(lua_State *L, const FaceSocket *s) {
  lua_pushnumber(L, s->block);
  lua_pushnumber(L, s->total);
  return 2;
}
