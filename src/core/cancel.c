/*
** cancel.c - the whole of cancellation: requests queue in extras.requests, each its own error object; `requests`
** counts them. And, in debug mode, what becomes of those that are swallowed.
**
** Which are due is shielded.c's: what holds some of them back. Those that are held stand in the queue like all others.
*/
#include "core/cancel.h"

#include "core/error.h"
#include "core/report.h"
#include "core/ring.h"

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

/* What becomes of a request's place when the one at `gone` is taken out; 0: it was that. */
static uint32_t place_without(uint32_t place, uint32_t gone) {
  return place == gone ? 0 : place - (place > gone);
}

void asy_cancel_take(lua_State *L, Task *t) {
  asy_assert(t->requests > 0 && t->own_request <= t->requests);
  luaL_checkstack(L, 6, NULL);
  int top = lua_gettop(L);
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_getfield(L, -1, "requests");
  int list = lua_gettop(L);
  uint32_t at = asy_shield_due(L, t);
  if (!at) at = 1; /* none is due any more: a stranger has shielded the task meanwhile */
  lua_rawgeti(L, list, at);
  for (lua_Integer i = at; i <= t->requests; i++) {
    lua_rawgeti(L, list, i + 1);
    lua_rawseti(L, list, i);
  }
  t->requests--;
  if (t->own_request) t->own_request = place_without(t->own_request, at);
  if (t->forwarded && (t->forwarded = place_without(t->forwarded, at)) == 0)
    t->loop->rt->last_taken = t->loop->rt->last_walk;
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
}

int asy_task_raise(lua_State *L, Task *t) {
  if (t->broken) return asy_interrupt_raise(L);
  asy_cancel_take(L, t);
  if (t->loop->debug) note_raised(L, t);
  return lua_error(L);
}

bool asy_cancel_drop(lua_State *L, Task *t) {
  return t->kind->abort(L, t) == ASY_DETACHED && t->phase == TASK_PARKED;
}

void asy_task_break(lua_State *L, Task *t) {
  t->broken = true;
  if (t->phase == TASK_PARKED && !t->in_cancel && asy_cancel_drop(L, t)) task_wake(t, ASY_WOKEN_CANCELLED);
}

/* Requests */

/* stack: ..., task, request → ..., task; queues it, without a word to anybody. False: it has ended. */
static bool queue_request(lua_State *L, Task *t) {
  if (t->phase != TASK_ENDED && t->loop->debug) asy_debug_note(L, -2, "cancelled_at", 1);
  asy_future_subtable(L, -2, "requests", 1, 0);
  bool live = t->phase != TASK_ENDED; /* a finaliser may have closed its loop, where that doesn't run */
  if (live) {
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, (lua_Integer)t->requests + 1);
    t->requests++;
    t->cancelling++;
  }
  lua_pop(L, 3);
  return live;
}

/* Passing on: a request goes from task to task along what they wait for, to each once, however many ways lead there.
** Nothing is allocated to find the way: those still to be asked stand in a list, which a task leaves when it ends. */

typedef struct Walk {
  Runtime *rt;
  uint64_t number;
  ListNode todo; /* tasks to be asked, in order */
  int msg;       /* where the error's message is, or 0 */
} Walk;

/* args: future, message; has a future that is no task cancelled */
static int cancel_future(lua_State *L) {
  lua_getfield(L, 1, "cancel");
  lua_insert(L, 1);
  lua_call(L, 2, 1);
  return 1;
}

/* Whether the i-th future that t waits for has taken the request. */
static bool ask_future(lua_State *L, Task *t, int i, int msg) {
  bool taken = false;
  lua_pushcfunction(L, cancel_future);
  asy_awaited_push(L, t, i);
  if (msg) lua_pushvalue(L, msg); else lua_pushnil(L);
  if (lua_pcall(L, 2, 1, 0) == LUA_OK) taken = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return taken;
}

