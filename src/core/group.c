/*
** group.c - asyncio.TaskGroup: its members, and the wait for their ends. While all goes well that is all there is to
** it; what becomes of errors and cancellations is said in taskgroup.lua, which adds to the class.
**
** A member that ends tells its group in the same step. One that has failed is kept until the next turn, when the Lua
** layer takes it: those that run in the same turn are not cancelled before they have.
*/
#include "core/group.h"

#include <stdio.h>
#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/options.h"
#include "core/report.h"
#include "core/ring.h"
#include "core/scopes.h"
#include "open.h"

enum { GROUP_OWNER = 1, GROUP_STATE, GROUP_FAILED, GROUP_VALUES = GROUP_FAILED };

static const char NAME[] = "asyncio.TaskGroup";

static Group *check_group(lua_State *L) { return asy_check(L, ASY_RUNTIME(L), 1, ASY_GROUP, NAME); }

/* Its members go on without it. */
static void end_group(lua_State *L, Group *g) {
  g->closed = true;
  for (ListNode *node; (node = list_take(&g->members));) asy_container(node, Member, link)->task.owner = NULL;
  list_remove(&g->guard.link);
  list_remove(&g->ready.link);
  g->n = g->failed = 0;
  if (g->owner->leaving == g) g->owner->leaving = NULL;
  if (g->slot && g->owner->loop) asy_release(L, g->owner->loop, g->slot);
  g->slot = 0;
}

/* Cancelling them */

/* args: task (light) */
static int cancel_member(lua_State *L) {
  Task *t = lua_touserdata(L, 1);
  if (t->phase != TASK_ENDED) asy_task_cancel(L, t, 0);
  return 0;
}

/* In the order in which they were started: what happens must not depend on where tasks lie in memory. One that can't be
** told keeps none of the others from it; one that awaits the owner doesn't pass it on to that. None of them ends
** meanwhile, unless a finaliser closes the loop: then none of them is left. */
static void cancel_members(lua_State *L, Group *g) {
  Group *left = g->owner->leaving;
  bool failed = false;
  luaL_checkstack(L, 5, NULL);
  g->aborting = true;
  g->owner->leaving = g;
  for (ListNode *node = g->members.next, *next; node != &g->members; node = next) {
    lua_pushcfunction(L, cancel_member);
    lua_pushlightuserdata(L, &asy_container(node, Member, link)->task);
    bool told = lua_pcall(L, 1, 0, 0) == LUA_OK;
    if (!told && failed) lua_pop(L, 1); /* one error is enough */
    failed = failed || !told;
    next = list_linked(node) ? node->next : &g->members;
  }
  g->owner->leaving = left;
  if (failed) lua_error(L);
}

/* Members */

static Abort leave_abort(lua_State *L, Task *t);
static int leave_finish(lua_State *L, Task *t);

static void describe(const Task *t, char *text) {
  const Group *g = t->on;
  snprintf(text, ASY_WAIT_TEXT, "%u task%s", g->n, g->n == 1 ? "" : "s");
}

static const WaitKind LEAVE = {.name = "task group", .finish = leave_finish, .abort = leave_abort, .describe = describe,
                               .may_come = task_waits_for_us, .woken_by = task_woken_by_on};

static bool is_waiting(const Group *g) {
  const Task *t = g->owner;
  return t->phase == TASK_PARKED && t->kind == &LEAVE && t->on == g;
}

static void count_out(Group *g) {
  if (--g->n == 0 && is_waiting(g)) task_wake(g->owner, 0);
}

/* The turn after one has failed, or a later one: then they are told again. */
static void tell_of_failures(lua_State *L, Loop *loop, Ready *self) {
  asy_held_push(L, loop, asy_container(self, Group, ready)->slot);
  lua_getfield(L, -1, "_take_failures");
  lua_insert(L, -2);
  lua_call(L, 1, 0); /* its error ends the run: the group waits for what it does */
}

static void tell_soon(Group *g) {
  if (!list_linked(&g->ready.link)) loop_ready(g->owner->loop, &g->ready);
}

/* stack: ..., task → the same. For lack of memory its end may be tried again, with all this. */
static void keep_failed(lua_State *L, Loop *loop, const Group *g) {
  asy_held_push(L, loop, g->slot);
  if (lua_getiuservalue(L, -1, GROUP_FAILED) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, -3, GROUP_FAILED);
  }
  lua_pushvalue(L, -3);
  lua_rawseti(L, -2, (lua_Integer)g->taken + g->failed + 1);
  lua_pop(L, 2);
}

