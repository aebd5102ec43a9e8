/*
** timeout.c - asyncio.Timeout: a limit of time for a block.
**
** When its time is up a scope asks its task for a cancellation with an error object of its own, and knows it again by
** identity when it comes out of the block: that one, and no other, becomes a TimeoutError.
**
** From being made until it is left, or its task has ended, a scope is among its task's guards, and the loop holds it.
*/
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/report.h"
#include "core/scopes.h"
#include "core/trace.h"
#include "open.h"

static const char NAME[] = "asyncio.Timeout";

#define OVERDUE 5 /* seconds after which a block that goes on is reported */

enum { UV_REQUEST = 1, UV_TASK }; /* user values: its request; its task, once it is adrift */

typedef enum TimeoutOf { OF_USER, OF_WAIT_FOR, OF_LIBRARY } TimeoutOf;

typedef struct Timeout {
  Task *wakes;     /* its task while that may be cancelled by it, else NULL. First: dev/stuck.c finds it there */
  Timer timer;     /* for its deadline; then for the report */
  lua_Number began, deadline; /* seconds of the loop's clock */
  Ready ready;     /* what the timer leaves to the loop */
  Guard guard;     /* in no list when the scope has been left, or its task has ended */
  Loop *loop;      /* valid while the guard is in a list */
  Task *task;      /* likewise, and while it is adrift */
  const char *changed; /* how its deadline was, or NULL */
  uint64_t mark;   /* how many shields the task had opened: see shielded.c */
  uint32_t slot;   /* where the loop holds it */
  uint8_t of;      /* TimeoutOf */
  bool limited;    /* it has a deadline */
  bool due;        /* that is over, and what follows of it has not begun */
  bool expired;    /* the task has been asked */
  bool adrift;     /* a late one of the library's, which may never be left: nobody holds it but who uses it */
  bool closed;
  int line;        /* where it was made, or wait_for called; 0: that isn't known */
  char source[LUA_IDSIZE];
} Timeout;

/* n: how many values the method takes */
static Timeout *self(lua_State *L, int n) {
  asy_nargs(L, n);
  return asy_self(L, ASY_RUNTIME(L), ASY_TIMEOUT_SCOPE, NAME);
}

static bool is_open(const Timeout *s) { return list_linked(&s->guard.link); }

/* Its task, unless that has ended. */
static Task *owner(const Timeout *s) {
  return is_open(s) || (s->adrift && s->task->phase != TASK_ENDED) ? s->task : NULL;
}

static void disarm(Timeout *s) {
  timer_cancel(&s->loop->timers, &s->timer);
  list_remove(&s->ready.link);
  s->due = false;
  s->wakes = NULL;
}

/* Sets the timer for its deadline. False: there is no memory, and it is as it was: a timer that was set has room. */
static bool arm(Timeout *s) {
  timer_cancel(&s->loop->timers, &s->timer);
  if (s->limited && !timer_set(&s->loop->timers, &s->timer, loop_moment(s->deadline))) return false;
  list_remove(&s->ready.link);
  s->due = false;
  s->wakes = s->limited ? s->task : NULL;
  return true;
}

/* Neither loop nor task have it any more. It may be garbage then, unless it is on the stack. */
static void let_go(lua_State *L, Timeout *s) {
  disarm(s);
  list_remove(&s->guard.link);
  asy_release(L, s->loop, s->slot);
}

/* Its time is up */

/* args: loop (light), scope (light), task */
static int report_overdue(lua_State *L) {
  const Timeout *s = lua_touserdata(L, 2);
  Task *t = s->task;
  char text[160];
  snprintf(text, sizeof text, "a block goes on, %d s after its time was up: %s", OVERDUE,
           t->shield && t->requests ? "it is shielded" : "it catches cancellations, or cleans up");
  asy_task_push_traceback(L, t);
  asy_report(L, lua_touserdata(L, 1),
             (Report){.message = text, .key = "task", .object = 3, .source = lua_tostring(L, -1)});
  return 0;
}

