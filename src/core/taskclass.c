/*
** taskclass.c - tasks as Lua sees them: making one, asking what there are, the methods of asyncio.Task
** (some for the Lua layer's scopes only), what `tostring` says.
*/
#include "core/task.h"
#include "core/error.h"

#include "core/body.h"
#include "core/options.h"
#include "core/ring.h"
#include "core/scopes.h"
#include "core/trace.h"
#include "open.h"

static Task *check_task(lua_State *L) {
  return asy_check(L, ASY_RUNTIME(L), 1, ASY_TASK, "asyncio.Task");
}

/* Making one, and finding them */

static const OptSpec SPECS[] = {{.key = "name", .kind = OPT_STRING},
                                {.key = "n", .kind = OPT_INTEGER, .least = 0, .most = 1000000}};
static const Options OPTIONS = {"create_task", 1, OPT_LIST, OPT_SPECS(SPECS)};

/* stack: [from] table → [from] its array part; its name, or nil, replaces the table below */
static void spread_options(lua_State *L, int from) {
  asy_options_check(L, from, &OPTIONS);
  int n = asy_opt_int(L, from, "n", (int)lua_rawlen(L, from));
  luaL_checkstack(L, n + 4, "too many arguments");
  lua_getfield(L, from, "name");
  for (int i = 1; i <= n; i++) lua_rawgeti(L, from, i);
  lua_remove(L, from);
}

static void set_name(lua_State *L, int task, int name) {
  asy_future_extras(L, task, true);
  lua_pushvalue(L, name);
  lua_setfield(L, -2, "name");
  lua_pop(L, 1);
}

/* stack: ..., fn, n arguments → ..., task */
static Task *new_task(lua_State *L, Loop *loop, int n, size_t more, void (*made)(Task *t, void *with), void *with) {
  Task *t = asy_task_new_with(L, loop, n, more);
  if (made) made(t, with);
  return t;
}

Task *asy_task_create(lua_State *L, Loop *loop, int from, size_t more, void (*made)(Task *t, void *with), void *with) {
  Task *t;
  if (lua_isnone(L, from)) asy_body_check(L, from, from);
  if (lua_istable(L, from) && !lua_getmetatable(L, from)) {
    lua_settop(L, from);
    spread_options(L, from); /* name, function, arguments */
    if (!lua_isfunction(L, from + 1)) asy_body_check(L, from, from + 1);
    t = new_task(L, loop, lua_gettop(L) - from - 1, more, made, with);
    if (!lua_isnil(L, from)) set_name(L, from + 1, from);
    lua_remove(L, from);
  } else {
    if (lua_istable(L, from)) lua_pop(L, 1); /* its metatable */
    t = new_task(L, loop, lua_gettop(L) - from, more, made, with);
  }
  if (loop->debug) asy_debug_note(L, -1, "made_at", 1);
  return t;
}

/// Starts a task: it takes its first step at the next turn of the loop.
// The loop keeps it alive until it has ended. Also `create_task{fn, args..., name=}`; there trailing nils count when
// `n` says how many values there are, as in `table.pack`.
// @function create_task
// @param fn a function, a callable, or a coroutine that has not started
// @param ... its arguments
// @treturn Task
// @usage
// local function count(n, step)
//   for _ = 1, n do asyncio.sleep(step) end
//   return n
// end
// local quick = asyncio.create_task(count, 3, 0.1)
// local slow = asyncio.create_task { count, 3, 1, name = "slow" }
// print(asyncio.await(quick), slow:done(), slow:get_name()) --> 3  false  slow
// print(asyncio.await(slow)) --> 3
static int task_create(lua_State *L) {
  asy_task_create(L, asy_running(L, ASY_RUNTIME(L)), 1, 0, NULL, NULL);
  return 1;
}

/// Starts a task in this loop.
// @function Loop:create_task
// @param fn as for `create_task`
// @param ... its arguments
// @treturn Task
static int loop_create_task(lua_State *L) {
  Loop *loop = asy_checkopenloop(L, 1);
  asy_task_create(L, loop, 2, 0, NULL, NULL);
  return 1;
}

/// The task that runs now; nil outside of one.
// @function current_task
// @treturn ?Task
static int task_current(lua_State *L) {
  Task *t = ASY_RUNTIME(L)->current;
  if (!t) return 0;
  asy_task_push(L, t);
  return 1;
}

/* Whether the call is made where a task can be suspended. */
static int task_can_wait(lua_State *L) {
  lua_pushboolean(L, asy_current_or_null(L) != NULL);
  return 1;
}

