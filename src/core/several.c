/*
** several.c - one task waits for several futures: the record of several.h; and what gather and wait stand on.
*/
#include "core/several.h"

#include "core/cancel.h"
#include "core/error.h"
#include "core/ring.h"
#include "core/trace.h"
#include "open.h"

static bool is_decisive(const Several *s, const Future *f) {
  return s->until == UNTIL_FIRST || (s->until == UNTIL_FAILED && f->state == FUTURE_ERROR) ||
         (s->until == UNTIL_UNFORTUNATE && f->state > FUTURE_RESULT) ||
         (s->until == UNTIL_RESULT && f->state == FUTURE_RESULT);
}

/* Once a cancellation has been passed on, all are waited for. */
static bool is_enough(const Several *s) { return !s->left || (s->first >= 0 && !s->task->asked); }

/* The task's timer may be due before its next step: a task is woken once. */
static void wake(Several *s) {
  if (s->timed) timer_cancel(&s->task->loop->timers, &s->task->timer);
  task_wake(s->task, 0);
}

static void part_wake(Waiter *w, int code) {
  Part *p = asy_container(w, Part, waiter);
  Several *s = p->all;
  (void)code;
  list_remove(&w->link);
  s->left--;
  if (s->first < 0 && is_decisive(s, p->future)) s->first = (int)(p - s->parts);
  if (s->task->phase == TASK_PARKED && is_enough(s)) wake(s);
}

void several_detach(Task *t) {
  Several *s = t->on;
  for (int i = 0; i < s->n; i++) list_remove(&s->parts[i].waiter.link);
  if (s->timed && t->loop) timer_cancel(&t->loop->timers, &t->timer);
}

Abort asy_several_abort(lua_State *L, Task *t) {
  (void)L;
  if (t->phase == TASK_PARKED && is_enough(t->on)) { /* what was asked to stop has ended by itself */
    wake(t->on);
    return ASY_PENDING;
  }
  several_detach(t);
  return ASY_DETACHED;
}

void asy_several_giveback(lua_State *L, Task *t) {
  (void)L;
  several_detach(t);
}

Future *several_awaited(const Task *t, int i) {
  const Several *s = t->on;
  return i < s->n ? s->parts[i].future : NULL;
}

/* In the place of what has ended the record itself, which nobody else has. */
const void *several_woken_by(const Task *t, int i) {
  const Several *s = t->on;
  if (s->timed || i >= s->n) return NULL;
  return s->parts[i].future->state == FUTURE_PENDING ? (const void *)s->parts[i].future : s;
}

/* wait: some may do, or some time. */
static Future *awaited_if_all(const Task *t, int i) {
  const Several *s = t->on;
  return s->until == UNTIL_ALL && !s->timed ? several_awaited(t, i) : NULL;
}

Several *asy_several_new(lua_State *L, Until until, int list, size_t more) {
  int n = (int)lua_rawlen(L, list);
  Several *s = lua_newuserdatauv(L, sizeof *s + (size_t)n * sizeof *s->parts + more, 1);
  *s = (Several){.until = until, .n = n, .first = -1};
  lua_pushvalue(L, list);
  lua_setiuservalue(L, -2, 1);
  for (int i = 0; i < n; i++) {
    Part *p = &s->parts[i];
    lua_rawgeti(L, list, i + 1);
    *p = (Part){.waiter.wake = part_wake, .all = s, .future = lua_touserdata(L, -1)};
    lua_pop(L, 1);
    list_init(&p->waiter.link);
    if (p->future->state == FUTURE_PENDING)
      s->left++;
    else if (s->first < 0 && is_decisive(s, p->future))
      s->first = i;
  }
  return s;
}

/* Leaves out those that are done, and all but the first of several places of one. */
void several_begin(Several *s, bool blind) {
  s->left = 0;
  for (int i = 0; i < s->n; i++) {
    Part *p = &s->parts[i];
    p->waiter.blind = blind;
    if (p->future->state != FUTURE_PENDING) continue;
    ListNode *last = p->future->waiters.prev;
    bool twice = last != &p->future->waiters && asy_container(last, Waiter, link)->wake == part_wake &&
                 asy_container(last, Part, waiter.link)->all == s;
    if (twice) continue;
    list_append(&p->future->waiters, &p->waiter.link);
    s->left++;
  }
}

/* Whether nobody need wait for those of one that hasn't begun. */
static bool is_over(const Several *s) { return !s->left || s->first >= 0; }

/* The call is made again, with its three arguments. */
static int give_way(lua_State *L, Task *t, lua_CFunction again) {
  lua_settop(L, 3);
  return asy_give_way(L, t, again);
}

/* gather */

