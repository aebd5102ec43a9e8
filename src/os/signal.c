/*
** signal.c - Loop:add_signal_handler, and SIGINT and other stop signals while asyncio.run runs.
**
** They are taken with a sigaction of our own: libuv's handler could only tell a loop that turns.
** One loop of the process owns them; `owner` is one of the two mutable statics of asyncio.core. The first
** wakes the loop, which calls the Interrupt's function: that cancels a task. A second one, where the
** first came to nothing, raises KeyboardInterrupt in the Lua code that runs, and has the function called again.
** A third takes the default action, whatever the program does meanwhile. They are counted together. The first has been
** answered once its task has ended or called `uncancel`, once a handler of the user's has run, or the function said so.
*/
#include "core/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "base/alloc.h"
#include "base/signals.h"
#include "core/callback.h"
#include "core/error.h"
#include "core/handle.h"
#include "core/report.h"
#include "core/task.h"
#include "open.h"

/* A signal that stops the run. */
typedef struct Caught {
  int signum;
  struct sigaction old;
  atomic_uint came; /* how often, since the loop turned */
} Caught;

typedef struct Interrupt {
  Ready ready;       /* answers */
  Loop *loop;        /* NULL: it owns nothing (any more) */
  uint64_t loop_id;
  pthread_t thread;
  const Task *task;  /* what the function cancels, or NULL */
  bool asked;        /* the function has been called ... */
  int by;            /* ... for this signal */
  volatile sig_atomic_t unseen;     /* signals since the loop turned ... */
  volatile sig_atomic_t first;      /* ... and which of them came first */
  volatile sig_atomic_t unanswered; /* those that nothing has come of */
  int n;
  Caught caught[];
} Interrupt; /* user values: what to call; the task */

#define INTERRUPT_UV_FN 1
#define INTERRUPT_UV_TASK 2

static _Atomic(Interrupt *) owner;

/* Stop signals */

static bool on_main_thread(void) {
#if defined(__linux__)
  return syscall(SYS_gettid) == getpid();
#elif defined(__APPLE__)
  return pthread_main_np();
#else
  return true;
#endif
}

/* What follows runs in the handler, on the loop's thread: only reads what this thread wrote. */

static void arm(const Loop *loop) {
  Task *t = loop->rt->current;
  lua_State *L = t ? t->top : loop->L;
  if (L && !loop->rt->armed) asy_interrupt_arm(loop->rt, L);
}

/* The task of the one before is no more, or goes on with a good conscience. */
static bool has_answered(const Interrupt *it) {
  return it->asked && it->task && (it->task->phase == TASK_ENDED || !it->task->cancelling);
}

static void take_default(int signum) {
  signal(signum, SIG_DFL);
  raise(signum);
}

static Caught *find(Interrupt *it, int signum) {
  for (int i = 0; i < it->n; i++)
    if (it->caught[i].signum == signum) return &it->caught[i];
  return NULL;
}

static void count(Interrupt *it, int signum) {
  Caught *caught = find(it, signum);
  if (caught) atomic_fetch_add(&caught->came, 1);
  it->loop->rt->interrupted_by = signum;
  if (has_answered(it)) it->unanswered = 0, it->asked = false;
  it->unanswered++;
  if (++it->unseen == 1) {
    it->first = signum;
    atomic_store(&it->loop->interrupted, 1);
    uv_async_send(&it->loop->wakeup);
  }
}

static void on_stop_signal(int signum) {
  int saved = errno;
  Interrupt *it = atomic_load(&owner);
  if (!it)
    ;
  else if (!pthread_equal(pthread_self(), it->thread))
    pthread_kill(it->thread, signum);
  else {
    count(it, signum);
    if (it->unanswered == 2)
      arm(it->loop);
    else if (it->unanswered > 2)
      take_default(signum);
  }
  errno = saved;
}

/* Pushes the Interrupt of the loop. */
static void push_interrupt(lua_State *L, Loop *loop) { asy_loop_getfield(L, loop, "interrupt"); }

/* Pushes the table of what the user wants called for stop signals, number → callback; nil: nothing. */
static void push_handlers(lua_State *L, Loop *loop) { asy_loop_getfield(L, loop, "handlers"); }

/* Calls the user's handler of a signal, if there is one. stack: ..., handlers or nil */
static bool call_handler(lua_State *L, Loop *loop, int signum) {
  if (!lua_istable(L, -1)) return false;
  bool found = lua_rawgeti(L, -1, signum) != LUA_TNIL;
  if (found) asy_callback_call(L, loop, -1);
  lua_pop(L, 1);
  return found;
}