static void member_ended(lua_State *L, Task *t) {
  Member *m = asy_container(t, Member, task);
  Group *g = t->owner;
  if (!g) return;
  bool failed = t->future.state == FUTURE_ERROR && !m->quiet;
  if (failed) keep_failed(L, t->loop, g);
  list_remove(&m->link);
  t->owner = NULL;
  if (failed) {
    g->failed++;
    tell_soon(g);
  } else
    count_out(g);
}

static void member_abandoned(Task *t) {
  list_remove(&asy_container(t, Member, task)->link);
  t->owner = NULL;
}

static const TaskRole MEMBER = {.ended = member_ended, .abandoned = member_abandoned, .awaited = true};

static void adopt(Task *t, void *group) {
  Member *m = asy_container(t, Member, task);
  Group *g = group;
  if (g->closed) return; /* by a finaliser, while the task was made */
  list_init(&m->link);
  m->quiet = false;
  t->role = &MEMBER;
  t->owner = g;
  list_append(&g->members, &m->link);
  g->n++;
}

void asy_group_push_members(lua_State *L, const Group *g) {
  lua_Integer i = 0;
  lua_createtable(L, (int)g->n, 0);
  list_each(node, &g->members) {
    asy_task_push(L, &asy_container(node, Member, link)->task);
    lua_rawseti(L, -2, ++i);
  }
}

/* Raises where there can be no more members. */
static void check_takes(lua_State *L, const Group *g) {
  if (g->closed || !g->owner->loop) asy_error(L, ASY_INVALID_STATE, "the task group has ended");
  if (g->aborting) asy_error(L, ASY_INVALID_STATE, "the task group is being cancelled");
}

/* stack: group, function, arguments... → group, task */
static Member *add_member(lua_State *L, Group *g) {
  Loop *loop = asy_running(L, ASY_RUNTIME(L));
  check_takes(L, g);
  if (loop != g->owner->loop) asy_error(L, ASY_ERROR, "the task group belongs to another event loop");
  Task *t = asy_task_create(L, loop, 2, sizeof(Member) - sizeof(Task), adopt, g);
  if (g->closed || g->aborting) { /* meanwhile */
    asy_task_cancel(L, t, 0);
    check_takes(L, g);
  }
  return asy_container(t, Member, task);
}

/// Starts a task in the group.
// Raises when the group has ended or is being cancelled.
// @function TaskGroup:create_task
// @param fn as for `asyncio.create_task`
// @param ... its arguments
// @treturn Task
static int group_create_task(lua_State *L) {
  add_member(L, check_group(L));
  return 1;
}

/* For `start`: raises where it would. */
static int group_check(lua_State *L) {
  check_takes(L, check_group(L));
  return 0;
}

/* Likewise: the same; until it has begun its failing is the caller's business. */
static int group_create_quiet(lua_State *L) {
  add_member(L, check_group(L))->quiet = true;
  return 1;
}

/* args: group, task; it has begun */
static int group_begun(lua_State *L) {
  const Group *g = check_group(L);
  Task *t = asy_check(L, ASY_RUNTIME(L), 2, ASY_TASK, "asyncio.Task");
  if (t->role == &MEMBER && t->owner == g) asy_container(t, Member, task)->quiet = false;
  return 0;
}

/// Cancels the tasks of the group; the body goes on, and may start no more.
// @function TaskGroup:cancel
static int group_cancel(lua_State *L) {
  Group *g = check_group(L);
  if (!g->closed) cancel_members(L, g);
  return 0;
}

/* Its end */

static void forgotten(lua_State *L, Loop *loop, Guard *guard, bool quiet);

static const Options OPTIONS = {.call = "TaskGroup", .arg = 1};