/* Pushes the first value that the future at idx ended with, or its error. */
static void push_outcome(lua_State *L, const Future *f, int idx) {
  lua_getiuservalue(L, idx, FUTURE_UV_VALUE);
  if (!f->packed || f->state != FUTURE_RESULT) return;
  lua_rawgeti(L, -1, 1);
  lua_replace(L, -2);
}

/* stack: list of futures, tolerant, as list, ... → their results; raises the error of the one that failed */
static int gathered(lua_State *L, const Several *s) {
  int n = s->n;
  bool as_list = lua_toboolean(L, 3);
  if (s->first >= 0) {
    Future *f = s->parts[s->first].future;
    lua_rawgeti(L, 1, s->first + 1);
    asy_trace_pass(L, f, lua_gettop(L));
    return asy_future_results(L, f, -1); /* raises */
  }
  if (!as_list) luaL_checkstack(L, n + 4, "too many results");
  if (as_list) {
    lua_createtable(L, n, 1);
    lua_pushinteger(L, n);
    lua_setfield(L, -2, "n");
  }
  int to = lua_gettop(L);
  for (int i = 0; i < n; i++) {
    lua_rawgeti(L, 1, i + 1);
    push_outcome(L, s->parts[i].future, -1);
    lua_replace(L, -2);
    if (as_list) lua_rawseti(L, to, i + 1);
  }
  return as_list ? 1 : n;
}

static int gather_finish(lua_State *L, Task *t) {
  const Several *s = t->on;
  several_detach(t);
  if (t->asked && asy_cancel_due(L, t)) return asy_task_raise(L, t);
  if (t->asked) { /* its request was taken back */
    asy_cancelled_push(L, 0);
    return lua_error(L);
  }
  return gathered(L, s);
}

static const WaitKind GATHER = {.name = "gather", .finish = gather_finish, .abort = asy_several_abort,
                                .giveback = asy_several_giveback, .awaited = several_awaited, .several = true,
                                .forwards = true, .may_come = task_waits_for_us, .woken_by = several_woken_by};

/* gather(list, tolerant, as_list) → the results of a list of futures, once all have ended; raises the error of the
** first that fails, unless `tolerant`. Their errors count as looked at, those of the others, too. */
static int gather(lua_State *L) {
  Task *t = asy_current_or_null(L);
  lua_settop(L, 3);
  Several *s = asy_several_new(L, lua_toboolean(L, 2) ? UNTIL_ALL : UNTIL_UNFORTUNATE, 1, 0);
  bool over = is_over(s);
  if (over && t && task_spent(t)) return give_way(L, t, gather);
  if (!over && !t) t = asy_current(L); /* raises */
  for (int i = 0; i < s->n; i++) s->parts[i].future->looked = true;
  if (over) return gathered(L, s);
  s->task = t;
  several_begin(s, false);
  return asy_park_on(L, t, &GATHER, s, 4);
}

/* wait */

/* stack: list of futures, ... → those that are done, the others */
static int waited(lua_State *L, const Several *s) {
  int ended = 0;
  lua_createtable(L, s->n, 0);
  lua_newtable(L);
  for (int i = 0; i < s->n; i++) {
    lua_rawgeti(L, 1, i + 1);
    if (s->parts[i].future->state == FUTURE_PENDING)
      lua_rawseti(L, -2, i + 1 - ended);
    else
      lua_rawseti(L, -3, ++ended);
  }
  return 2;
}

static int wait_finish(lua_State *L, Task *t) {
  several_detach(t);
  return waited(L, t->on);
}

static const WaitKind WAIT = {.name = "wait", .finish = wait_finish, .abort = asy_several_abort,
                              .giveback = asy_several_giveback, .awaited = awaited_if_all, .several = true,
                              .may_come = task_waits_for_us, .woken_by = several_woken_by};

/* Whether all of several could only be done after t, the one that waits for the first of them. */
static bool is_hopeless(lua_State *L, const Several *s, Task *t) {
  for (int i = 0; i < s->n; i++) {
    lua_rawgeti(L, 1, i + 1);
    if (!asy_ring_closes(L, t, -1)) return false;
    lua_pop(L, 1);
  }
  return true;
}

/* wait(list, until, timeout) → those of a list of futures that are done, and the others, once enough have ended or
** the time is up. That is no look at their errors. */
static int wait(lua_State *L) {
  static const char *const names[] = {"ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION", NULL};
  Until until = (Until)luaL_checkoption(L, 2, "ALL_COMPLETED", names);
  Task *t = asy_current_or_null(L);
  lua_settop(L, 3);
  Several *s = asy_several_new(L, until, 1, 0);
  s->timed = !lua_isnil(L, 3);
  if (is_over(s)) return t && task_spent(t) ? give_way(L, t, wait) : waited(L, s);
  if (!t) t = asy_current(L); /* raises */
  s->task = t;
  if (!s->timed && until != UNTIL_ALL && is_hopeless(L, s, t)) asy_ring_error(L);
  if (s->timed && !timer_set(&t->loop->timers, &t->timer, loop_deadline(t->loop, lua_tonumber(L, 3))))
    return asy_nomemory(L);
  several_begin(s, true);
  return asy_park_on(L, t, &WAIT, s, 4);
}