static void overdue(lua_State *L, Loop *loop, Ready *ready) {
  Timeout *s = asy_container(ready, Timeout, ready);
  lua_rawgeti(L, ASY_HELD, s->slot);
  lua_pushcfunction(L, report_overdue);
  lua_pushlightuserdata(L, loop);
  lua_pushlightuserdata(L, s);
  asy_task_push(L, s->task);
  if (s->of != OF_USER) { /* it may stand in a coroutine that is garbage */
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, -6, UV_TASK);
    s->adrift = true;
    let_go(L, s);
  }
  if (lua_pcall(L, 3, 0, 0) != LUA_OK) lua_pop(L, 1); /* out of memory */
  lua_pop(L, 1);
}

/* Where wait_for was called. stack: ..., scope */
static void find_site(lua_State *L, Timeout *s) {
  lua_Debug ar;
  if (!asy_task_find_site(L, s->task, -1, &ar)) return;
  s->line = ar.currentline;
  memcpy(s->source, ar.short_src, sizeof s->source);
}

/* Pushes what the block gets. */
static void push_request(lua_State *L) {
  asy_error_push(L, ASY_CANCELLED, "the time is up");
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, "scope"); /* the TimeoutError comes from where this is raised */
}

static void expire(lua_State *L, Loop *loop, Ready *ready) {
  Timeout *s = asy_container(ready, Timeout, ready);
  int top = lua_gettop(L);
  lua_rawgeti(L, ASY_HELD, s->slot);
  if (s->of == OF_WAIT_FOR) find_site(L, s);
  push_request(L);
  if (s->due) { /* no finaliser has closed it, or moved it */
    disarm(s);
    s->ready.run = overdue;
    if (!timer_set(&loop->timers, &s->timer, loop_deadline(loop, OVERDUE))) asy_nomemory(L);
    s->expired = true;
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, top + 1, UV_REQUEST);
    asy_task_push(L, s->task);
    lua_insert(L, -2);
    asy_task_request(L, s->task, s->mark);
  }
  lua_settop(L, top);
}

static void on_deadline(Timer *timer) {
  Timeout *s = asy_container(timer, Timeout, timer);
  s->due = true;
  loop_ready(s->loop, &s->ready);
}

/* Its task has ended without leaving it. stack: ..., task */
static void forgotten(lua_State *L, Loop *loop, Guard *g, bool quiet) {
  Timeout *s = asy_container(g, Timeout, guard);
  Timeout copy = *s;
  s->closed = true;
  let_go(L, s);
  if (!quiet && copy.of == OF_USER) asy_scope_report(L, loop, NAME, copy.source, copy.line);
}

/* Making one */

/* The argument as seconds; false: it is nil, or none. */
static bool check_seconds(lua_State *L, int idx, const char *name, int arg, lua_Number *seconds) {
  if (lua_isnoneornil(L, idx)) return false;
  *seconds = lua_type(L, idx) == LUA_TNUMBER ? lua_tonumber(L, idx) : NAN;
  if (isnan(*seconds))
    asy_argerror_of(L, name, arg, lua_pushfstring(L, "number of seconds or nil expected, got %s", asy_kindof(L, idx)));
  return true;
}

static lua_Number seconds_now(const Loop *loop) { return ns_seconds(loop_now(loop)); }

/* Where nobody can be told that it should be used in a task. */
static Task *check_owner(lua_State *L, const Runtime *rt) {
  if (!rt->current) asy_error(L, ASY_ERROR, "a timeout can only be used inside a task" ASY_MAKE_IT_THERE);
  return rt->current;
}