/* Asks all that a parked task waits for, the tasks among them later; whether it is to wait for their ends: not when
** one of them leaves a group and so waits for this task. */
static bool ask_all(lua_State *L, Task *t, Walk *walk) {
  Future *f;
  bool asked = false, ring = false;
  ListNode tasks;
  list_init(&tasks);
  for (int i = 0; t->phase == TASK_PARKED && (f = t->kind->awaited(t, i)); i++) {
    Task *next = (Task *)f;
    if (f->state != FUTURE_PENDING) continue;
    if (!f->task)
      asked |= ask_future(L, t, i, walk->msg);
    else if (next->leaving && asy_ring_closes_by(L, t, next))
      ring = true;
    else if (next->phase != TASK_ENDED) {
      asked = true;
      if (next->walk != walk->number && !list_linked(&next->todo)) list_append(&tasks, &next->todo);
    }
  }
  list_splice(&tasks, &walk->todo);
  list_splice(&walk->todo, &tasks);
  return asked && !ring;
}

/* Lets a parked task know of its request; whether it is let go at once. */
static bool tell(lua_State *L, Task *t, Walk *walk) {
  bool asked = false;
  t->walk = walk->number;
  t->in_cancel = true; /* what is asked may run a function of the Lua layer that cancels in turn */
  if (t->kind->forwards) {
    bool before = t->asked;
    t->asked = true; /* it may be woken at once */
    asked = ask_all(L, t, walk);
    t->asked = asked || before;
  }
  bool let_go = !asked && t->phase == TASK_PARKED && t->kind->abort(L, t) == ASY_DETACHED;
  t->in_cancel = false;
  return let_go && t->phase == TASK_PARKED;
}

static void deliver(lua_State *L, Task *t, Walk *walk) {
  if (t->phase == TASK_PARKED && !t->in_cancel && tell(L, t, walk)) task_wake(t, ASY_WOKEN_CANCELLED);
}

/* args: walk (light), task, message; the request arrives at a task that is awaited. One that came so and is not
** delivered yet stands for this one, too: there may be as many ways as tasks. Those that it has gone on to have it still
** if nobody has taken one since. */
static int arrive(lua_State *L) {
  Walk *walk = lua_touserdata(L, 1);
  Task *t = lua_touserdata(L, 2);
  luaL_checkstack(L, 20, NULL);
  walk->msg = 3;
  if (!t->forwarded) {
    lua_pushvalue(L, 2);
    asy_cancelled_push(L, 3);
    if (!queue_request(L, t)) return 0;
    t->forwarded = t->requests;
  } else if (t->walk > t->loop->rt->last_taken)
    return 0;
  if (t == t->loop->rt->current) t->own_request = t->forwarded;
  if (!t->shield) deliver(L, t, walk);
  return 0;
}

/* The rest of a walk. One that can't be told, for lack of memory, keeps nobody else from it: then true, with its
** error on the stack. */
static bool go_on(lua_State *L, Walk *walk) {
  int msg = walk->msg, failed = 0;
  for (ListNode *node; (node = list_take(&walk->todo));) {
    lua_pushcfunction(L, arrive);
    lua_pushlightuserdata(L, walk);
    asy_task_push(L, asy_container(node, Task, todo));
    if (msg) lua_pushvalue(L, msg); else lua_pushnil(L);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK && ++failed > 1) lua_pop(L, 1);
  }
  if (failed) walk->rt->last_taken = walk->rt->last_walk;
  return failed > 0;
}

void asy_cancel_release(lua_State *L, Task *t) {
  if (t->phase == TASK_PARKED && !t->in_cancel && asy_cancel_due(L, t) && asy_cancel_tell(L, t))
    task_wake(t, ASY_WOKEN_CANCELLED);
}

bool asy_cancel_tell(lua_State *L, Task *t) {
  Runtime *rt = t->loop->rt;
  Walk walk = {.rt = rt, .number = ++rt->last_walk};
  if (t->kind->forwards && !lua_checkstack(L, 20)) return t->kind->abort(L, t) == ASY_DETACHED;
  list_init(&walk.todo);
  bool let_go = tell(L, t, &walk);
  if (!go_on(L, &walk)) return let_go;
  lua_pop(L, 1);
  return t->phase == TASK_PARKED && t->kind->abort(L, t) == ASY_DETACHED;
}

/* Whether it has a request that isn't some block's in it, and that it hasn't got yet. */
static bool is_to_end(lua_State *L, Task *t) {
  bool found = false;
  int top = lua_gettop(L);
  luaL_checkstack(L, 5, NULL);
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_getfield(L, -1, "requests");
  for (uint32_t i = 1; i <= t->requests && !found; i++, lua_settop(L, top + 3)) {
    lua_rawgeti(L, top + 3, i);
    found = lua_getfield(L, -1, "scope") == LUA_TNIL;
  }
  lua_settop(L, top);
  return found;
}

