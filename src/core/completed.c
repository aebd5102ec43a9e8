/*
** completed.c - what as_completed stands on: gives several futures in the order in which they end.
**
** The record has a Waiter in the line of each that is pending. It is malloc'ed, since it stands there between calls,
** too; its box holds the futures. One that has ended moves to `ended`, and is for the first task that waits here.
*/
#include <stdio.h>

#include "base/alloc.h"
#include "core/argument.h"
#include "core/error.h"
#include "core/ring.h"
#include "core/waitq.h"
#include "open.h"

#define HANDED 1 /* a task is woken with one that has ended; else with nothing */

struct Completion;

typedef struct Part {
  Waiter waiter; /* in the future's line, then in `ended` */
  struct Completion *all;
  Future *future;
} Part;

typedef struct Completion {
  Waitq line;
  ListNode ended; /* Parts, the first that ended first */
  Timer timer;
  uint64_t loop_id;
  bool timed, timed_out;
  lua_Number seconds;
  int n;           /* parts */
  int total, left; /* different futures; those not given yet */
  int ready, owed; /* in `ended`; of these, for tasks that have been woken and haven't run */
  int pending;     /* the first of those that may not have ended */
  Part parts[];
} Completion;

/* To the first task that waits, if one has ended that nobody is woken for. */
static void hand(Completion *c) {
  if (c->ready <= c->owed || waitq_empty(&c->line)) return;
  c->owed++;
  waitq_hand(&c->line, waitq_first(&c->line), HANDED);
}

static void part_wake(Waiter *w, int code) {
  Completion *c = asy_container(w, Part, waiter)->all;
  (void)code;
  list_remove(&w->link);
  list_append(&c->ended, &w->link);
  c->ready++;
  hand(c);
}

static void on_deadline(Timer *timer) {
  Completion *c = asy_container(timer, Completion, timer);
  c->timed_out = true;
  waitq_wake_all(&c->line, 0);
}

static void stop_timer(const Runtime *rt, Completion *c) {
  Loop *loop = loop_find(rt, c->loop_id);
  if (loop) timer_cancel(&loop->timers, &c->timer);
}

/* Which limit it was is told where the box has it: where the iterator was made, in its second value. */
enum { BOX_FUTURES = 1, BOX_PLACE, BOX_VALUES = BOX_PLACE };

#define BOX lua_upvalueindex(2) /* of the iterator, in what it calls */

/* Pushes the first that has ended, from the box's list. */
static int take(lua_State *L, Completion *c) {
  Part *p = asy_container(list_take(&c->ended), Part, waiter.link);
  lua_getiuservalue(L, BOX, BOX_FUTURES);
  lua_rawgeti(L, -1, (int)(p - c->parts) + 1);
  c->ready--;
  if (--c->left) return 1;
  stop_timer(ASY_RUNTIME(L), c);
  waitq_wake_all(&c->line, 0); /* those who share the iterator have nothing to wait for any more */
  return 1;
}

static int time_is_up(lua_State *L, const Completion *c) {
  char limit[40];
  snprintf(limit, sizeof limit, "%g", (double)c->seconds);
  lua_getiuservalue(L, BOX, BOX_PLACE);
  return asy_error(L, ASY_TIMEOUT, "%d of %d did not end within %s s%s", c->left, c->total, limit,
                   lua_tostring(L, -1));
}

/* The record is gone when the iterator was closed meanwhile. */
static int next_finish(lua_State *L, Task *t) {
  Completion *c = t->on;
  waitq_took(t);
  if (c && t->code == HANDED) {
    c->owed--;
    return take(L, c);
  }
  if (c && c->left) return time_is_up(L, c);
  lua_pushnil(L);
  return 1;
}

static void next_giveback(lua_State *L, Task *t) {
  Completion *c = t->on;
  (void)L;
  if (!c || t->code != HANDED) return;
  waitq_took(t);
  c->owed--;
  hand(c);
}

static const void *woken_by(const Task *t, int i) {
  const Completion *c = t->on;
  if (!c || c->timed || i >= c->n) return NULL;
  return c->parts[i].future->state == FUTURE_PENDING ? (const void *)c->parts[i].future : c;
}

static const WaitKind NEXT = {.name = "as_completed",
                              .finish = next_finish,
                              .abort = asy_waitq_abort,
                              .giveback = next_giveback,
                              .several = true, .may_come = task_waits_for_us, .woken_by = woken_by};

/* Whether all that are left could only be done after t. */
static bool is_hopeless(lua_State *L, Completion *c, Task *t) {
  if (c->timed) return false;
  while (c->pending < c->n && c->parts[c->pending].future->state != FUTURE_PENDING) c->pending++;
  lua_getiuservalue(L, BOX, BOX_FUTURES);
  for (int i = c->pending; i < c->n; i++) {
    if (c->parts[i].future->state != FUTURE_PENDING) continue;
    lua_rawgeti(L, -1, i + 1);
    if (!asy_ring_closes(L, t, -1)) return false;
    lua_pop(L, 1);
  }
  return true;
}