/* Pushes an open scope of the running task; deadline: for one that has no limit, any. */
static int open_scope(lua_State *L, Runtime *rt, TimeoutOf of, bool limited, lua_Number began, lua_Number deadline) {
  Task *t = check_owner(L, rt);
  Timeout *s = lua_newuserdatauv(L, sizeof *s, UV_TASK);
  memset(s, 0, offsetof(Timeout, source));
  s->task = t;
  s->loop = t->loop;
  s->guard.forgotten = forgotten;
  list_init(&s->guard.link);
  s->timer.fire = on_deadline;
  s->ready.run = expire;
  list_init(&s->ready.link);
  s->began = began;
  s->deadline = deadline;
  s->limited = limited;
  s->of = (uint8_t)of;
  s->mark = t->shields;
  *s->source = 0;
  asy_pushmeta(L, rt, ASY_TIMEOUT_SCOPE);
  lua_setmetatable(L, -2);
  if (of == OF_USER) asy_scope_place(L, &s->line, s->source);
  asy_held_table(L, s->loop); /* which runs, so that it has one */
  lua_pushvalue(L, -2);
  s->slot = asy_hold_in(L, s->loop, lua_gettop(L) - 1);
  lua_pop(L, 1);
  list_append(&t->guards, &s->guard.link);
  if (!arm(s)) {
    let_go(L, s);
    asy_nomemory(L);
  }
  return 1;
}

/// A block that may take so long: `local _ <close> = asyncio.timeout(2)`.
// What still waits then is cancelled, and TimeoutError leaves the block, which says after how long in all,
// whether the limit had been rescheduled or extended, and where it was made.
// @function timeout
// @tparam ?number delay seconds; nil: no limit yet, see `Timeout:reschedule`
// @treturn Timeout
// @usage
// local function slow_answer()
//   local _ <close> = asyncio.timeout(2)
//   asyncio.sleep(3600)
// end
// print(asyncio.isinstance(select(2, pcall(slow_answer)), asyncio.TimeoutError)) --> true
static int timeout_new(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  lua_Number delay = 0;
  bool limited = check_seconds(L, 1, "timeout", 1, &delay);
  lua_Number began = seconds_now(asy_running(L, rt));
  return open_scope(L, rt, OF_USER, limited, began, began + delay);
}

/// The same, with a moment of the loop's clock.
// @function timeout_at
// @tparam ?number when seconds, as of `Loop:time`
// @treturn Timeout
static int timeout_at(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  lua_Number when = 0;
  bool limited = check_seconds(L, 1, "timeout_at", 1, &when);
  return open_scope(L, rt, OF_USER, limited, seconds_now(asy_running(L, rt)), when);
}

/* limit(seconds) → for wait_for, which closes it: a scope, or nil where there is no limit */
static int timeout_limit(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  lua_Number began = seconds_now(asy_running(L, rt));
  if (lua_isnoneornil(L, 1)) {
    check_owner(L, rt);
    return 0;
  }
  return open_scope(L, rt, OF_WAIT_FOR, true, began, began + lua_tonumber(L, 1));
}

/* Methods */

/// When it will expire, in seconds of the loop's clock; nil: never.
// @function Timeout:when
// @treturn ?number
static int timeout_when(lua_State *L) {
  const Timeout *s = self(L, 1);
  if (!s->limited) return 0;
  lua_pushnumber(L, s->deadline);
  return 1;
}

static void check_open(lua_State *L, const Timeout *s) {
  if (s->closed || s->expired)
    asy_error(L, ASY_INVALID_STATE, "cannot change a timeout that has %s", s->closed ? "ended" : "expired");
}

static int change(lua_State *L, Timeout *s, const char *how, bool limited, lua_Number deadline) {
  if (!is_open(s)) return asy_error(L, ASY_CLOSED, "the event loop is closed");
  lua_Number before = s->deadline;
  bool was_limited = s->limited;
  s->deadline = deadline;
  s->limited = limited;
  if (!arm(s)) {
    s->deadline = before;
    s->limited = was_limited;
    return asy_nomemory(L);
  }
  s->changed = how;
  return 0;
}

/// Changes when it will expire. Raises InvalidStateError once it has expired or ended.
// @function Timeout:reschedule
// @tparam ?number when seconds, as of `Loop:time`; nil: never
static int timeout_reschedule(lua_State *L) {
  Timeout *s = self(L, 2);
  lua_Number when = 0;
  bool limited = check_seconds(L, 2, "reschedule", 1, &when);
  check_open(L, s);
  return change(L, s, "rescheduled", limited, when);
}