void asy_cancel_ask(lua_State *L, Task *t) {
  Runtime *rt = t->loop->rt;
  if ((t->requests && is_to_end(L, t)) || list_linked(&t->todo)) return;
  Walk walk = {.rt = rt, .number = ++rt->last_walk};
  list_init(&walk.todo);
  list_append(&walk.todo, &t->todo);
  luaL_checkstack(L, 20, NULL);
  if (go_on(L, &walk)) lua_error(L);
}

/* stack: ..., task, request → ..., task; queues the request, and delivers it if it is due. mark: see shielded.c */
static void request(lua_State *L, Task *t, int msg, bool own, uint64_t mark) {
  if (!queue_request(L, t)) return;
  Runtime *rt = t->loop->rt;
  Walk walk = {.rt = rt, .number = ++rt->last_walk, .msg = msg};
  if (own && t == rt->current) t->own_request = t->requests;
  list_init(&walk.todo);
  if (mark >= t->shield) deliver(L, t, &walk);
  if (go_on(L, &walk)) lua_error(L);
}

void asy_task_cancel(lua_State *L, Task *t, int msg) {
  if (msg) msg = lua_absindex(L, msg);
  luaL_checkstack(L, 20, NULL);
  asy_task_push(L, t);
  asy_cancelled_push(L, msg);
  request(L, t, msg, true, 0);
  lua_pop(L, 1);
}

void asy_task_request(lua_State *L, Task *t, uint64_t mark) {
  luaL_checkstack(L, 20, NULL);
  if (mark) asy_shield_mark(L, mark);
  request(L, t, 0, false, mark);
}

/* As a cancellation comes, so that what the task awaits ends before it does; but it counts as none. */
static void throw_politely(lua_State *L, Task *t, int err) {
  asy_task_push(L, t);
  lua_pushvalue(L, err);
  asy_task_request(L, t, t->shield ? t->shields : 0);
  if (t->phase != TASK_ENDED) t->cancelling--;
  lua_pop(L, 1);
}

void asy_task_throw(lua_State *L, Task *t, int err) {
  if (!asy_cancel_due(L, t)) throw_politely(L, t, err);
  if (!loop_is_busy(t->loop) && t->phase == TASK_PARKED && asy_cancel_drop(L, t)) task_wake(t, ASY_WOKEN_CANCELLED);
}

void asy_task_requeue(lua_State *L, Task *t) {
  if (!queue_request(L, t)) return;
  t->cancelling--;
  if (t->own_request) t->own_request++;
  if (t->forwarded) t->forwarded++;
  asy_future_extras(L, -1, true);
  lua_getfield(L, -1, "requests");
  lua_rawgeti(L, -1, t->requests);
  for (lua_Integer i = t->requests; i > 1; i--) {
    lua_rawgeti(L, -2, i - 1);
    lua_rawseti(L, -3, i);
  }
  lua_rawseti(L, -2, 1);
  lua_pop(L, 2);
}

bool asy_task_withdraw(lua_State *L, Task *t, int idx) {
  bool found = false;
  bool committed = t->in_cancel || (t->phase == TASK_WOKEN && t->code == ASY_WOKEN_CANCELLED);
  uint32_t kept = 0, own = 0, forwarded = 0;
  if (!t->requests) return false;
  uint32_t first = committed ? asy_shield_due(L, t) : 0;
  if (committed && !first) first = 1;
  asy_task_push(L, t);
  asy_future_extras(L, -1, true);
  lua_getfield(L, -1, "requests");
  for (uint32_t i = 1; i <= t->requests; i++) {
    lua_rawgeti(L, -1, i);
    if (i != first && (!idx || lua_rawequal(L, -1, idx))) {
      found = true;
      lua_pop(L, 1);
    } else {
      lua_rawseti(L, -2, ++kept);
      if (i == t->own_request) own = kept;
      if (i == t->forwarded) forwarded = kept;
    }
  }
  for (uint32_t i = kept + 1; i <= t->requests; i++) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
  t->requests = kept;
  t->own_request = own;
  if (t->forwarded && !forwarded) t->loop->rt->last_taken = t->loop->rt->last_walk;
  t->forwarded = forwarded;
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