/* Whether anything called the Lua function that asks; nothing called the __close of a state or coroutine that is
** being closed. */
static int task_has_caller(lua_State *L) {
  lua_Debug ar;
  lua_pushboolean(L, lua_getstack(L, 2, &ar));
  return 1;
}

/// All tasks of the loop (the running one by default) that haven't ended.
// @function all_tasks
// @tparam[opt] Loop loop
// @treturn {Task,...}
static int task_all(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Loop *loop = lua_isnoneornil(L, 1) ? asy_running(L, rt)
                                     : asy_checkloop(L, 1);
  lua_newtable(L);
  if (!loop->open) return 1;
  asy_held_table(L, loop);
  for (uint32_t i = ASY_SLOT_FIRST, n = 0; i <= loop->held.n; i++) {
    lua_rawgeti(L, -1, i);
    Task *t = asy_test(L, rt, -1, ASY_TASK);
    if (t && t->slot == i && t->phase != TASK_ENDED)
      lua_rawseti(L, -3, ++n);
    else
      lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return 1;
}

/* Methods */

/// Asks the task to stop: a CancelledError is raised where it waits, or at its next wait.
// @function Task:cancel
// @param[opt] msg the error's message
// @treturn boolean false when it has ended already
static int task_cancel(lua_State *L) {
  Task *t = check_task(L);
  bool live = t->phase != TASK_ENDED;
  if (live) asy_task_cancel(L, t, lua_gettop(L) > 1 ? 2 : 0);
  lua_pushboolean(L, live);
  return 1;
}

/// How many cancellations were requested and not taken back by `uncancel`.
// @function Task:cancelling
// @treturn integer
static int task_cancelling(lua_State *L) {
  lua_pushinteger(L, check_task(L)->cancelling);
  return 1;
}

/// Takes one request off the count; at zero, requests not delivered yet are dropped.
// @function Task:uncancel
// @treturn integer how many are left
static int task_uncancel(lua_State *L) {
  Task *t = check_task(L);
  if (t->cancelling && --t->cancelling == 0 && t->phase != TASK_ENDED) asy_task_withdraw(L, t, 0);
  lua_pushinteger(L, t->cancelling);
  return 1;
}

/* For Ctrl-C: nothing goes on in it any more. */
static int task_break(lua_State *L) {
  Task *t = check_task(L);
  if (t->phase != TASK_ENDED) asy_task_break(L, t);
  return 0;
}

/* For scopes: a request whose error object they know, and their mark. → whether the task can still get it */
static int task_request(lua_State *L) {
  Task *t = check_task(L);
  bool live = t->phase != TASK_ENDED;
  luaL_checkany(L, 2);
  uint64_t mark = (uint64_t)luaL_optinteger(L, 3, 0);
  lua_settop(L, 2);
  if (live) asy_task_request(L, t, mark);
  lua_pushboolean(L, live);
  return 1;
}

/* For scopes: takes their request back and off the count. → whether it was still undelivered; in debug mode else:
** whether that it was caught has been reported, and where that was, if it was in this step */
static int task_withdraw(lua_State *L) {
  Task *t = check_task(L);
  lua_pushboolean(L, t->phase != TASK_ENDED && asy_scope_withdraw(L, t, 1, 2));
  lua_pushboolean(L, t->told);
  if (!t->caught) return 2;
  asy_future_extra(L, 1, "caught_at");
  return 3;
}

/* For scopes: a request that was delivered goes to the front again, for the next suspension. */
static int task_requeue(lua_State *L) {
  Task *t = check_task(L);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  if (t->phase != TASK_ENDED) asy_task_requeue(L, t);
  return 0;
}

/* For scopes: the task must leave this one before it ends. args: task, scope, the level where it is made */
static int task_enter(lua_State *L) {
  Task *t = check_task(L);
  luaL_where(L, (int)luaL_checkinteger(L, 3));
  size_t n = lua_rawlen(L, -1);
  lua_pushlstring(L, lua_tostring(L, -1), n > 2 ? n - 2 : 0); /* less ": " */
  asy_future_subtable(L, 1, "scopes", 0, 1);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -4);
  lua_rawset(L, -3);
  t->scopes++;
  return 0;
}

