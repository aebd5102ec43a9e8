/*
** cancel.c - the whole of cancellation: requests queue in extras.requests, each its own error object; `requests`
** counts them. And, in debug mode, what becomes of those that are swallowed.
*/
#include "core/cancel.h"

#include "core/error.h"
#include "core/report.h"

/* Debug mode: notes in the task's extras where L stands. */
static void note_place(lua_State *L, Task *t, const char *key, int level) {
  luaL_checkstack(L, 2, NULL);
  asy_task_push(L, t);
  asy_debug_note(L, -1, key, level);
  lua_pop(L, 1);
}

/* The request on the top is raised. */
static void note_raised(lua_State *L, Task *t) {
  note_place(L, t, "raised_at", 0);
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_pushvalue(L, -3);
  lua_setfield(L, -2, "raised");
  lua_pop(L, 2);
  t->raised = true;
  t->told = false;
}

void asy_cancel_take(lua_State *L, Task *t) {
  asy_assert(t->requests > 0 && t->own_request <= t->requests);
  luaL_checkstack(L, 6, NULL);
  int top = lua_gettop(L);
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_getfield(L, -1, "requests");
  int list = lua_gettop(L);
  lua_rawgeti(L, list, 1);
  for (int i = 1; i <= t->requests; i++) {
    lua_rawgeti(L, list, i + 1);
    lua_rawseti(L, list, i);
  }
  t->requests--;
  if (t->own_request) t->own_request--;
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
}

int asy_task_raise(lua_State *L, Task *t) {
  if (t->broken) return asy_interrupt_raise(L);
  asy_cancel_take(L, t);
  if (t->loop->debug) note_raised(L, t);
  return lua_error(L);
}

bool asy_cancel_abort(lua_State *L, Task *t) {
  t->in_cancel = true; /* abort may run a function of the Lua layer that cancels in turn; never raises */
  Abort outcome = t->kind->abort(L, t);
  t->in_cancel = false;
  return outcome == ASY_DETACHED && t->phase == TASK_PARKED;
}

bool asy_cancel_drop(lua_State *L, Task *t) {
  if (!t->kind->forward) return asy_cancel_abort(L, t);
  list_remove(&t->waiter.link); /* it awaits a future, which is not told */
  return true;
}

void asy_task_break(lua_State *L, Task *t) {
  t->broken = true;
  if (t->phase == TASK_PARKED && !t->in_cancel && asy_cancel_drop(L, t)) task_wake(t, ASY_WOKEN_CANCELLED);
}

/* arg: task (light) */
static int cancel_protected(lua_State *L) {
  asy_task_cancel(L, lua_touserdata(L, 1), 0);
  return 0;
}

void asy_cancel_pass_on(lua_State *L, Task *t, Task *next) {
  lua_pushcfunction(L, cancel_protected);
  lua_pushlightuserdata(L, next);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return;
  list_remove(&t->waiter.link);
  t->phase = TASK_RUNNING;
  t->parked = NULL;
  lua_error(L);
}

/* Requests */

/* stack: ..., task, request → ..., task; queues it, without a word to anybody. False: it has ended. */
static bool queue_request(lua_State *L, Task *t) {
  if (t->phase != TASK_ENDED && t->loop->debug) asy_debug_note(L, -2, "cancelled_at", 1);
  asy_future_subtable(L, -2, "requests", 1, 0);
  bool live = t->phase != TASK_ENDED; /* a finaliser may have closed its loop, where that doesn't run */
  if (live) {
    if (t->requests == UINT16_MAX) luaL_error(L, "too many cancellations");
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, t->requests + 1);
    t->requests++;
    t->cancelling++;
  }
  lua_pop(L, 3);
  return live;
}

/* Lets a parked task know of its request; the task that it goes on to, if any. */
static Task *deliver_request(lua_State *L, Task *t) {
  if (t->phase != TASK_PARKED || t->in_cancel) return NULL;
  Task *next = t->kind->forward ? t->kind->forward(t) : NULL;
  if (next) return next;
  if (asy_cancel_abort(L, t)) task_wake(t, ASY_WOKEN_CANCELLED);
  return NULL;
}

void asy_task_cancel(lua_State *L, Task *t, int msg) {
  if (msg) msg = lua_absindex(L, msg);
  luaL_checkstack(L, 10, NULL);
  for (Task *next; t && t->phase != TASK_ENDED; t = next) {
    asy_task_push(L, t);
    asy_cancelled_push(L, msg);
    bool queued = queue_request(L, t);
    if (queued && t == t->loop->rt->current) t->own_request = t->requests;
    next = queued ? deliver_request(L, t) : NULL;
    lua_pop(L, 1);
  }
}

void asy_task_request(lua_State *L, Task *t) {
  Task *next = queue_request(L, t) ? deliver_request(L, t) : NULL;
  if (next) asy_task_cancel(L, next, 0);
}

