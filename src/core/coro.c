/*
** coro.c - coroutines that a task drives from within: asyncio.coroutine's, and those that are
** awaited.
**
** A drive resumes the inner coroutine and makes it the task's innermost. When that comes back
** because the task has parked in it, the drive yields too, and so on out to the step; the step's
** resume comes back in the same way. Its stack: [coroutine, ...], nothing else while it is parked.
** Registry table `waiting`: coroutine → true while its task waits in it, the error that closes it, or
** false.
*/
#include "core/coro.h"

#include "core/error.h"
#include "core/impasse.h"
#include "core/trace.h"
#include "core/watch.h"
#include "open.h"

typedef enum Mode { RESUME, WRAP, AWAIT, CLOSE } Mode; /* what becomes of the results */

static const char waiting_key = 0;

/* waiting[coroutine at idx] = value on the top, which it pops. Only the first time for a coroutine can
** raise for memory: false keeps the place. */
static void set_waiting(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &waiting_key);
  lua_pushvalue(L, idx);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 2);
}

static int push_waiting(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &waiting_key);
  lua_pushvalue(L, idx);
  int type = lua_rawget(L, -2);
  lua_remove(L, -2);
  return type;
}

/* What runs in the coroutine */

/* Message handler: keeps the traceback of this level for the levels around it. */
static int on_error(lua_State *L) {
  if (asy_trace_take(L, 1)) asy_trace_note(L, 1, false);
  lua_settop(L, 1);
  return 1;
}

static int body_done(lua_State *L, int status, lua_KContext ctx) {
  (void)ctx;
  if (status != LUA_OK && status != LUA_YIELD) return lua_error(L);
  return lua_gettop(L) - 1;
}

/* Runs the function protected, so that its <close> variables may await when it fails. */
static int body(lua_State *L) {
  lua_pushcfunction(L, on_error);
  lua_insert(L, 1);
  return body_done(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, 0, body_done), 0);
}

/* Driving */

static int drive_resumed(lua_State *L, int status, lua_KContext mode);

/* Moves n results from the coroutine. stack: coroutine, ... → coroutine, ..., results */
static int take(lua_State *L, lua_State *co, int n) {
  if (!lua_checkstack(L, n + 5)) {
    lua_pop(co, n);
    return luaL_error(L, "too many results");
  }
  lua_xmove(co, L, n);
  return n;
}

/* The coroutine has yielded to its consumer, or returned. */
static int arrived(lua_State *L, lua_State *co, Mode mode, int status, int n) {
  bool yielded = status == LUA_YIELD;
  if (mode == AWAIT && yielded) {
    asy_killthread(co, L);
    return asy_error(L, ASY_ERROR, "the awaited coroutine yielded: nobody takes what it yields");
  }
  if (mode == CLOSE) {
    lua_pop(co, n);
    if (yielded) {
      asy_killthread(co, L);
      return asy_error(L, ASY_ERROR, "the coroutine yielded while it was being closed");
    }
    lua_pushboolean(L, 1);
    return 1;
  }
  if (mode == RESUME) lua_pushboolean(L, 1);
  return take(L, co, n) + (mode == RESUME);
}

/* The coroutine has failed: its error is on its stack's top. */
static int failed(lua_State *L, lua_State *co, Mode mode) {
  lua_xmove(co, L, 1);
  if (mode != RESUME) asy_killthread(co, L); /* if we didn't begin it, it has <close>s pending */
  if (mode == RESUME) {
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
  }
  if (mode == CLOSE) {
    bool own = lua_rawequal(L, 2, -1);
    lua_pushboolean(L, own);
    if (own) return 1;
    lua_insert(L, -2);
    return 2;
  }
  return lua_error(L);
}