/// Makes a group: `local g <close> = asyncio.TaskGroup()`.
// Leaving the block waits for all its tasks. The first failure cancels the rest and the body; the
// errors leave as one ExceptionGroup. A cancellation from outside goes to the tasks and on.
// @function TaskGroup
// @treturn TaskGroup
static int group_new(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Task *owner = rt->current;
  asy_options_check(L, 1, &OPTIONS);
  if (!owner) return asy_error(L, ASY_ERROR, "a task group can only be used inside a task" ASY_MAKE_IT_THERE);
  Group *g = lua_newuserdatauv(L, sizeof *g, GROUP_VALUES);
  memset(g, 0, sizeof *g);
  g->guard.forgotten = forgotten;
  g->ready.run = tell_of_failures;
  g->owner = owner;
  g->mark = owner->shields;
  list_init(&g->guard.link);
  list_init(&g->ready.link);
  list_init(&g->members);
  asy_pushmeta(L, rt, ASY_GROUP);
  lua_setmetatable(L, -2);
  asy_task_push(L, owner);
  lua_setiuservalue(L, -2, GROUP_OWNER);
  asy_scope_place(L, &g->line, g->source);
  lua_pushvalue(L, -1);
  g->slot = asy_hold(L, owner->loop);
  list_append(&owner->guards, &g->guard.link);
  return 1;
}

/* args: group; its owner has ended, or another task leaves its block */
static int forget(lua_State *L) {
  cancel_members(L, lua_touserdata(L, 1));
  lua_getfield(L, 1, "_forgotten");
  lua_pushvalue(L, 1);
  lua_call(L, 1, 0);
  return 0;
}

/* stack: ..., task, which never closed it */
static void forgotten(lua_State *L, Loop *loop, Guard *guard, bool quiet) {
  Group *g = asy_container(guard, Group, guard);
  g->closed = true;
  if (!quiet && !g->quiet) asy_scope_report(L, loop, NAME, g->source, g->line);
  asy_held_push(L, loop, g->slot);
  lua_pushcfunction(L, forget);
  lua_pushvalue(L, -2);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    asy_report(L, loop, (Report){.message = "a scope could not be closed", .exception = -1});
    lua_pop(L, 1);
  }
  end_group(L, g);
  lua_pop(L, 1);
}

/* Another than its owner leaves the block. stack: group, ... */
static int leave_as_stranger(lua_State *L, Group *g) {
  g->closed = true;
  lua_pushcfunction(L, forget);
  lua_pushvalue(L, 1);
  int status = lua_pcall(L, 1, 0, 0);
  end_group(L, g);
  return status == LUA_OK ? 0 : lua_error(L);
}

static int ended(lua_State *L, int status, lua_KContext ctx) {
  (void)L;
  (void)status;
  (void)ctx;
  return 0;
}

/* What has happened is the Lua layer's business. stack: group, error of the block; ring: one of its members waits for
** its owner; waited: it has given way */
static int end_with(lua_State *L, bool ring, bool waited) {
  lua_settop(L, 2);
  lua_getfield(L, 1, "_end");
  lua_insert(L, 1);
  lua_pushboolean(L, ring);
  lua_pushboolean(L, waited);
  lua_callk(L, 4, 0, 0, ended);
  return 0;
}

static int leave_finish(lua_State *L, Task *t) {
  Group *g = t->on;
  if (!g->quick) return 0;
  g->quick = false;
  if (g->n || g->aborting || g->interrupted) return end_with(L, false, true);
  end_group(L, g);
  return 0;
}

/* A request is raised where the Lua layer waits. */
static Abort leave_abort(lua_State *L, Task *t) {
  Group *g = t->on;
  (void)L;
  if (t->phase != TASK_PARKED || !g->quick || t->broken) return ASY_DETACHED;
  g->interrupted = true;
  task_wake(t, 0);
  return ASY_PENDING;
}

/* It still has to be left. */
static void stay(Group *g) {
  g->leaving = false;
  g->quiet = true;
  if (g->owner->leaving == g) g->owner->leaving = NULL;
  if (g->owner->loop && !list_linked(&g->guard.link)) list_append(&g->owner->guards, &g->guard.link);
}

/* args: group; nothing can wait for its members */
static int give_up(lua_State *L) {
  lua_getfield(L, 1, "_withdraw");
  lua_pushvalue(L, 1);
  lua_call(L, 1, 0);
  cancel_members(L, lua_touserdata(L, 1));
  return 0;
}

/* stack: group, ... */
static int leave_in_vain(lua_State *L, Group *g) {
  lua_pushcfunction(L, give_up);
  lua_pushvalue(L, 1);
  int status = lua_pcall(L, 1, 0, 0);
  stay(g);
  if (status != LUA_OK) return lua_error(L);
  asy_current(L); /* raises */
  return 0;
}