/* The iterator. */
static int next(lua_State *L) {
  Task *t = asy_current_or_null(L);
  Completion *c = *(Completion **)lua_touserdata(L, BOX);
  bool at_hand = !c || !c->left || c->ready > c->owed;
  if (at_hand && t && task_spent(t)) return asy_give_way(L, t, next);
  if (!c || !c->left) {
    lua_pushnil(L);
    return 1;
  }
  if (at_hand) return take(L, c);
  if (c->timed_out) return time_is_up(L, c);
  if (!t) t = asy_current(L); /* raises */
  if (t->loop->id != c->loop_id)
    return asy_error(L, ASY_ERROR, "these are the futures of another event loop");
  if (is_hopeless(L, c, t)) asy_ring_error(L);
  list_append(&c->line.line, &t->waiter.link);
  return asy_park_on(L, t, &NEXT, c, BOX);
}

/* Whoever waits is woken with nothing, and no longer points here. */
static void release(ListNode *line) {
  for (ListNode *node; (node = list_take(line));) asy_container(node, Task, waiter.link)->on = NULL;
}

/* Ends it; the futures go on, and are no longer kept. For the end of the loop's block, and when it is collected. */
static int completion__gc(lua_State *L) {
  Completion **box = asy_test(L, ASY_RUNTIME(L), 1, ASY_COMPLETION), *c = box ? *box : NULL;
  if (!c) return 0;
  *box = NULL;
  lua_pushnil(L);
  lua_setiuservalue(L, 1, BOX_FUTURES);
  for (int i = 0; i < c->n; i++) list_remove(&c->parts[i].waiter.link);
  stop_timer(ASY_RUNTIME(L), c);
  for (Task *t; (t = waitq_first(&c->line));) {
    t->on = NULL;
    task_wake(t, 0);
  }
  release(&c->line.handed);
  mem_free(c);
  return 0;
}

/* Each future is waited for once: whether it has a Waiter of the record's already, the last of its line. */
static bool is_known(const Completion *c, const Future *f) {
  ListNode *last = f->waiters.prev;
  return last != &f->waiters && asy_container(last, Waiter, link)->wake == part_wake &&
         asy_container(last, Part, waiter.link)->all == c;
}

/* stack: list of futures; those that are done have ended, in its order */
static void count_parts(lua_State *L, Completion *c) {
  for (int i = 0; i < c->n; i++) {
    Part *p = &c->parts[i];
    lua_rawgeti(L, 1, i + 1);
    *p = (Part){.waiter = {.wake = part_wake, .blind = true}, .all = c, .future = lua_touserdata(L, -1)};
    lua_pop(L, 1);
    list_init(&p->waiter.link);
    if (is_known(c, p->future)) continue;
    list_append(&p->future->waiters, &p->waiter.link);
    c->left++;
  }
  c->total = c->left;
  for (int i = 0; i < c->n; i++)
    if (list_linked(&c->parts[i].waiter.link) && c->parts[i].future->state != FUTURE_PENDING)
      part_wake(&c->parts[i].waiter, 0);
}

/* Pushes " (as_completed at file:line)", or "" when there is no limit, or no place known. */
static void push_place(lua_State *L, bool timed) {
  size_t n;
  lua_pushliteral(L, "");
  if (!timed) return;
  asy_where(L);
  const char *place = lua_tolstring(L, -1, &n);
  if (n > 2) {
    lua_pushlstring(L, place, n - 2); /* less its ": " */
    lua_pushfstring(L, " (as_completed at %s)", lua_tostring(L, -1));
    lua_replace(L, -4);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* completed(list, timeout) → an iterator over the different futures of a list, and what else `for` wants */
static int completed(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Loop *loop = asy_running(L, rt);
  int n = (int)lua_rawlen(L, 1);
  if (loop->dying || !asy_current_or_null(L)) asy_checkalive(L); /* the quick way: any other task's state lives */
  lua_settop(L, 2);
  Completion **box = lua_newuserdatauv(L, sizeof *box, BOX_VALUES);
  *box = NULL;
  asy_pushmeta(L, rt, ASY_COMPLETION);
  lua_setmetatable(L, 3);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 3, BOX_FUTURES);
  push_place(L, !lua_isnil(L, 2));
  lua_setiuservalue(L, 3, BOX_PLACE);
  lua_pushlightuserdata(L, rt);
  lua_pushvalue(L, 3);
  lua_pushcclosure(L, next, 2);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, 3);
  Completion *c = mem_alloc(sizeof *c + (size_t)n * sizeof *c->parts);
  if (!c) return asy_nomemory(L);
  *c = (Completion){.timer.fire = on_deadline, .timed = !lua_isnil(L, 2), .seconds = lua_tonumber(L, 2),
                    .loop_id = loop->id, .n = n};
  waitq_init(&c->line);
  list_init(&c->ended);
  if (n && c->timed &&
      !timer_set(&loop->timers, &c->timer, loop_deadline(loop, lua_tonumber(L, 2)))) {
    mem_free(c);
    return asy_nomemory(L);
  }
  *box = c;
  count_parts(L, c);
  return 4;
}

static const luaL_Reg functions[] = {{"completed", completed}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {
    {"__gc", completion__gc}, {"__close", completion__gc}, {NULL, NULL}};

/* stack: module */
void asy_open_completed(lua_State *L) {
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_COMPLETION, "asyncio.AsCompleted", NULL, metamethods);
}