static int drive(lua_State *L, lua_State *co, int nargs, Mode mode) {
  Runtime *rt = ASY_RUNTIME(L);
  Task *t = asy_current_or_null(L); /* NULL: not in a task, or where it can't wait */
  int n, status;
  if (rt->watching) asy_watch_inner(co);
  if (t) t->top = co;
  status = lua_resume(co, L, nargs, &n);
  if (rt->armed == co) { /* what is broken is the task, not this coroutine alone */
    interrupt_disarm(rt);
    if (t) asy_interrupt_arm(rt, L);
  }
  if (t) {
    if (status == LUA_YIELD && t->phase != TASK_RUNNING) {
      lua_pop(co, n);
      lua_pushboolean(L, 1);
      set_waiting(L, 1);
      return lua_yieldk(L, 0, mode, drive_resumed);
    }
    t->top = L;
  }
  if (status == LUA_OK || status == LUA_YIELD) return arrived(L, co, mode, status, n);
  return failed(L, co, mode);
}

/* The step has resumed the task: go on inwards. */
static int drive_resumed(lua_State *L, int status, lua_KContext mode) {
  Task *t = ASY_RUNTIME(L)->current;
  (void)status;
  if (!t || t->top != L)
    return asy_error(L, ASY_ERROR,
                     "a coroutine that waits inside its task was resumed by something else");
  lua_pushboolean(L, 0);
  set_waiting(L, 1);
  return drive(L, lua_tothread(L, 1), 0, (Mode)mode);
}

/* stack: coroutine, arguments. An error message when it can't be resumed, else NULL: then it is known from now on.
** One that is known was begun, or taken over, here, and is no task's: looking for that takes a while in a
** deep one. */
static const char *check_resumable(lua_State *L, lua_State *co, int nargs) {
  int known = push_waiting(L, 1);
  if (lua_toboolean(L, -1)) return "cannot resume a coroutine that waits inside its task";
  lua_pop(L, 1);
  if (lua_status(co) == LUA_OK && asy_has_frames(co)) return "cannot resume non-suspended coroutine";
  if (lua_status(co) != LUA_YIELD && !asy_is_unstarted(co)) return "cannot resume dead coroutine";
  if (known == LUA_TNIL && asy_task_owns(co)) return "cannot resume the coroutine of a task";
  if (!lua_checkstack(co, nargs + 5)) return "too many arguments to resume";
  if (known != LUA_TNIL) return NULL;
  lua_pushboolean(L, 0);
  set_waiting(L, 1);
  return NULL;
}

static int begin(lua_State *L, Mode mode) {
  lua_State *co = lua_tothread(L, 1);
  int n = lua_gettop(L) - 1;
  const char *why = L == co ? "cannot resume non-suspended coroutine" : check_resumable(L, co, n);
  if (why) {
    if (mode != RESUME) return luaL_error(L, "%s", why);
    lua_pushboolean(L, 0);
    lua_pushstring(L, why);
    return 2;
  }
  lua_xmove(L, co, n);
  if (lua_status(co) == LUA_OK) {
    lua_pushcfunction(co, body);
    lua_insert(co, 1);
    n = lua_gettop(co) - 1;
  }
  return drive(L, co, n, mode);
}

int asy_coro_await(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  Task *t = asy_current(L); /* awaiting is done by a task, also when nothing has to wait */
  if (task_spent(t)) return asy_give_way(L, t, asy_coro_await);
  if (lua_status(co) != LUA_YIELD && !asy_is_unstarted(co))
    return asy_error(L, ASY_ERROR, "cannot await a coroutine that %s",
                     asy_has_frames(co) ? "is running" : "has ended: it can be awaited once");
  return begin(L, AWAIT);
}

/* asyncio.coroutine */

static lua_State *check_coroutine(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  if (!co) asy_typeerror(L, 1, 1, "coroutine", "");
  return co;
}

/// Like the standard `coroutine.resume`; an await inside suspends the whole task.
// @function coroutine.resume
// @tparam thread co
// @param ... passed to it
// @return true and what it yielded or returned, or false and its error
static int coro_resume(lua_State *L) {
  check_coroutine(L);
  return begin(L, RESUME);
}

static int wrapped(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 1);
  return begin(L, WRAP);
}

/// Like the standard `coroutine.wrap`; an await inside suspends the whole task.
// Errors pass through unchanged.
// @function coroutine.wrap
// @tparam function f
// @treturn function
static int coro_wrap(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  lua_pushcclosure(L, wrapped, 2);
  return 1;
}