/// Gives it more time: it expires so much later than it would have.
// Raises InvalidStateError once it has expired or ended, and when it has no deadline.
// @function Timeout:extend
// @tparam number seconds 0 or more; `reschedule` makes it earlier
// @usage
// local limit <close> = asyncio.timeout(2)
// asyncio.sleep(1)
// limit:extend(3) -- it got interesting
// asyncio.sleep(3)
// print(limit:expired()) --> false
static int timeout_extend(lua_State *L) {
  Timeout *s = self(L, 2);
  lua_Number seconds = lua_type(L, 2) == LUA_TNUMBER ? lua_tonumber(L, 2) : NAN;
  if (isnan(seconds))
    asy_argerror_of(L, "extend", 1, lua_pushfstring(L, "number of seconds, 0 or more, expected, got %s",
                                                    asy_kindof(L, 2)));
  if (seconds < 0)
    asy_argerror_of(L, "extend", 1, lua_pushfstring(L, "number of seconds, 0 or more, expected, got %f", seconds));
  check_open(L, s);
  if (!s->limited)
    return asy_error(L, ASY_INVALID_STATE, "the timeout has no deadline: reschedule(when) sets one");
  return change(L, s, "extended", true, s->deadline + seconds);
}

/// Whether its time ran out before the block was left.
// @function Timeout:expired
// @treturn boolean
static int timeout_expired(lua_State *L) {
  lua_pushboolean(L, self(L, 1)->expired);
  return 1;
}

/* Leaving it */

/* Seconds for people: what was computed from clock readings has digits that nobody chose. */
static void round_seconds(lua_Number seconds, char *text, size_t size) {
  if (seconds < 0.001) {
    snprintf(text, size, "0");
  } else if (seconds < 1) {
    snprintf(text, size, "%.3g", seconds);
  } else {
    size_t n = (size_t)snprintf(text, size, "%.3f", seconds);
    while (text[n - 1] == '0') n--;
    text[n - (text[n - 1] == '.')] = 0;
  }
}

/* Pushes the error that tells which limit it was. */
static void push_time_is_up(lua_State *L, const Timeout *s) {
  char after[64], place[LUA_IDSIZE + 40] = "";
  round_seconds(s->deadline - s->began, after, sizeof after);
  if (s->line)
    snprintf(place, sizeof place, " (%s at %s:%d)", s->of == OF_USER ? "timeout" : "wait_for", s->source, s->line);
  asy_error_push(L, ASY_TIMEOUT, "the time is up after %s s%s%s%s", after, s->changed ? ", as " : "",
                 s->changed ? s->changed : "", place);
  asy_made_note(L, 0);
}

/* The block was left as if nothing had been, after the request was raised in it. task: its index */
static void report_swallowed(lua_State *L, const Task *t, int task) {
  const char *text = NULL;
  if (t->caught && asy_future_extra(L, task, "caught_at") == LUA_TSTRING)
    text = lua_pushfstring(L, "caught at:\n%s", lua_tostring(L, -1));
  asy_report(L, t->loop,
             (Report){.message = "the time of a block was up, and it caught the CancelledError: it should let that pass "
                                 "(asyncio.pcall does)",
                      .key = "task", .object = task, .source = text});
}

/* It has expired: takes its request back. stack: scope, error, request */
static void withdraw(lua_State *L, Task *t) {
  asy_task_push(L, t);
  bool undelivered = asy_scope_withdraw(L, t, 4, 3);
  if (lua_isnil(L, 2) && !undelivered && !t->told && t->loop->debug) report_swallowed(L, t, 4);
  lua_settop(L, 3);
}

/* args: scope, error → the TimeoutError that is to be raised in its place, or nothing */
static int leave(lua_State *L) {
  Timeout *s = lua_touserdata(L, 1);
  if (s->closed) return 0;
  Task *t = owner(s);
  s->closed = true;
  if (is_open(s)) let_go(L, s);
  if (!s->expired) return 0;
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, UV_REQUEST);
  if (t) withdraw(L, t);
  if (!lua_rawequal(L, 2, 3)) return 0;
  push_time_is_up(L, s);
  asy_trace_replace(L, 2, 4);
  return 1;
}

