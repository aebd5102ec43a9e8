/*
** spot.c - descriptors of ours that tasks wait for.
**
** A loop has one Spots: the kernel's set, whose own descriptor libuv polls, and the Spots that are armed by descriptor.
*/
#include "face/spot.h"

#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/pollset.h"
#include "core/error.h"
#include "core/handle.h"

#define BATCH 64 /* events taken in one go */

typedef struct Spots {
  Handle handle;
  uv_poll_t poll;
  int set;
  int n, size; /* Spots, and places for them */
  Spot **at;   /* by descriptor */
} Spots;

static const char *const VERBS[] = {"read", "written"};

static uint8_t bit(SpotWay way) { return (uint8_t)(1 << way); }

void spot_init(Spot *s, int fd) { *s = (Spot){.fd = fd}; }

/* Takes one out that nothing is armed of. */
static void settle(Spot *s) {
  Spots *all = s->all;
  if (!all || s->armed) return;
  all->at[s->fd] = NULL;
  s->all = NULL;
  if (--all->n == 0) uv_unref((uv_handle_t *)&all->poll);
}

static void wake(Spot *s, SpotWay way, int code) {
  Task *t = s->tasks[way];
  s->armed &= (uint8_t)~bit(way);
  if (!t || t->phase != TASK_PARKED) return;
  timer_cancel(&t->loop->timers, &t->timer);
  task_wake(t, code);
}

static int arm(const Spots *all, const Spot *s, bool known) {
  int status = pollset_arm(all->set, s->fd, 0, s->armed, known);
  return status == UV_ENOENT && known ? pollset_arm(all->set, s->fd, 0, s->armed, false) : status;
}

static void fire(Spots *all, const PollsetEvent *e) {
  Spot *s = e->fd < all->size ? all->at[e->fd] : NULL;
  if (!s) return;
  for (SpotWay way = SPOT_READ; way < SPOT_WAYS; way++)
    if (e->events & s->armed & bit(way)) wake(s, way, SPOT_READY);
  if (s->armed && arm(all, s, true))
    for (SpotWay way = SPOT_READ; way < SPOT_WAYS; way++)
      if (s->armed & bit(way)) wake(s, way, SPOT_READY); /* it will find out */
  settle(s);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  Spots *all = asy_container(poll, Spots, poll);
  PollsetEvent batch[BATCH];
  int n;
  (void)status;
  (void)events;
  do {
    n = pollset_take(all->set, batch, BATCH);
    for (int i = 0; i < n; i++) fire(all, &batch[i]);
  } while (n == BATCH);
}

static void destroy(Handle *h) {
  Spots *all = asy_container(h, Spots, handle);
  close(all->set);
  mem_free(all->at);
  mem_free(all);
}

/* The loop closes; its tasks have ended, or will never run. */
static void shut(Shutter *shutter) {
  Handle *h = asy_container(shutter, Handle, shutter);
  Spots *all = asy_container(h, Spots, handle);
  for (int fd = 0; fd < all->size; fd++) {
    Spot *s = all->at[fd];
    if (!s) continue;
    s->armed = 0;
    settle(s);
  }
  h->loop->spots = NULL;
  handle_close(h);
}

static const char *tell(const Handle *h, char *text, size_t size) {
  snprintf(text, size, "%d sockets of asyncio.socket", asy_container(h, Spots, handle)->n);
  return NULL;
}

/* The loop's, made at the first need. */
static Spots *spots_of(lua_State *L, Loop *loop) {
  if (loop->spots) return loop->spots;
  Spots *all = mem_calloc(1, sizeof *all);
  if (!all) asy_nomemory(L);
  int status = all->set = pollset_open();
  if (status >= 0) {
    handle_init(&all->handle, loop, (uv_handle_t *)&all->poll, destroy, shut);
    status = uv_poll_init(&loop->uv, &all->poll, all->set);
    if (status) close(all->set);
  }
  if (status) {
    mem_free(all);
    asy_oserror(L, status, "poll", NULL);
  }
  all->handle.tell = tell;
  handle_opened(&all->handle);
  handle_unbox(&all->handle); /* nobody's but the loop's */
  uv_poll_start(&all->poll, UV_READABLE, on_poll);
  uv_unref((uv_handle_t *)&all->poll);
  return loop->spots = all;
}

