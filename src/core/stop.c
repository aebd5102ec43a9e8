/*
** stop.c - ends tasks: asks them to, and waits until they have. One: `Task:stop`, and leaving a block whose variable it
** is. The rest of several, once one of them has decided: what race and map stand on.
*/
#include <stdio.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/report.h"
#include "core/ring.h"
#include "core/several.h"
#include "core/trace.h"
#include "open.h"

#define PATIENCE (5 * NS_PER_S) /* after so long it is reported who goes on */

/* Behind a Several that waits for the ends of what was asked to end. */
typedef struct Overdue {
  Timer timer;
  Ready ready; /* reports */
  Task *task;  /* who waits */
} Overdue;

static Overdue *overdue_of(Several *s) { return (Overdue *)&s->parts[s->n]; }

static void on_overdue(Timer *timer) {
  Overdue *o = asy_container(timer, Overdue, timer);
  loop_ready(o->task->loop, &o->ready);
}

/* args: loop (light), list of futures */
static int report_pending(lua_State *L) {
  const Runtime *rt = asy_runtime(L);
  for (int i = 1; lua_rawgeti(L, 2, i) != LUA_TNIL; i++, lua_settop(L, 2)) {
    const Task *t = asy_test(L, rt, 3, ASY_TASK);
    if (!t || t->phase == TASK_ENDED) continue;
    lua_getfield(L, 3, "traceback");
    lua_pushvalue(L, 3);
    lua_call(L, 1, 1);
    asy_report(L, lua_touserdata(L, 1),
               (Report){.message = t->shield ? "a task that is waited for goes on, 5 s after it was cancelled: it is "
                                               "shielded"
                                             : "a task that is waited for goes on, 5 s after it was cancelled: it "
                                               "catches that, or cleans up",
                        .key = "task", .object = 3, .source = lua_tostring(L, 4)});
  }
  return 0;
}

static void report_overdue(lua_State *L, Loop *loop, Ready *self) {
  Overdue *o = asy_container(self, Overdue, ready);
  lua_pushcfunction(L, report_pending);
  lua_pushlightuserdata(L, loop);
  asy_task_push(L, o->task);
  lua_getiuservalue(L, -1, FUTURE_UV_VALUE);
  lua_getiuservalue(L, -1, 1);
  lua_replace(L, -3);
  lua_pop(L, 1);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) lua_pop(L, 1); /* out of memory */
}

static void leave(Task *t) {
  Overdue *o = overdue_of(t->on);
  if (t->loop) timer_cancel(&t->loop->timers, &o->timer);
  list_remove(&o->ready.link);
  several_detach(t);
}

static Abort end_abort(lua_State *L, Task *t) {
  Abort how = asy_several_abort(L, t);
  if (how == ASY_DETACHED) leave(t);
  return how;
}

static void end_giveback(lua_State *L, Task *t) {
  (void)L;
  leave(t);
}

/* Suspends until all in the list at `list` have ended, which were asked to. */
static int park(lua_State *L, Task *t, const WaitKind *kind, int list) {
  Several *s = asy_several_new(L, UNTIL_ALL, list, sizeof(Overdue));
  Overdue *o = overdue_of(s);
  *o = (Overdue){.timer.fire = on_overdue, .ready.run = report_overdue, .task = t};
  list_init(&o->ready.link);
  s->task = t;
  several_begin(s, true);
  t->on = s;
  t->asked = false;
  if (!s->left) return kind->finish(L, t);
  timer_set(&t->loop->timers, &o->timer, loop_now(t->loop) + PATIENCE); /* no memory: no report */
  return asy_park_on(L, t, kind, s, lua_gettop(L));
}

/* One task. stack: task, whether its error is left to be reported, list */

/* Its error is raised, unless somebody has looked at it. */
static int outcome(lua_State *L) {
  Future *f = lua_touserdata(L, 1);
  if (f->state != FUTURE_ERROR || f->looked || lua_toboolean(L, 2)) return 0;
  asy_trace_pass(L, f, 1);
  return asy_future_results(L, f, 1);
}

/* A request that came meanwhile is raised now; where an error leaves the block, it waits, as that goes on. */
static int stop_finish(lua_State *L, Task *t) {
  leave(t);
  if (t->asked && asy_cancel_due(L, t) && !lua_toboolean(L, 2)) return asy_task_raise(L, t);
  return outcome(L);
}