/* A signal came: a handler of the user's, where there is one, else the Interrupt's function is called. Once for each
** time that it came, so that a second finds what the first has done. stack: ..., Interrupt, handlers or nil */
static void tell_of(lua_State *L, Loop *loop, Interrupt *it, Caught *caught) {
  for (unsigned n = atomic_exchange(&caught->came, 0); n > 0; n--)
    if (call_handler(L, loop, caught->signum))
      it->unanswered = 0;
    else {
      it->by = caught->signum;
      it->asked = true;
      lua_getiuservalue(L, -2, INTERRUPT_UV_FN);
      asy_callback_call(L, loop, -1);
      lua_pop(L, 1);
    }
}

/* The loop has turned. */
static void interrupt_run(lua_State *L, Loop *loop, Ready *self) {
  Interrupt *it = asy_container(self, Interrupt, ready);
  int top = lua_gettop(L);
  it->unseen = 0;
  Caught *first = find(it, it->first);
  push_interrupt(L, loop);
  push_handlers(L, loop);
  if (first) tell_of(L, loop, it, first);
  for (int i = 0; i < it->n; i++) tell_of(L, loop, it, &it->caught[i]);
  lua_settop(L, top);
}

/* What comes from now on is the first. Returns the one that came and that nobody has been told of, or 0. */
static int begin_anew(Interrupt *it) {
  int untold = 0;
  for (int i = 0; i < it->n; i++) {
    if (atomic_exchange(&it->caught[i].came, 0) && it->unseen == 1 && it->unanswered == 1)
      untold = it->caught[i].signum;
  }
  it->unseen = it->unanswered = 0;
  it->asked = false;
  it->task = NULL;
  atomic_store(&it->loop->interrupted, 0);
  list_remove(&it->ready.link);
  return untold;
}

static void release(Interrupt *it) {
  Interrupt *self = it;
  if (!it->loop) return;
  bool ours = atomic_compare_exchange_strong(&owner, &self, NULL);
  for (int i = 0; ours && i < it->n; i++) sigaction(it->caught[i].signum, &it->caught[i].old, NULL);
  it->loop->on_interrupt = NULL;
  int untold = begin_anew(it);
  it->loop = NULL;
  if (ours && untold) raise(untold); /* it came too late for us: whoever had it before is told */
}

/* Pushes the name of a signal, or its number, where it has none; nil for 0. */
static void push_name(lua_State *L, int signum) {
  const char *name = signal_name(signum);
  if (name)
    lua_pushstring(L, name);
  else if (signum)
    lua_pushinteger(L, signum);
  else
    lua_pushnil(L);
}

/* Pushes the table of the loop's handlers: number → box. */
static void push_signals(lua_State *L, Loop *loop) { asy_loop_subtable(L, loop, "signals"); }

/* Pushes a new Interrupt, which owns nothing yet, with room for n signals. */
static Interrupt *new_interrupt(lua_State *L, const Runtime *rt, size_t n) {
  size_t size = sizeof(Interrupt) + n * sizeof(Caught);
  Interrupt *it = lua_newuserdatauv(L, size, INTERRUPT_UV_TASK);
  memset(it, 0, size);
  it->ready.run = interrupt_run;
  list_init(&it->ready.link);
  asy_pushmeta(L, rt, ASY_INTERRUPT);
  lua_setmetatable(L, -2);
  return it;
}

/* Whether a signal may be taken: when nobody else has it and it isn't ignored. */
static bool can_catch(lua_State *L, Loop *loop, int signum) {
  struct sigaction old;
  push_signals(L, loop);
  bool taken = lua_rawgeti(L, -1, signum) != LUA_TNIL; /* by add_signal_handler, before the run */
  lua_pop(L, 2);
  return !taken && sigaction(signum, NULL, &old) == 0 && old.sa_handler != SIG_IGN;
}

static void choose(lua_State *L, Loop *loop, Interrupt *it, int signum) {
  if (!find(it, signum) && can_catch(L, loop, signum)) it->caught[it->n++].signum = signum;
}