/* Resumed by the consumer, or by close, which left the error to raise. */
static int yield_resumed(lua_State *L, int status, lua_KContext height) {
  (void)status;
  lua_pushthread(L);
  if (push_waiting(L, -1) == LUA_TTABLE) {
    lua_pushboolean(L, 0);
    set_waiting(L, -3);
    return lua_error(L);
  }
  lua_pop(L, 2);
  return lua_gettop(L) - (int)height;
}

/// Like the standard `coroutine.yield`: the values go to the coroutine's consumer.
// @function coroutine.yield
// @param ... values for the consumer
// @return what it is resumed with
static int coro_yield(lua_State *L) {
  Task *t = ASY_RUNTIME(L)->current;
  if (t && t->co == L)
    return asy_error(L, ASY_ERROR, "a task has no consumer to yield to: "
                                   "to give way, call asyncio.sleep(0)");
  return lua_yieldk(L, lua_gettop(L), 0, yield_resumed);
}

/// Like the standard `coroutine.status`; "normal" also while it waits inside its task.
// @function coroutine.status
// @tparam thread co
// @treturn string
static int coro_status(lua_State *L) {
  lua_State *co = check_coroutine(L);
  const char *status = "dead";
  if (L == co)
    status = "running";
  else if (lua_status(co) == LUA_YIELD)
    status = (push_waiting(L, 1), lua_toboolean(L, -1)) ? "normal" : "suspended";
  else if (lua_status(co) == LUA_OK)
    status = asy_has_frames(co) ? "normal" : lua_gettop(co) ? "suspended" : "dead";
  lua_pushstring(L, status);
  return 1;
}

static bool stands_at_our_yield(lua_State *L, lua_State *co) {
  lua_Debug ar;
  if (lua_status(co) != LUA_YIELD || !lua_getstack(co, 0, &ar)) return false;
  lua_getinfo(co, "f", &ar);
  bool ours = lua_tocfunction(co, -1) == coro_yield;
  lua_pop(co, 1);
  (void)L;
  return ours;
}

/// Ends a coroutine.
// One that stands at `asyncio.coroutine.yield` gets an error there, so that its `<close>` variables
// may await; any other is closed as by the standard `coroutine.close`, where an await raises.
// @function coroutine.close
// @tparam thread co
// @return true, or false and the error that ending it raised
static int coro_close(lua_State *L) {
  lua_State *co = check_coroutine(L);
  lua_settop(L, 1);
  if (L == co || (lua_status(co) == LUA_OK && asy_has_frames(co)))
    return luaL_error(L, "cannot close a %s coroutine", L == co ? "running" : "normal");
  int known = push_waiting(L, 1);
  if (lua_toboolean(L, -1))
    return luaL_error(L, "cannot close a coroutine that waits inside its task");
  lua_settop(L, 1);
  if (known == LUA_TNIL && (lua_status(co) == LUA_YIELD || asy_is_unstarted(co)) && asy_task_owns(co))
    return luaL_error(L, "cannot close the coroutine of a task");
  if (stands_at_our_yield(L, co)) {
    asy_error_push(L, ASY_CANCELLED, "the coroutine was closed");
    lua_pushvalue(L, -1);
    set_waiting(L, 1);
    return drive(L, co, 0, CLOSE);
  }
  if (asy_closethread(co, L) == LUA_OK) {
    lua_settop(co, 0);
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushboolean(L, 0);
  lua_xmove(co, L, 1);
  return 2;
}

static const luaL_Reg functions[] = {{"resume", coro_resume}, {"wrap", coro_wrap},
                                     {"yield", coro_yield},   {"status", coro_status},
                                     {"close", coro_close},   {NULL, NULL}};

/* stack: module */
void asy_open_coro(lua_State *L) {
  asy_newweak(L, "k");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &waiting_key);
  lua_createtable(L, 0, 8);
  asy_setfuncs(L, functions);
  lua_setfield(L, -2, "coroutine");
}