static const WaitKind STOP = {.name = "stop", .finish = stop_finish, .abort = end_abort, .giveback = end_giveback,
                              .awaited = several_awaited, .several = true, .forwards = true,
                              .may_come = task_waits_for_us, .woken_by = several_woken_by};

static Task *check_task(lua_State *L) { return asy_check(L, ASY_RUNTIME(L), 1, ASY_TASK, "asyncio.Task"); }

/* Why t cannot wait for the end of the task at 1; NULL: it can. */
static const char *refusal(lua_State *L, Task *t) {
  const Task *of = lua_touserdata(L, 1);
  if (of->future.loop_id != t->loop->id) return "cannot stop a task of another event loop";
  return asy_ring_closes(L, t, 1) ? "cannot stop a task that waits for this one" : NULL;
}

/* stack: task, quiet → ...; asks it and waits */
static int end_task(lua_State *L, Task *t) {
  lua_createtable(L, 1, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, 3, 1);
  asy_cancel_ask(L, lua_touserdata(L, 1));
  return park(L, t, &STOP, 3);
}

/* What has ended need not be waited for. stack: task, quiet */
static int ended(lua_State *L) {
  Task *t = lua_toboolean(L, 2) ? NULL : asy_current_or_null(L);
  if (t && task_spent(t)) return asy_give_way(L, t, ended);
  return outcome(L);
}

/// Cancels the task if it hasn't ended, and waits until it has; leaving a block whose `<close>` variable it is does so.
// A task that hasn't begun never runs. Its results are dropped; its own error is raised here, unless somebody has looked
// at it. (Where a block is left by another error, that goes on, and the task's is reported.) One that catches the
// cancellation is waited for all the same, and after 5 s reported. Cancelling who waits here cancels the task once
// more, and is raised when that has ended. A task cannot stop itself, nor one that waits for it.
// @function Task:stop
// @usage
// local beats = 0
// local function heartbeat()
//   while true do
//     asyncio.sleep(1)
//     beats = beats + 1
//   end
// end
// do
//   local _ <close> = asyncio.create_task(heartbeat)
//   asyncio.sleep(3.5)
// end -- here it has ended
// print(beats) --> 3
static int task_stop(lua_State *L) {
  const Task *of = check_task(L);
  lua_settop(L, 1);
  lua_pushboolean(L, false);
  if (of->future.state != FUTURE_PENDING) return ended(L);
  Task *t = asy_current(L);
  if (of == t) asy_argerror(L, 1, "a task cannot stop itself");
  if (of->phase == TASK_ENDED)
    return asy_error(L, ASY_CLOSED, "the event loop of the task is closed: it will never end");
  const char *why = refusal(L, t);
  if (why) return asy_error(L, ASY_ERROR, "%s", why);
  return end_task(L, t);
}

/* local task <close> = asyncio.create_task(...). Where nothing can wait it is only cancelled. What is refused is told
** unless an error leaves the block. */
static int task__close(lua_State *L) {
  Task *of = check_task(L);
  bool quiet = !lua_isnoneornil(L, 2);
  Task *t = asy_current_or_null(L);
  lua_settop(L, 1);
  lua_pushboolean(L, quiet);
  if (of->future.state != FUTURE_PENDING) return t ? ended(L) : 0;
  if (of->phase == TASK_ENDED) return 0; /* its loop is closed */
  if (of == ASY_RUNTIME(L)->current) {
    if (t && !quiet) asy_argerror(L, 1, "a task cannot stop itself");
    return 0;
  }
  if (!t) {
    asy_cancel_ask(L, of);
    return 0;
  }
  const char *why = refusal(L, t);
  if (!why) return end_task(L, t);
  return quiet ? 0 : asy_error(L, ASY_ERROR, "%s", why);
}

/* For TaskGroup:start: as if a task that awaits it were cancelled. → true */
static int task_ask(lua_State *L) {
  Task *t = check_task(L);
  if (t->phase != TASK_ENDED) asy_cancel_ask(L, t);
  lua_pushboolean(L, true);
  return 1;
}

/* Several. stack: list of futures, until, what has decided */

static int rest_finish(lua_State *L, Task *t) {
  leave(t);
  lua_settop(L, 3);
  return 1;
}

static void describe_rest(const Task *t, char *text) {
  const Several *s = t->on;
  snprintf(text, ASY_WAIT_TEXT, "decided, %d still to end", s->left);
}

static int contest_finish(lua_State *L, Task *t);