/* Makes it the owner of its signals, and the loop's; false: another thread was first. */
static bool take_over(Interrupt *it, Loop *loop) {
  Interrupt *none = NULL;
  struct sigaction sa = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};
  if (!it->n || !on_main_thread() || loop->on_interrupt) return false;
  if (!atomic_compare_exchange_strong(&owner, &none, it)) return false;
  it->loop = loop;
  it->loop_id = loop->id;
  it->thread = pthread_self();
  loop->on_interrupt = &it->ready;
  sigemptyset(&sa.sa_mask);
  for (int i = 0; i < it->n; i++) sigaddset(&sa.sa_mask, it->caught[i].signum);
  for (int i = 0; i < it->n; i++) sigaction(it->caught[i].signum, &sa, &it->caught[i].old);
  return true;
}

/* catch_interrupt(loop, fn, task|nil, numbers|nil) → whether SIGINT, or another of these, now calls fn in that loop,
** which cancels that task; whether there was one that the function before was not told of, as its name. Called again it
** begins anew, with another function and the same signals. */
static int signal_catch(lua_State *L) {
  Loop *loop = asy_checkopenloop(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 4);
  const Task *task = asy_test(L, loop->rt, 3, ASY_TASK);
  size_t n = lua_istable(L, 4) ? (size_t)lua_rawlen(L, 4) : 0;
  int untold = 0;
  lua_pushvalue(L, 2);
  asy_callback_new(L, loop, 0)->vital = true;
  Interrupt *it = new_interrupt(L, loop->rt, n + 1); /* stack: loop, fn, task, numbers, callback, Interrupt */
  push_signals(L, loop); /* makes the table, which can_catch looks into */
  lua_pop(L, 1);
  asy_loop_checkopen(L, loop);
  bool caught = loop->on_interrupt != NULL;
  if (caught) {
    it = asy_container(loop->on_interrupt, Interrupt, ready);
    push_interrupt(L, loop);
    untold = begin_anew(it);
  } else {
    choose(L, loop, it, SIGINT);
    for (size_t i = 1; i <= n; i++) {
      lua_rawgeti(L, 4, (lua_Integer)i);
      choose(L, loop, it, (int)lua_tointeger(L, -1));
      lua_pop(L, 1);
    }
    lua_pushvalue(L, -1);
    asy_loop_setfield(L, loop, "interrupt");
    caught = take_over(it, loop);
  }
  if (caught) {
    lua_pushvalue(L, 5);
    lua_setiuservalue(L, -2, INTERRUPT_UV_FN);
    lua_pushvalue(L, 3);
    lua_setiuservalue(L, -2, INTERRUPT_UV_TASK);
    it->task = task;
  }
  lua_pushboolean(L, caught);
  push_name(L, untold);
  return 2;
}

/* interrupted_by(loop) → the name of the signal for which the function was called last */
static int signal_interrupted_by(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  push_name(L, loop->on_interrupt ? asy_container(loop->on_interrupt, Interrupt, ready)->by : 0);
  return 1;
}

/* interrupt_answered(loop): what comes next is the first again */
static int signal_answered(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  if (loop->on_interrupt) asy_container(loop->on_interrupt, Interrupt, ready)->unanswered = 0;
  return 0;
}

/* release_interrupt(loop): the handler that was there before is back */
static int signal_release(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  if (!loop->open) return 0;
  push_interrupt(L, loop);
  if (lua_isuserdata(L, -1)) release(lua_touserdata(L, -1));
  lua_pushnil(L);
  asy_loop_setfield(L, loop, "interrupt");
  return 0;
}

static void release_at_close(lua_State *L, Loop *loop, int held) {
  (void)L;
  (void)held;
  if (loop->on_interrupt) release(asy_container(loop->on_interrupt, Interrupt, ready));
}

/* The signals are whose they were before: the loop doesn't turn any more. */
static void in_child(Loop *loop, bool live) {
  (void)live;
  if (!loop->on_interrupt) return;
  Interrupt *it = asy_container(loop->on_interrupt, Interrupt, ready);
  begin_anew(it);
  release(it);
}

static int interrupt__gc(lua_State *L) {
  Interrupt *it = asy_test(L, ASY_RUNTIME(L), 1, ASY_INTERRUPT);
  if (it) release(it);
  return 0;
}

/* Other signals */

typedef struct Signal {
  Handle handle;
  uv_signal_t uv;
  Ready ready;
  int signum;
  char *site;        /* in debug mode and tests: where it was added; or NULL */
} Signal; /* boxed; user value 1 of the box: the callback */

static void destroy(Handle *h) {
  Signal *s = asy_container(h, Signal, handle);
  list_remove(&s->ready.link);
  mem_free(s->site);
  mem_free(s);
}