/* For scopes: this one has been left. → where it was made */
static int task_leave(lua_State *L) {
  Task *t = check_task(L);
  lua_settop(L, 2);
  asy_future_extras(L, 1, false);
  if (!t->scopes || lua_getfield(L, -1, "scopes") != LUA_TTABLE) return 0;
  lua_pushvalue(L, 2);
  if (lua_rawget(L, -2) == LUA_TNIL) return 0;
  lua_pushvalue(L, 2);
  lua_pushnil(L);
  lua_rawset(L, -4);
  t->scopes--;
  return 1;
}

/// Its name: `Task-1` and so on, or of a connection's handler `connection from 127.0.0.1:4711`, unless it was set.
// @function Task:get_name
// @treturn string
static int task_get_name(lua_State *L) {
  asy_task_name(L, check_task(L), 1);
  return 1;
}

/// Sets its name.
// @function Task:set_name
// @tparam string name
static int task_set_name(lua_State *L) {
  check_task(L);
  if (lua_type(L, 2) != LUA_TSTRING) asy_typeerror(L, 2, 2, "string", "");
  set_name(L, 1, 2);
  return 0;
}

/// Its coroutine, which is no other task's. The task lets go of it when it ends: after that nil, unless it was asked
// for before.
// @function Task:get_coro
// @treturn ?thread
static int task_get_coro(lua_State *L) {
  Task *t = check_task(L);
  t->own_coro = false;
  if (lua_getiuservalue(L, 1, TASK_UV_CORO) != LUA_TTHREAD) lua_pushnil(L);
  return 1;
}

/* The coroutine that waits in the drive where `co` stands, or NULL (see coro.c). */
static lua_State *inner_of(lua_State *co) {
  lua_Debug ar;
  if (!lua_getstack(co, 0, &ar) || !lua_checkstack(co, 1) || !lua_getlocal(co, &ar, 1)) return NULL;
  lua_State *inner = lua_tothread(co, -1);
  lua_pop(co, 1);
  return inner;
}

void asy_task_push_traceback(lua_State *L, const Task *t) {
  if (t->phase == TASK_RUNNING || !t->parked) {
    asy_traceback(L, t->co, t->phase == TASK_RUNNING && t->co == L ? 1 : 0);
    return;
  }
  asy_traceback(L, t->co, 0);
  for (lua_State *co = t->co; co != t->parked && (co = inner_of(co));) {
    asy_traceback(L, co, 0);
    lua_pushfstring(L, "%s\n%s", lua_tostring(L, -1), lua_tostring(L, -2));
    lua_replace(L, -3);
    lua_pop(L, 1);
  }
}

/* For run's main task: a cancellation that leaves it has a traceback, too. */
static int task_be_traced(lua_State *L) {
  check_task(L)->traced = true;
  return 0;
}

/* Whether a local variable at this level of co has the value at `what` of L. */
static bool holds(lua_State *L, lua_State *co, const lua_Debug *ar, int what) {
  bool found = false;
  for (int i = 1; !found && lua_getlocal(co, ar, i); i++) {
    lua_xmove(co, L, 1);
    found = lua_rawequal(L, -1, what);
    lua_pop(L, 1);
  }
  return found;
}

/* The Lua function that called the one at this level of co. */
static bool find_caller(lua_State *co, int level, lua_Debug *ar) {
  while (lua_getstack(co, ++level, ar)) {
    lua_getinfo(co, "Sl", ar);
    if (ar->currentline > 0) return true;
  }
  return false;
}

enum { SITE_DEPTH = 100 }; /* so far down it is looked for */

bool asy_task_find_site(lua_State *L, const Task *t, int what, lua_Debug *ar) {
  what = lua_absindex(L, what);
  if (!t->parked) return false;
  for (lua_State *co = t->co; co; co = co == t->parked ? NULL : inner_of(co))
    for (int level = 0; level < SITE_DEPTH && lua_checkstack(co, 2) && lua_getstack(co, level, ar); level++)
      if (holds(L, co, ar, what)) return find_caller(co, level, ar);
  return false;
}

/// Where it stands, or where its error was raised.
// @function Task:traceback
// @treturn ?string nil when there is nothing to tell
static int task_traceback(lua_State *L) {
  Task *t = check_task(L);
  if (t->phase == TASK_ENDED) {
    asy_trace_push(L, 1, false);
    return 1;
  }
  asy_task_push_traceback(L, t);
  return 1;
}

/* Pushes where the task's function is. idx: its userdata */
static void push_place(lua_State *L, int idx) {
  lua_Debug ar;
  if (lua_getiuservalue(L, idx, TASK_UV_FUNCTION) == LUA_TFUNCTION) {
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">S", &ar);
    if (*ar.what == 'C')
      lua_pushliteral(L, "function at [C]");
    else if (*ar.what == 'm')
      lua_pushfstring(L, "main chunk of %s", ar.short_src);
    else
      lua_pushfstring(L, "function at %s:%d", ar.short_src, ar.linedefined);
  } else
    lua_pushliteral(L, "function at ?");
}