/* Tasks for them */

/* Whether the value at idx can be waited for, without a word said. */
static bool is_plain(lua_State *L, const Loop *loop, int idx, bool all) {
  const Runtime *rt = ASY_RUNTIME(L);
  const Future *f = asy_tofuture(L, rt, idx);
  if (!f || f->state != FUTURE_PENDING) return f != NULL;
  Task *t = rt->current;
  return f->loop_id == loop->id && (!t || (f != &t->future && !(all && asy_ring_closes(L, t, idx))));
}

/* args: loop (light), list, n; makes tasks of the functions in it */
static int make_tasks(lua_State *L) {
  Loop *loop = lua_touserdata(L, 1);
  for (int i = 1, n = (int)lua_tointeger(L, 3); i <= n; i++, lua_settop(L, 3)) {
    if (lua_rawgeti(L, 2, i) != LUA_TFUNCTION) continue;
    asy_task_new(L, loop, 0);
    if (loop->debug) asy_debug_note(L, -1, "made_at", 1);
    lua_rawseti(L, 2, i);
  }
  return 0;
}

/* args: list, number; its tasks with a higher one shall not run */
static int unmake_tasks(lua_State *L) {
  lua_Integer number = lua_tointeger(L, 2);
  for (int i = 1; lua_rawgeti(L, 1, i) != LUA_TNIL; i++, lua_settop(L, 2)) {
    Task *t = asy_test(L, asy_runtime(L), -1, ASY_TASK);
    if (t && (lua_Integer)t->number > number && t->phase != TASK_ENDED) asy_task_cancel(L, t, 0);
  }
  return 0;
}

/* stack: ..., list of n functions, tasks and futures → the same, with tasks in place of its functions, `made` in all */
static int start(lua_State *L, Loop *loop, lua_Integer n, bool made) {
  if (!made) return 1;
  int list = lua_gettop(L);
  lua_Integer before = (lua_Integer)loop->rt->last_task;
  lua_pushcfunction(L, make_tasks);
  lua_pushlightuserdata(L, loop);
  lua_pushvalue(L, list);
  lua_pushinteger(L, n);
  if (lua_pcall(L, 3, 0, 0) == LUA_OK) return 1;
  lua_pushcfunction(L, unmake_tasks);
  lua_pushvalue(L, list);
  lua_pushinteger(L, before);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) lua_pop(L, 1);
  return lua_error(L);
}

/* start_all(list, n, all) → the futures and tasks in the list, and tasks for its functions; nothing when there is
** anything else in it, or one that can't be waited for (with `all`: if all of them must end) */
static int start_all(lua_State *L) {
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  lua_Integer n = luaL_checkinteger(L, 2);
  bool all = lua_toboolean(L, 3), made = false;
  lua_settop(L, 3);
  if (!lua_istable(L, 1) || lua_getmetatable(L, 1)) return 0;
  lua_createtable(L, (int)n, 0);
  for (int i = 1; i <= n; i++) {
    if (lua_rawgeti(L, 1, i) == LUA_TFUNCTION)
      made = true;
    else if (!is_plain(L, loop, 5, all))
      return 0;
    lua_rawseti(L, 4, i);
  }
  return start(L, loop, n, made);
}

/* start_list(list, all) → the same of a list that is not empty and has nothing but its values, or nothing */
static int start_list(lua_State *L) {
  lua_Integer n = lua_istable(L, 1) ? (lua_Integer)lua_rawlen(L, 1) : 0, keys = 0;
  lua_settop(L, 2);
  if (!n) return 0;
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) keys++;
  if (keys != n) return 0;
  lua_pushinteger(L, n);
  lua_insert(L, 2);
  return start_all(L);
}

/* start_each(...) → the same of its arguments, all of which must end */
static int start_each(lua_State *L) {
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  int n = lua_gettop(L);
  bool made = false;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_createtable(L, n, 0);
  for (int i = 1; i <= n; i++) {
    if (lua_isfunction(L, i))
      made = true;
    else if (!is_plain(L, loop, i, true))
      return 0;
    lua_pushvalue(L, i);
    lua_rawseti(L, n + 1, i);
  }
  return start(L, loop, n, made);
}

static const luaL_Reg functions[] = {{"gather", gather}, {"wait", wait}, {"start_all", start_all},
                                     {"start_list", start_list}, {"start_each", start_each}, {NULL, NULL}};

/* stack: module */
void asy_open_several(lua_State *L) { asy_setfuncs(L, functions); }