static void shut(Shutter *s) { handle_close(asy_container(s, Handle, shutter)); }

static const char *tell(const Handle *h, char *text, size_t size) {
  const Signal *s = asy_container(h, Signal, handle);
  const char *name = signal_name(s->signum);
  if (name)
    snprintf(text, size, "a handler of %s", name);
  else
    snprintf(text, size, "a handler of signal %d", s->signum);
  return s->site;
}

static void signal_run(lua_State *L, Loop *loop, Ready *self) {
  Signal *s = asy_container(self, Signal, ready);
  int top = lua_gettop(L);
  push_signals(L, loop);
  lua_rawgeti(L, -1, s->signum);
  lua_getiuservalue(L, -1, 1);
  asy_callback_call(L, loop, -1);
  lua_settop(L, top);
}

static void on_signal(uv_signal_t *uv, int signum) {
  Signal *s = asy_container(uv, Signal, uv);
  (void)signum;
  if (!list_linked(&s->ready.link)) loop_ready(s->handle.loop, &s->ready);
}

static int signal__gc(lua_State *L) {
  Signal **box = asy_test(L, ASY_RUNTIME(L), 1, ASY_SIGNAL), *s = box ? *box : NULL;
  if (!s) return 0;
  *box = NULL;
  if (s->handle.open) list_remove(&s->ready.link);
  handle_close(&s->handle);
  handle_unbox(&s->handle);
  return 0;
}

/* The number of the signal at idx, a name or a number; 0: it is none. */
static int to_signal(lua_State *L, int idx) {
  int isint;
  lua_Integer n = lua_tointegerx(L, idx, &isint);
  if (lua_type(L, idx) == LUA_TNUMBER) return isint && n > 0 && n <= SIGNAL_MOST ? (int)n : 0;
  return lua_type(L, idx) == LUA_TSTRING ? signal_number(lua_tostring(L, idx)) : 0;
}

static int check_signal(lua_State *L, int idx) {
  int signum = to_signal(L, idx);
  if (!signum) asy_argerror(L, idx, "signal expected: a name like \"SIGTERM\", or a number");
  return signum;
}

/* Whether sigaction takes it: libc keeps some of the real-time ones to itself. */
static bool is_ours(int signum) {
  struct sigaction old;
  return sigaction(signum, NULL, &old) == 0;
}

/* signal_number(x) → the number of a signal, nil when it is none; whether it stops a process that cannot help it, or
** tells of a mistake, or is libc's, so that it is not for a run to take */
static int get_signal_number(lua_State *L) {
  static const int UNFIT[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  int signum = to_signal(L, 1);
  bool unfit = signum && !is_ours(signum);
  for (size_t i = 0; i < sizeof UNFIT / sizeof *UNFIT; i++) unfit |= signum == UNFIT[i];
  if (signum) lua_pushinteger(L, signum); else lua_pushnil(L);
  lua_pushboolean(L, unfit);
  return 2;
}

/* Pushes an empty box. */
static Signal **new_box(lua_State *L, const Runtime *rt) {
  Signal **box = lua_newuserdatauv(L, sizeof *box, 1);
  *box = NULL;
  asy_pushmeta(L, rt, ASY_SIGNAL);
  lua_setmetatable(L, -2);
  return box;
}

/* Puts a new one into the box. */
static void fill_box(lua_State *L, Loop *loop, Signal **box, int signum) {
  Signal *s = *box = mem_calloc(1, sizeof *s);
  if (!s) asy_nomemory(L);
  handle_init(&s->handle, loop, (uv_handle_t *)&s->uv, destroy, shut);
  if (asy_is_dying(L)) s->handle.box = (void **)box;
  s->ready.run = signal_run;
  list_init(&s->ready.link);
  s->signum = signum;
  s->handle.tell = tell;
  uv_signal_init(&loop->uv, &s->uv);
  handle_opened(&s->handle);
  int status = uv_signal_start(&s->uv, on_signal, signum);
  if (status) {
    handle_close(&s->handle);
    asy_oserror(L, status, "signal", NULL);
  }
  s->site = asy_debug_site(L, loop);
}

/* Whether the run takes the signal, for which a handler of the user's goes first. */
static bool is_caught(const Loop *loop, int signum) {
  return loop->on_interrupt && find(asy_container(loop->on_interrupt, Interrupt, ready), signum);
}

/// Calls a function in the loop when a signal arrives, in place of what it does by default. In a run it takes the place
// of what that does for SIGINT and its `stop_signals`, too; the third that comes while the function cannot be called still
// ends the process.
// @function Loop:add_signal_handler
// @param signal a name like "SIGTERM", or a number
// @tparam function fn must not await; `asyncio.create_task`, followed by the function, for one that does
// @param ... its arguments
// @usage
// local loop = asyncio.get_running_loop()
// local server = asyncio.start_server(function(reader, writer) writer:send(reader:readline() or "") end, "127.0.0.1", 0)
// loop:add_signal_handler("SIGTERM", asyncio.create_task, server.shutdown, server, 5)
// os.execute "kill -TERM $PPID" -- as a service manager would
// server:serve_forever()
// print(loop:remove_signal_handler "SIGTERM") --> true
static int loop_add_signal_handler(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  int signum = check_signal(L, 2);
  asy_loop_checkopen(L, loop);
  if (!lua_isfunction(L, 3)) asy_notfunction(L, 3, 3, "function", "signal, f, x", "signal, f(x)");
  asy_callback_new(L, loop, lua_gettop(L) - 3); /* stack: loop, signal, callback */
  asy_loop_subtable(L, loop, "handlers");
  if (is_caught(loop, signum)) {
    lua_pushvalue(L, 3);
    lua_rawseti(L, -2, signum);
    return 0;
  }
  lua_pop(L, 1);
  Signal **box = new_box(L, loop->rt); /* stack: loop, signal, callback, box */
  push_signals(L, loop);
  if (lua_rawgeti(L, -1, signum) == LUA_TNIL) { /* else the box that is there */
    lua_pop(L, 1);
    asy_loop_checkopen(L, loop);
    fill_box(L, loop, box, signum);
    lua_pushvalue(L, 4);
    lua_pushvalue(L, 4);
    lua_rawseti(L, -3, signum);
  }
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, -2, 1);
  return 0;
}