void asy_task_requeue(lua_State *L, Task *t) {
  if (!queue_request(L, t)) return;
  t->cancelling--;
  if (t->own_request) t->own_request++;
  asy_future_extras(L, -1, true);
  lua_getfield(L, -1, "requests");
  lua_rawgeti(L, -1, t->requests);
  for (int i = t->requests; i > 1; i--) {
    lua_rawgeti(L, -2, i - 1);
    lua_rawseti(L, -3, i);
  }
  lua_rawseti(L, -2, 1);
  lua_pop(L, 2);
}

bool asy_task_withdraw(lua_State *L, Task *t, int idx) {
  bool found = false;
  bool committed = t->in_cancel || (t->phase == TASK_WOKEN && t->code == ASY_WOKEN_CANCELLED);
  int kept = 0, own = 0;
  if (!t->requests) return false;
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_getfield(L, -1, "requests");
  for (int i = 1; i <= t->requests; i++) {
    lua_rawgeti(L, -1, i);
    if ((i > 1 || !committed) && (!idx || lua_rawequal(L, -1, idx))) {
      found = true;
      lua_pop(L, 1);
    } else {
      lua_rawseti(L, -2, ++kept);
      if (i == t->own_request) own = kept;
    }
  }
  for (int i = kept + 1; i <= t->requests; i++) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
  t->requests = (uint16_t)kept;
  t->own_request = (uint16_t)own;
  lua_pop(L, 3);
  return found;
}

/* Swallowed ones */

/* Whether the function that returns is Lua's pcall or xpcall, and gives what was raised in the task. */
static bool catches(lua_State *L, const Runtime *rt, Task *t, lua_Debug *ar) {
  int top = lua_gettop(L);
  bool caught = false;
  luaL_checkstack(L, 6, NULL);
  lua_getinfo(L, "fr", ar);
  lua_CFunction fn = lua_tocfunction(L, -1);
  if (fn && (fn == rt->pcall || fn == rt->xpcall) && ar->ntransfer == 2 && lua_getlocal(L, ar, ar->ftransfer) &&
      !lua_toboolean(L, -1) && lua_getlocal(L, ar, ar->ftransfer + 1)) {
    asy_task_push(L, t);
    asy_future_extras(L, -1, true);
    lua_getfield(L, -1, "raised");
    caught = lua_rawequal(L, -1, top + 3);
  }
  lua_settop(L, top);
  return caught;
}

/* The task's function is about to return, and has caught a cancellation: notes from where. */
static void note_end(lua_State *L, Task *t, lua_Debug *ar) {
  lua_Debug caller;
  if (t->cancelling <= t->requests) return;
  if (!lua_getstack(L, 1, &caller) || lua_getstack(L, 2, &caller)) return; /* 1: the task's body */
  lua_getinfo(L, "Sl", ar);
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_pushfstring(L, "\t%s:%d", ar->short_src, ar->currentline);
  lua_setfield(L, -2, "ended_at");
  lua_pop(L, 2);
}

void asy_cancel_note(lua_State *L, lua_Debug *ar) {
  const Runtime *rt = asy_runtime(L);
  Task *t = rt->current;
  if (!t) return;
  if (t->raised && catches(L, rt, t, ar)) {
    note_place(L, t, "caught_at", 1);
    t->caught = true;
    t->raised = false;
  }
  if (L == t->co) note_end(L, t, ar);
}

/* stack: ..., text; extras at idx: adds heading and value of a field, when it is there */
static void append_field(lua_State *L, int extras, const char *key, const char *heading) {
  if (lua_getfield(L, extras, key) == LUA_TSTRING) {
    const char *text = lua_tostring(L, -2);
    lua_pushfstring(L, "%s%s%s:\n%s", text, *text ? "\n" : "", heading, lua_tostring(L, -1));
    lua_replace(L, -3);
  }
  lua_pop(L, 1);
}

void asy_cancel_went_on(lua_State *L, Loop *loop, Task *t) {
  if (!t->caught) return;
  t->caught = false;
  if (t->cancelling <= t->requests) return;
  luaL_checkstack(L, 10, NULL);
  int top = lua_gettop(L);
  t->told = true;
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_pushliteral(L, "");
  append_field(L, top + 2, "caught_at", "caught at");
  append_field(L, top + 2, "raised_at", "its CancelledError was raised at");
  asy_report(L, loop, (Report){.message = "a task caught its cancellation and waits again: it should let the "
                                          "CancelledError pass (asyncio.pcall does), or call task:uncancel()",
                               .key = "task", .object = top + 1, .source = lua_tostring(L, -1)});
  lua_settop(L, top);
}

void asy_cancel_returned(lua_State *L, Loop *loop, Task *t, int idx) {
  if (t->cancelling <= t->requests || t->told) return;
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 10, NULL);
  int top = lua_gettop(L);
  asy_future_extras(L, idx, true);
  lua_pushliteral(L, "");
  append_field(L, top + 1, "cancelled_at", "cancelled at");
  append_field(L, top + 1, "raised_at", "its CancelledError was raised at");
  append_field(L, top + 1, "ended_at", "returned at");
  asy_report(L, loop, (Report){.message = "a task caught its cancellation and returned: it should let the "
                                          "CancelledError pass, or call task:uncancel()",
                               .key = "task", .object = idx, .source = lua_tostring(L, -1)});
  lua_settop(L, top);
}