/* Room for that descriptor. */
static void make_room(lua_State *L, Spots *all, int fd) {
  int size = all->size ? all->size : 64;
  if (fd < all->size) return;
  while (size <= fd) size *= 2;
  Spot **at = mem_realloc(all->at, (size_t)size * sizeof(Spot *));
  if (!at) asy_nomemory(L);
  for (int i = all->size; i < size; i++) at[i] = NULL;
  all->at = at;
  all->size = size;
}

/* In a forked child: who waits in the parent's loop goes on there. */
static bool is_parents(const Loop *loop) { return loop && loop->copied; }

static void forsake(Spot *s, SpotWay way) {
  s->tasks[way] = NULL;
  s->armed &= (uint8_t)~bit(way);
  settle(s);
}

bool spot_is_claimed(const Spot *s, SpotWay way) { return s->tasks[way] && !is_parents(s->tasks[way]->loop); }

void asy_spot_claim(lua_State *L, Spot *s, SpotWay way) {
  Task *t = s->tasks[way];
  if (!t) return;
  if (!spot_is_claimed(s, way)) return forsake(s, way);
  asy_task_push(L, t);
  asy_task_name(L, t, -1);
  asy_error(L, ASY_BUSY, "the socket is being %s by task '%s'", VERBS[way], lua_tostring(L, -1));
}

/* Has the kernel tell of one way more. Raises if that fails: nothing has changed then. */
static void add_way(lua_State *L, Loop *loop, Spot *s, SpotWay way) {
  Spots *all = spots_of(L, loop);
  make_room(L, all, s->fd);
  for (SpotWay other = SPOT_READ; s->all && s->all != all && is_parents(s->all->handle.loop); other++) forsake(s, other);
  if (s->all ? s->all != all : all->at[s->fd] != NULL)
    asy_error(L, ASY_BUSY, "descriptor %d is waited for by way of another object, or in another loop", s->fd);
  s->armed |= bit(way);
  int status = arm(all, s, s->known == loop->id);
  if (status) {
    s->armed &= (uint8_t)~bit(way);
    asy_oserror(L, status, "poll", NULL);
  }
  s->known = loop->id;
  if (s->all) return;
  s->all = all;
  all->at[s->fd] = s;
  if (all->n++ == 0) uv_ref((uv_handle_t *)&all->poll);
}

int asy_spot_park(lua_State *L, Task *t, Spot *s, SpotWay way, uint64_t deadline, const WaitKind *kind, int idx) {
  add_way(L, t->loop, s, way);
  if (deadline != TIMER_NEVER && !timer_set(&t->loop->timers, &t->timer, deadline)) {
    s->armed &= (uint8_t)~bit(way);
    settle(s);
    return asy_nomemory(L);
  }
  s->tasks[way] = t;
  return asy_park_on(L, t, kind, s, idx);
}

bool spot_left(Spot *s, Task *t) {
  timer_cancel(&t->loop->timers, &t->timer);
  for (SpotWay way = SPOT_READ; way < SPOT_WAYS; way++)
    if (s->tasks[way] == t) {
      forsake(s, way);
      return !is_parents(t->loop);
    }
  return false;
}

int spot_release(Spot *s) {
  int fd = s->fd;
  for (SpotWay way = SPOT_READ; way < SPOT_WAYS; way++) wake(s, way, SPOT_CLOSED);
  settle(s);
  s->fd = -1;
  s->known = 0;
  return fd;
}

void spot_close(Spot *s) {
  int fd = spot_release(s);
  if (fd >= 0) close(fd);
}