/// Ends `add_signal_handler`.
// @function Loop:remove_signal_handler
// @param signal a name like "SIGTERM", or a number
// @treturn boolean whether there was one
static int loop_remove_signal_handler(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  int signum = check_signal(L, 2);
  asy_loop_checkopen(L, loop);
  lua_settop(L, 2);
  asy_loop_subtable(L, loop, "handlers");
  bool found = lua_rawgeti(L, -1, signum) != LUA_TNIL;
  if (found) {
    lua_pushnil(L);
    lua_rawseti(L, -3, signum);
  }
  push_signals(L, loop);
  if (lua_rawgeti(L, -1, signum) != LUA_TNIL) {
    Signal *s = *(Signal **)lua_touserdata(L, -1);
    list_remove(&s->ready.link);
    handle_close(&s->handle);
    lua_pushnil(L);
    lua_rawseti(L, -3, signum);
    found = true;
  }
  lua_pushboolean(L, found);
  return 1;
}

/* A handler of the user's for a signal that the run has caught. The others are handles. */
static bool may_come(lua_State *L, const Loop *loop) {
  int top = lua_gettop(L);
  asy_loop_getfield(L, loop, "handlers");
  lua_pushnil(L);
  bool found = lua_istable(L, top + 1) && lua_next(L, top + 1);
  lua_settop(L, top);
  return found;
}

static const luaL_Reg methods[] = {{"add_signal_handler", loop_add_signal_handler},
                                   {"remove_signal_handler", loop_remove_signal_handler},
                                   {NULL, NULL}};
static const luaL_Reg signal_metamethods[] = {{"__gc", signal__gc}, {NULL, NULL}};
static const luaL_Reg interrupt_metamethods[] = {{"__gc", interrupt__gc}, {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"catch_interrupt", signal_catch}, {"release_interrupt", signal_release},
    {"interrupt_answered", signal_answered}, {"interrupted_by", signal_interrupted_by},
    {"signal_number", get_signal_number}, {NULL, NULL}};

/* stack: module */
void asy_open_signal(lua_State *L) {
  static const LoopHooks hooks = {.leave = release_at_close, .may_come = may_come, .in_child = in_child};
  runtime_on_loop(asy_runtime(L), &hooks);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", methods, NULL);
  asy_newclass(L, ASY_SIGNAL, "asyncio.Signal", NULL, signal_metamethods);
  asy_newclass(L, ASY_INTERRUPT, "asyncio.Interrupt", NULL, interrupt_metamethods);
}