void asy_task_push_wait(lua_State *L, const Task *t) {
  char text[ASY_WAIT_TEXT] = "";
  if (t->kind->describe) t->kind->describe(t, text);
  lua_pushfstring(L, "%s%s%s", t->kind->name, *text ? ", " : "", text);
}

/* Leaves more than the text, which is on the top. */
static void push_state(lua_State *L, Task *t, int idx) {
  Future *next;
  if (t->phase == TASK_ENDED && t->future.state != FUTURE_PENDING) {
    if (t->future.packed) {
      lua_pushliteral(L, "done");
      return;
    }
    if (t->future.state == FUTURE_CANCELLED) {
      lua_pushliteral(L, "cancelled");
      return;
    }
    lua_pushstring(L, t->future.state == FUTURE_RESULT ? "done, result " : "failed, error ");
    asy_future_push_value(L, idx);
    lua_concat(L, 2);
  } else if (t->phase == TASK_ENDED)
    lua_pushliteral(L, "abandoned");
  else if (t->phase == TASK_PARKED && t->kind->awaited && (next = t->kind->awaited(t, 0)) && next->task &&
           !t->kind->awaited(t, 1)) {
    asy_awaited_push(L, t, 0);
    asy_task_name(L, (Task *)next, -1);
    lua_pushfstring(L, "waits (%s '%s')", t->kind->name, lua_tostring(L, -1));
  } else if (t->phase == TASK_PARKED) {
    asy_task_push_wait(L, t);
    lua_pushfstring(L, "waits (%s)", lua_tostring(L, -1));
  } else
    lua_pushstring(L, t->phase == TASK_NEW ? "new" : t->phase == TASK_RUNNING ? "running" : "ready");
}

void asy_task_push_state(lua_State *L, Task *t, int idx) {
  int top = lua_gettop(L);
  push_state(L, t, lua_absindex(L, idx));
  lua_copy(L, -1, top + 1);
  lua_settop(L, top + 1);
}

static int task__tostring(lua_State *L) {
  Task *t = check_task(L);
  lua_settop(L, 1);
  luaL_checkstack(L, 20, NULL);
  lua_pushliteral(L, "asyncio.Task '");
  asy_task_name(L, t, 1);
  lua_pushliteral(L, "': ");
  asy_task_push_state(L, t, 1);
  push_place(L, 1);
  lua_pushfstring(L, ", %s (%p)", lua_tostring(L, -1), (void *)t);
  lua_insert(L, 6);
  lua_settop(L, 6);
  lua_concat(L, 5);
  return 1;
}

/// A function that runs in the loop, and the future of its results: it has the methods of `Future`, too.
// `create_task` makes it. As a `<close>` variable it ends with its block, see `Task:stop`.
// @type Task
// @usage
// local task = asyncio.create_task(function()
//   local _ <close> = setmetatable({}, { __close = function() asyncio.sleep(0.1) end }) -- may wait, too
//   asyncio.sleep(3600)
// end)
// asyncio.sleep(1)
// task:cancel()
// asyncio.wait { task } -- until it has tidied up
// print(task:cancelled()) --> true

static const luaL_Reg methods[] = {{"cancel", task_cancel},
                                   {"cancelling", task_cancelling},
                                   {"uncancel", task_uncancel},
                                   {"get_name", task_get_name},
                                   {"set_name", task_set_name},
                                   {"get_coro", task_get_coro},
                                   {"traceback", task_traceback},
                                   {"_break", task_break},
                                   {"_request", task_request},
                                   {"_withdraw", task_withdraw},
                                   {"_requeue", task_requeue},
                                   {"_enter", task_enter},
                                   {"_leave", task_leave},
                                   {"_be_traced", task_be_traced},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__tostring", task__tostring}, {NULL, NULL}};
static const luaL_Reg loop_methods[] = {{"create_task", loop_create_task}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"create_task", task_create},
                                     {"current_task", task_current},
                                     {"all_tasks", task_all},
                                     {"can_wait", task_can_wait},
                                     {"has_caller", task_has_caller},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_task_class(lua_State *L) {
  asy_options_note(L, &OPTIONS);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", loop_methods, NULL);
  asy_newclass(L, ASY_TASK, "asyncio.Task", methods, metamethods);
}