static int timeout__close(lua_State *L) {
  self(L, 2);
  return leave(L) ? lua_error(L) : 0;
}

/* stack: scope, message handler, true, results or error. n: of the values false and the TimeoutError, how many */
static int within_done(lua_State *L, int status, lua_KContext n) {
  if (status == LUA_OK || status == LUA_YIELD) {
    lua_closeslot(L, 1);
    return lua_gettop(L) - 2;
  }
  lua_pushcfunction(L, leave);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 4);
  lua_call(L, 2, 1);
  if (lua_isnil(L, 5)) return lua_settop(L, 4), lua_error(L);
  lua_pushboolean(L, 0);
  lua_insert(L, 5);
  lua_settop(L, 4 + (int)n);
  return (int)n;
}

/* stack: seconds, function, arguments → true and the results, or so many of false and the TimeoutError */
static int run_within(lua_State *L, int n) {
  Runtime *rt = ASY_RUNTIME(L);
  int nargs = lua_gettop(L) - 2;
  lua_Number began = seconds_now(asy_running(L, rt));
  open_scope(L, rt, OF_LIBRARY, !lua_isnil(L, 1), began, began + lua_tonumber(L, 1));
  lua_replace(L, 1);
  lua_toclose(L, 1); /* should its coroutine never go on */
  lua_pushcfunction(L, asy_trace_rethrown);
  lua_pushboolean(L, 1);
  lua_rotate(L, 2, 2);
  return within_done(L, lua_pcallk(L, nargs, LUA_MULTRET, 2, n, within_done), n);
}

/* For the Lua layer. within(seconds, f, ...) → with the error */
static int timeout_within(lua_State *L) { return run_within(L, 2); }

static int move_on(lua_State *L) { return run_within(L, 1); }

/* move_on(seconds, f, ...) → without the error; counts as a call that could have waited. Checks what move_on_after was
** given, whose frame is to stay: those whose arguments are wrong, or who can't wait, are told by it where they are. */
static int timeout_move_on(lua_State *L) {
  static const char CALL[] = "move_on_after";
  lua_Number delay;
  check_seconds(L, 1, CALL, 1, &delay);
  if (!asy_callable(L, 2))
    asy_argerror_of(L, CALL, 2,
                    lua_pushfstring(L, "function expected, got %s; write %s(delay, f, x), not %s(delay, f(x))",
                                    asy_kindof(L, 2), CALL, CALL));
  Task *t = asy_current_or_null(L);
  return t && task_spent(t) ? asy_give_way(L, t, move_on) : move_on(L);
}

static int timeout__tostring(lua_State *L) {
  const Timeout *s = self(L, 1);
  char left[64];
  if (s->limited && is_open(s)) snprintf(left, sizeof left, "%.3f s left", s->deadline - seconds_now(s->loop));
  lua_pushfstring(L, "asyncio.Timeout: %s",
                  s->expired ? "expired" : !is_open(s) ? "ended" : s->limited ? left : "no limit");
  return 1;
}

/// A limit of time for a block; `asyncio.timeout` and `asyncio.timeout_at` make it. They nest.
// @type Timeout
// @usage
// local ok, err = pcall(function()
//   local limit <close> = asyncio.timeout(2)
//   asyncio.sleep(1)
//   limit:reschedule(limit:when() + 3) -- it got interesting
//   asyncio.sleep(3600)
// end)
// print(ok, asyncio.isinstance(err, asyncio.TimeoutError)) --> false  true

static const luaL_Reg methods[] = {{"when", timeout_when},     {"reschedule", timeout_reschedule},
                                   {"extend", timeout_extend}, {"expired", timeout_expired},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__close", timeout__close}, {"__tostring", timeout__tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"timeout", timeout_new},     {"timeout_at", timeout_at}, {"limit", timeout_limit},
                                     {"move_on", timeout_move_on}, {"within", timeout_within}, {NULL, NULL}};

/* stack: module */
void asy_open_timeout(lua_State *L) {
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_TIMEOUT_SCOPE, NAME, methods, metamethods);
}