static int group__close(lua_State *L) {
  Group *g = check_group(L);
  lua_settop(L, 2);
  if (g->closed || g->leaving) return 0;
  list_remove(&g->guard.link);
  if (ASY_RUNTIME(L)->current != g->owner) return leave_as_stranger(L, g);
  bool plain = lua_isnil(L, 2) && !g->aborting;
  if (!g->n && plain) { /* nothing to wait for, and nothing to tell */
    end_group(L, g);
    return asy_spend(L);
  }
  Task *t = asy_current_or_null(L);
  g->leaving = true;
  bool ring = asy_ring_leave(L, g);
  if (!t && g->n) return leave_in_vain(L, g);
  if (!plain || ring) return end_with(L, ring, false);
  g->quick = true;
  return asy_park(L, t, &LEAVE, g);
}

/* For the Lua layer */

/* → the table in which it keeps what it knows of a group, its owner, and the mark of its requests */
static int group_state(lua_State *L) {
  const Group *g = check_group(L);
  lua_settop(L, 1);
  if (lua_getiuservalue(L, 1, GROUP_STATE) != LUA_TTABLE) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, GROUP_STATE);
  }
  lua_getiuservalue(L, 1, GROUP_OWNER);
  lua_pushinteger(L, (lua_Integer)g->mark);
  return 3;
}

/* → how many there are, whether they have been cancelled, whether its block is being left */
static int group_stand(lua_State *L) {
  const Group *g = check_group(L);
  lua_pushinteger(L, g->n);
  lua_pushboolean(L, g->aborting);
  lua_pushboolean(L, g->leaving);
  return 3;
}

/* → the next that has failed, which is a member no longer; or nothing */
static int group_take_failed(lua_State *L) {
  Group *g = check_group(L);
  lua_settop(L, 1);
  if (!g->failed) return 0;
  lua_getiuservalue(L, 1, GROUP_FAILED);
  lua_rawgeti(L, 2, ++g->taken);
  if (--g->failed == 0) {
    g->taken = 0;
    lua_pushnil(L);
    lua_setiuservalue(L, 1, GROUP_FAILED);
  }
  count_out(g);
  return 1;
}

/* → its members, in the order of their start */
static int group_members(lua_State *L) {
  asy_group_push_members(L, check_group(L));
  return 1;
}

/* Waits for them; what interrupts that is raised. */
static int group_wait(lua_State *L) {
  Group *g = check_group(L);
  Task *t = asy_current(L);
  if (g->interrupted) {
    g->interrupted = false;
    if (asy_cancel_due(L, t)) return asy_task_raise(L, t);
    asy_cancelled_push(L, 0); /* its request was taken back */
    return lua_error(L);
  }
  if (g->failed) tell_soon(g); /* memory ran out when that was done */
  return g->n ? asy_park(L, t, &LEAVE, g) : 0;
}

/* args: group, whether all have ended; else they couldn't be waited for */
static int group_left(lua_State *L) {
  Group *g = check_group(L);
  if (lua_toboolean(L, 2)) end_group(L, g); else stay(g);
  return 0;
}

static int group__tostring(lua_State *L) {
  const Group *g = check_group(L);
  lua_pushfstring(L, "asyncio.TaskGroup: %d task%s%s", (int)g->n, g->n == 1 ? "" : "s",
                  g->closed ? ", ended" : g->aborting ? ", cancelling" : "");
  return 1;
}

static const luaL_Reg functions[] = {{"TaskGroup", group_new}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"create_task", group_create_task},
                                   {"cancel", group_cancel},
                                   {"_check", group_check},
                                   {"_create_quiet", group_create_quiet},
                                   {"_begun", group_begun},
                                   {"_state", group_state},
                                   {"_stand", group_stand},
                                   {"_take_failed", group_take_failed},
                                   {"_members", group_members},
                                   {"_wait", group_wait},
                                   {"_left", group_left},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__close", group__close}, {"__tostring", group__tostring}, {NULL, NULL}};

/* stack: module */
void asy_open_group(lua_State *L) {
  asy_options_note(L, &OPTIONS);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_GROUP, NAME, methods, metamethods);
  asy_pushmeta(L, asy_runtime(L), ASY_GROUP);
  lua_setfield(L, -2, "group_class");
}