static const WaitKind RACE = {.name = "race", .finish = contest_finish, .abort = asy_several_abort,
                              .giveback = asy_several_giveback, .awaited = several_awaited, .several = true,
                              .forwards = true, .may_come = task_waits_for_us, .woken_by = several_woken_by};
static const WaitKind MAP = {.name = "map", .finish = contest_finish, .abort = asy_several_abort,
                             .giveback = asy_several_giveback, .awaited = several_awaited, .several = true,
                             .forwards = true, .may_come = task_waits_for_us, .woken_by = several_woken_by};
static const WaitKind REST_OF_RACE = {.name = "race", .finish = rest_finish, .abort = end_abort,
                                      .giveback = end_giveback, .awaited = several_awaited, .several = true,
                                      .forwards = true, .describe = describe_rest, .may_come = task_waits_for_us,
                                      .woken_by = several_woken_by};
static const WaitKind REST_OF_MAP = {.name = "map", .finish = rest_finish, .abort = end_abort,
                                     .giveback = end_giveback, .awaited = several_awaited, .several = true,
                                     .forwards = true, .describe = describe_rest, .may_come = task_waits_for_us,
                                     .woken_by = several_woken_by};

/* args: future that hasn't ended */
static int ask(lua_State *L) {
  const Future *f = lua_touserdata(L, 1);
  if (f->task) {
    if (((Task *)f)->phase != TASK_ENDED) asy_cancel_ask(L, (Task *)f);
    return 0;
  }
  lua_getfield(L, 1, "cancel");
  lua_insert(L, 1);
  lua_call(L, 1, 0);
  return 0;
}

/* Asks all of the list at 1 that haven't ended; whether there are any. One that can't be told, for lack of memory,
** keeps none of the others from it. */
static bool ask_all(lua_State *L) {
  const Runtime *rt = ASY_RUNTIME(L);
  bool pending = false, failed = false;
  int top = lua_gettop(L);
  luaL_checkstack(L, 5, NULL);
  for (int i = 1; lua_rawgeti(L, 1, i) != LUA_TNIL; i++, lua_settop(L, top + failed)) {
    if (asy_tofuture(L, rt, -1)->state != FUTURE_PENDING) continue;
    pending = true;
    lua_pushcfunction(L, ask);
    lua_insert(L, -2);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) failed = true;
  }
  lua_settop(L, top + failed);
  if (failed) lua_error(L);
  return pending;
}

/* The place of what has decided, or 0. What had a result in the same turn is told apart by the order of the list. */
static int deciding(const Several *s) {
  if (s->until != UNTIL_RESULT) return s->first + 1;
  for (int i = 0; i < s->n; i++)
    if (s->parts[i].future->state == FUTURE_RESULT) return i + 1;
  return 0;
}

static int contest_finish(lua_State *L, Task *t) {
  const Several *s = t->on;
  bool race = s->until == UNTIL_RESULT;
  int first = deciding(s);
  several_detach(t);
  if (t->asked && asy_cancel_due(L, t)) return asy_task_raise(L, t);
  if (t->asked) { /* its request was taken back */
    asy_cancelled_push(L, 0);
    return lua_error(L);
  }
  lua_settop(L, 2);
  lua_pushinteger(L, first);
  return ask_all(L) ? park(L, t, race ? &REST_OF_RACE : &REST_OF_MAP, 1) : 1;
}

/* contest(list, until) → the place in a list of futures of the first result ("RESULT"), or of the first failure, a
** cancellation included ("FAILURE"); 0: there was none. The others are cancelled then, and it returns when all have
** ended. Their errors count as looked at. */
static int contest(lua_State *L) {
  static const char *const names[] = {"RESULT", "FAILURE", NULL};
  bool race = luaL_checkoption(L, 2, NULL, names) == 0;
  Task *t = asy_current(L);
  lua_settop(L, 2);
  Several *s = asy_several_new(L, race ? UNTIL_RESULT : UNTIL_UNFORTUNATE, 1, 0);
  s->task = t;
  several_begin(s, false);
  for (int i = 0; i < s->n; i++) s->parts[i].future->looked = true;
  if (s->left && s->first < 0) return asy_park_on(L, t, race ? &RACE : &MAP, s, 3);
  t->on = s;
  t->asked = false;
  return contest_finish(L, t);
}

static const luaL_Reg functions[] = {{"contest", contest}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"stop", task_stop}, {"_ask", task_ask}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__close", task__close}, {NULL, NULL}};

/* stack: module */
void asy_open_stop(lua_State *L) {
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_TASK, "asyncio.Task", methods, metamethods);
}
