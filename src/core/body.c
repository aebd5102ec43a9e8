/*
** body.c - what runs in a task's coroutine: the user's function, protected, with a handler that keeps tracebacks.
**
** The coroutine's stack is [message handler, function, arguments...] in the frame of `body`.
*/
#include "core/body.h"

#include "core/error.h"
#include "core/trace.h"

/* Message handler: the traceback of an error that leaves the task. Cancellations go without, and what nobody will be
** told of: a traceback takes longer than all the rest of a short connection. */
static int on_error(lua_State *L) {
  const Task *t = asy_runtime(L)->current;
  if (t && t->role && t->role->dismisses && t->role->dismisses(L, t)) return 1;
  if (!asy_trace_take(L, 1)) return 1;
  if (asy_trace_is_request(L)) { /* what takes its place comes from here */
    asy_trace_note(L, 1, true);
    return 1;
  }
  lua_pushvalue(L, 2);
  asy_trace_fill(L, 1);
  asy_task_push(L, asy_runtime(L)->current);
  lua_insert(L, 2);
  asy_trace_keep(L, 2);
  lua_settop(L, 1);
  return 1;
}

/* stack: message handler, results or error → one value. What allocates is done
** here, in the coroutine, where running out of memory ends the task and nothing else. */
static int body_done(lua_State *L, int status, lua_KContext ctx) {
  const Runtime *rt = (Runtime *)ctx;
  Task *t = rt->current;
  if (!t && rt->forked_co == L) t = rt->forked; /* in the child it ends, too */
  if (!t || t->co != L) return asy_resumed_by_stranger(L); /* its own task is gone */
  t->failed = status != LUA_OK && status != LUA_YIELD;
  t->packed = !t->failed && asy_pack(L, lua_gettop(L) - 1);
  return 1;
}

/* stack: message handler, function, arguments */
static int body(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  if (!rt->current || rt->current->co != L) return asy_resumed_by_stranger(L);
  int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, (lua_KContext)rt, body_done);
  return body_done(L, status, (lua_KContext)rt);
}

bool asy_task_owns(lua_State *co) {
  lua_Debug ar;
  if (lua_status(co) == LUA_OK && !asy_has_frames(co)) return lua_tocfunction(co, 1) == body;
  if (!asy_outermost(co, &ar) || !lua_checkstack(co, 1)) return false;
  lua_getinfo(co, "f", &ar);
  bool owns = lua_tocfunction(co, -1) == body;
  lua_pop(co, 1);
  return owns;
}

void asy_body_check(lua_State *L, int arg, int idx) {
  lua_State *co = lua_tothread(L, idx);
  if (co) {
    bool unstarted = asy_is_unstarted(co);
    if (unstarted && lua_tocfunction(co, 1) == body)
      asy_argerror(L, arg, "the coroutine is a task's already");
    if (unstarted) return;
    asy_argerror(L, arg, "a coroutine that has not started expected");
  }
  if (!asy_callable(L, idx))
    asy_notfunction(L, arg, idx, "function or coroutine", "f, x", "f(x)");
}

/* Prepares the coroutine's stack: body, message handler, function, arguments.
** stack: [fn] function or coroutine, n arguments, ...; the held table at `held` */
void asy_body_load(lua_State *L, Task *t, int fn, int n, int held) {
  lua_State *co = t->co;
  lua_rawgeti(L, held, ASY_SLOT_BODY);
  lua_xmove(L, co, 1);
  lua_pushcfunction(co, on_error);
  int first = fn;
  if (!t->own_coro) { /* its function, and perhaps arguments, are there */
    lua_rotate(co, 1, 2);
    first++;
  }
  for (int i = first; i <= fn + n; i++) lua_pushvalue(L, i);
  lua_xmove(L, co, fn + n + 1 - first);
}

void asy_body_push(lua_State *L) { asy_pushfunction(L, body); }
