/*
** loop.c - the event loop: classes and the runtime of a Lua state, the held table, the turn.
**
** Invariants: `rt->running` is the loop on the C stack, if any; while it runs, the registry has
** its held table at hand. A node is in one list at most. A closed loop holds nothing.
*/
#include "core/loop.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#if defined(__linux__)
#include <poll.h>
#endif

#include "core/error.h"

#define STEPS_PER_POLL 256         /* a busy loop polls after so many steps ... */
#define NS_PER_POLL 4000000        /* ... or after so long (Tokio, which has no such bound: 61 steps) */
#define NS 1000000000              /* in a second */
#define COARSE_LIMIT 40000000      /* thresholds below that are measured with the exact clock */
#define HUNT_SLICE 1000000         /* the longest run of collector steps, ns */
#define HUNT_PAUSE 9000000         /* the time left to others between two of them, ns */
#define HUNT_CYCLES 2
#define HUNT_MAX_KB 51200          /* larger heaps are hunted through in steps only ... */
#define HUNT_SLICES 500            /* ... and so many of them for a cycle at most */
#define HUNT_FIRST 20000000        /* the first cycle begins so long after the failure, ns: the last ... */
#define HUNT_NEXT 1000000000       /* references may go a little later; the next one so long after it */

static const char runtime_key = 0; /* registry: the Runtime */
static const char loops_key = 0;   /* registry: id → loop, weak */

/* The runtime and its classes */

Runtime *asy_runtime(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &runtime_key);
  Runtime *rt = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return rt;
}

void asy_setfuncs(lua_State *L, const luaL_Reg *functions) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &runtime_key);
  luaL_setfuncs(L, functions, 1);
}

void asy_newweak(lua_State *L, const char *mode) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushstring(L, mode);
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
}

bool asy_callable(lua_State *L, int idx) {
  if (lua_isfunction(L, idx)) return true;
  if (luaL_getmetafield(L, idx, "__call") == LUA_TNIL) return false;
  lua_pop(L, 1);
  return true;
}

int asy_nomemory(lua_State *L) {
  luaL_error(L, "not enough memory");
  for (;;) continue;
}

void asy_newclass(lua_State *L, Kind kind, const char *name, const luaL_Reg *methods,
                  const luaL_Reg *metamethods) {
  Runtime *rt = asy_runtime(L);
  if (luaL_newmetatable(L, name)) {
    lua_createtable(L, 0, 16);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "methods");
    lua_setfield(L, -2, "__index");
    rt->meta[kind] = lua_topointer(L, -1);
    lua_pushvalue(L, -1);
    rt->meta_ref[kind] = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  if (metamethods) asy_setfuncs(L, metamethods);
  if (methods) {
    lua_getfield(L, -1, "methods");
    asy_setfuncs(L, methods);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

void asy_pushmeta(lua_State *L, const Runtime *rt, Kind kind) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->meta_ref[kind]);
}

void *asy_test(lua_State *L, const Runtime *rt, int idx, Kind kind) {
  void *p = lua_touserdata(L, idx);
  if (!p || !lua_getmetatable(L, idx)) return NULL;
  bool same = lua_topointer(L, -1) == rt->meta[kind];
  lua_pop(L, 1);
  return same ? p : NULL;
}

void *asy_check(lua_State *L, const Runtime *rt, int idx, Kind kind, const char *name) {
  void *p = asy_test(L, rt, idx, kind);
  if (!p) luaL_typeerror(L, idx, name);
  return p;
}

/* The outermost function of a coroutine; false: there is none. */
static bool outermost(lua_State *co, lua_Debug *ar) {
  int low = 0, high = 1;
  while (lua_getstack(co, high, ar)) low = high, high *= 2;
  while (high - low > 1) {
    int middle = low + (high - low) / 2;
    if (lua_getstack(co, middle, ar)) low = middle; else high = middle;
  }
  return lua_getstack(co, low, ar);
}

/* Lua calls those finalisers with nothing beneath. (So does a host that collects where it isn't in a call.) */
void asy_checkalive(lua_State *L) {
  lua_Debug ar;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  lua_State *main = lua_tothread(L, -1);
  lua_pop(L, 1);
  if (!outermost(main, &ar) || !lua_getinfo(main, "n", &ar) || !ar.name || strcmp(ar.name, "__gc") != 0) return;
  if (!strcmp(ar.namewhat, "metamethod"))
    asy_error(L, ASY_CLOSED, "the Lua state is being closed: this cannot be made any more");
}

static Loop *check_loop(lua_State *L, int idx) {
  return asy_check(L, ASY_RUNTIME(L), idx, ASY_LOOP, "asyncio.Loop");
}

/* Finding loops */

Loop *asy_running(lua_State *L, Runtime *rt) {
  if (!rt->running)
    asy_error(L, ASY_ERROR, "no event loop is running: start one with asyncio.run");
  return rt->running;
}

Loop *asy_loop_find(const Runtime *rt, uint64_t id) {
  if (rt->running && rt->running->id == id) return rt->running;
  list_each(node, &rt->loops) {
    Loop *loop = asy_container(node, Loop, link);
    if (loop->id == id) return loop;
  }
  return NULL;
}

void asy_loop_push(lua_State *L, const Loop *loop) {
  if (loop->rt->running == loop) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, loop->rt->loop_ref);
    return;
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &loops_key);
  lua_rawgeti(L, -1, loop->id);
  lua_remove(L, -2);
}

int asy_loop_closed(lua_State *L) { asy_error(L, ASY_CLOSED, "the event loop is closed"); }

/* Pushes the table of its fields; false: it has none any more. */
static bool push_fields(lua_State *L, const Loop *loop) {
  asy_loop_push(L, loop);
  if (lua_isnil(L, -1)) return false;
  int type = lua_getiuservalue(L, -1, ASY_UV_FIELDS);
  lua_replace(L, -2);
  return type == LUA_TTABLE;
}

void asy_loop_getfield(lua_State *L, const Loop *loop, const char *name) {
  if (push_fields(L, loop)) lua_getfield(L, -1, name); else lua_pushnil(L);
  lua_replace(L, -2);
}

void asy_loop_setfield(lua_State *L, const Loop *loop, const char *name) {
  if (!push_fields(L, loop)) asy_loop_closed(L);
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, name);
  lua_pop(L, 2);
}

void asy_subtable(lua_State *L, int idx, const char *key, int narray, int nrecord) {
  idx = lua_absindex(L, idx);
  if (lua_getfield(L, idx, key) == LUA_TTABLE) return;
  lua_createtable(L, narray, nrecord);
  if (lua_getfield(L, idx, key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushvalue(L, -1);
    lua_setfield(L, idx, key);
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
}

void asy_loop_subtable(lua_State *L, const Loop *loop, const char *key) {
  if (!push_fields(L, loop)) asy_loop_closed(L);
  asy_subtable(L, -1, key, 0, 0);
  lua_replace(L, -2);
}

/* The held table */

void asy_held_table(lua_State *L, const Loop *loop) {
  if (loop->rt->running == loop) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, loop->rt->held_ref);
    return;
  }
  if (loop->rt->closing == loop) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, loop->rt->closing_ref);
    return;
  }
  asy_loop_push(L, loop);
  if (lua_isnil(L, -1)) return;
  lua_getiuservalue(L, -1, ASY_UV_HELD);
  lua_replace(L, -2);
}

uint32_t asy_hold_in(lua_State *L, Loop *loop, int held) {
  uint32_t slot = loop->free_slot;
  if (!slot) {
    lua_rawseti(L, held, loop->held + 1); /* may raise: counted after it */
    return ++loop->held;
  }
  lua_rawgeti(L, held, slot);
  loop->free_slot = (uint32_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  lua_rawseti(L, held, slot);
  return slot;
}

uint32_t asy_hold(lua_State *L, Loop *loop) {
  int held = lua_gettop(L);
  asy_loop_checkopen(L, loop);
  asy_held_table(L, loop);
  if (lua_isnil(L, -1)) asy_loop_closed(L);
  lua_insert(L, held);
  uint32_t slot = asy_hold_in(L, loop, held);
  lua_pop(L, 1);
  return slot;
}

void asy_held_push(lua_State *L, Loop *loop, uint32_t slot) {
  asy_held_table(L, loop);
  if (lua_isnil(L, -1)) return;
  lua_rawgeti(L, -1, slot);
  lua_replace(L, -2);
}

void asy_release_in(lua_State *L, Loop *loop, int held, uint32_t slot) {
  lua_pushinteger(L, loop->free_slot);
  lua_rawseti(L, held, slot);
  loop->free_slot = slot;
}

void asy_release(lua_State *L, Loop *loop, uint32_t slot) {
  if (!loop->open) return; /* the table went as a whole */
  asy_held_table(L, loop);
  if (!lua_isnil(L, -1)) asy_release_in(L, loop, lua_gettop(L), slot);
  lua_pop(L, 1);
}

void asy_wake_all(ListNode *line, int code) {
  while (!list_empty(line)) {
    Waiter *w = asy_container(line->next, Waiter, link);
    w->wake(w, code);
  }
}

/* KeyboardInterrupt in running code */

static void break_hook(lua_State *L, lua_Debug *ar) {
  (void)ar;
  if (asy_runtime(L)->armed != L) { /* a coroutine that was made while another was armed */
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  asy_error_push(L, ASY_KEYBOARD_INTERRUPT, "interrupted by Ctrl-C");
  lua_error(L);
}

void asy_interrupt_arm(Runtime *rt, lua_State *L) {
  rt->old_hook = lua_gethook(L);
  rt->old_mask = lua_gethookmask(L);
  rt->old_count = lua_gethookcount(L);
  rt->armed = L;
  lua_sethook(L, break_hook, LUA_MASKCOUNT, 1);
}

void asy_interrupt_disarm(Runtime *rt) {
  lua_State *L = rt->armed;
  rt->armed = NULL;
  lua_sethook(L, rt->old_hook, rt->old_mask, rt->old_count);
}

/* Time */

#if defined(CLOCK_MONOTONIC_COARSE)
#define CHEAP_CLOCK CLOCK_MONOTONIC_COARSE /* 7 ns instead of 25, in steps of 4 ms */
#else
#define CHEAP_CLOCK CLOCK_MONOTONIC
#endif

static void set_slow(Loop *loop, uint64_t ns) {
  loop->slow_ns = ns;
  loop->step_clock = ns < COARSE_LIMIT ? CLOCK_MONOTONIC : CHEAP_CLOCK;
  loop->step_start = loop->polled_at = asy_step_now(loop);
}

uint64_t asy_now(const Loop *loop) { return loop->is_virtual ? loop->virtual_now : uv_hrtime(); }

uint64_t asy_deadline(const Loop *loop, lua_Number seconds) {
  uint64_t now = asy_now(loop);
  double ns = seconds * NS;
  if (!(ns > 0)) return now;
  return ns < 9e18 ? now + (uint64_t)ceil(ns) : TIMER_NEVER;
}

lua_Number asy_checkseconds(lua_State *L, int idx) {
  lua_Number s = luaL_checknumber(L, idx);
  luaL_argcheck(L, s == s, idx, "seconds expected, got NaN");
  return s;
}

/* Polling */

static void on_tick(uv_timer_t *tick) {
  Loop *loop = asy_container(tick, Loop, tick);
  loop->tick_at = TIMER_NEVER;
  uv_stop(&loop->uv); /* before 1.45 libuv runs due timers first, and would then poll without a limit */
}

static void on_wakeup(uv_async_t *wakeup) {
  Loop *loop = asy_container(wakeup, Loop, wakeup);
  inbox_deliver(loop->inbox);
  if (atomic_exchange(&loop->interrupted, 0) && loop->on_interrupt &&
      !list_linked(&loop->on_interrupt->link))
    asy_ready(loop, loop->on_interrupt);
}

static void poll_now(Loop *loop) { uv_run(&loop->uv, UV_RUN_NOWAIT); }

/* Waits less than a millisecond, which libuv's own timers can't. */
static void poll_briefly(Loop *loop, uint64_t ns) {
  poll_now(loop); /* also hands new watchers to the kernel */
  if (!list_empty(&loop->ready)) return;
#if defined(__linux__)
  struct pollfd p = {.fd = uv_backend_fd(&loop->uv), .events = POLLIN};
  struct timespec t = {.tv_sec = 0, .tv_nsec = (long)ns};
  if (ppoll(&p, 1, &t, NULL) > 0) poll_now(loop);
#else
  (void)ns;
  uv_update_time(&loop->uv);
  uv_timer_start(&loop->tick, on_tick, 1, 0);
  uv_run(&loop->uv, UV_RUN_ONCE);
  loop->tick_at = TIMER_NEVER;
#endif
}

static void poll_until(Loop *loop, uint64_t deadline) {
  if (deadline != TIMER_NEVER) {
    uint64_t now = uv_hrtime();
    if (deadline <= now) return poll_now(loop);
    if (deadline - now < 1000000) return poll_briefly(loop, deadline - now);
    if (deadline < loop->tick_at) {
      uv_update_time(&loop->uv);
      uv_timer_start(&loop->tick, on_tick, (deadline - now) / 1000000, 0);
      loop->tick_at = deadline;
    }
  }
  uv_run(&loop->uv, UV_RUN_ONCE);
}

static void count_handle(uv_handle_t *h, void *arg) {
  if (h->data && uv_has_ref(h) && !uv_is_closing(h)) ++*(int *)arg;
}

int asy_loop_handles(Loop *loop) {
  int n = 0;
  if (loop->open) uv_walk(&loop->uv, count_handle, &n);
  return n;
}

/* The virtual clock: when nothing can go on, it is as late as the next timer. What threads do takes
** real time; what other processes do, too, but only when there is no timer. */
static void poll_virtually(lua_State *L, Loop *loop) {
  poll_now(loop);
  if (!list_empty(&loop->ready)) return;
  if (!loop->jobs && timer_next(&loop->timers) != TIMER_NEVER) {
    uint64_t next = timer_next(&loop->timers);
    if (next > loop->virtual_now) loop->virtual_now = next;
  } else if (loop->jobs || asy_loop_handles(loop))
    uv_run(&loop->uv, UV_RUN_ONCE);
  else
    asy_error(L, ASY_ERROR, "deadlock: every task waits, and there is nothing that could wake one");
}

/* Every task is blocked once a poll has found nothing either. */
static void poll_idle(Loop *loop) {
  poll_now(loop);
  if (list_empty(&loop->ready)) asy_wake_all(&loop->idle, 0);
}

/* A poll costs as much as several short jobs of a thread: what other threads have posted is taken without
** one, as often as a busy loop may go without. */
static void poll_events(lua_State *L, Loop *loop) {
  bool busy = !list_empty(&loop->ready) || loop->stopping;
  bool may_wait = loop->steps > 0 && loop->step_start - loop->polled_at < NS_PER_POLL;
  if (busy && may_wait) return;
  if (may_wait && inbox_filled(loop->inbox)) {
    loop->steps--;
    inbox_deliver(loop->inbox);
    return;
  }
  loop->steps = STEPS_PER_POLL;
  if (busy)
    poll_now(loop);
  else if (!list_empty(&loop->idle))
    poll_idle(loop);
  else if (loop->is_virtual)
    poll_virtually(L, loop);
  else if (loop->hunt && loop->hunt_at < timer_next(&loop->timers))
    poll_until(loop, loop->hunt_at);
  else
    poll_until(loop, timer_next(&loop->timers));
  loop->step_start = loop->polled_at = asy_step_now(loop);
}

/* In generational mode steps see young objects only, and never end a cycle: a whole collection, then.
** Asking for the mode is setting it; entering it again collects everything. False in the other mode. */
static bool collect_generational(lua_State *L) {
  if (lua_gc(L, LUA_GCINC, 0, 0, 0) != LUA_GCGEN) return false;
  lua_gc(L, LUA_GCGEN, 0, 0);
  asy_gcstep(L); /* runs the finalisers */
  return true;
}

/* Collector steps after a failure that nobody looked at, so that it is reported soon. */
static void hunt(lua_State *L, Loop *loop) {
  uint64_t now = uv_hrtime();
  if (now < loop->hunt_at) return;
  if (!lua_gc(L, LUA_GCISRUNNING)) {
    loop->hunt = 0;
    return;
  }
  bool cycle_done = lua_gc(L, LUA_GCCOUNT) < HUNT_MAX_KB && collect_generational(L);
  while (!cycle_done && uv_hrtime() - now < HUNT_SLICE) cycle_done = asy_gcstep(L);
  if (++loop->hunt_slices > HUNT_SLICES) cycle_done = true;
  if (cycle_done) loop->hunt_slices = 0;
  loop->hunt -= cycle_done;
  loop->hunt_at = uv_hrtime() + (cycle_done ? HUNT_NEXT : HUNT_PAUSE);
}

void asy_loop_hunt(Loop *loop) {
  uint64_t first = uv_hrtime() + HUNT_FIRST;
  if (!loop->hunt || loop->hunt_at > first) loop->hunt_at = first;
  loop->hunt = HUNT_CYCLES;
}

/* Running */

/* Runs the first `max` nodes of a list. */
static void run_list(lua_State *L, Loop *loop, ListNode *list, int max) {
  for (ListNode *node; max-- > 0 && (node = list_take(list));) {
    Ready *r = asy_container(node, Ready, link);
    loop->steps--;
    r->run(L, loop, r);
  }
}

static bool finished(const Loop *loop) {
  return loop->stopping || loop->fatal || (loop->until && *loop->until);
}

static void turn(lua_State *L, Loop *loop) {
  if (loop->timers.n) timer_fire_due(&loop->timers, asy_now(loop));
  if (loop->ready.next->next == &loop->ready && list_empty(&loop->batch))
    run_list(L, loop, &loop->ready, 1);
  else {
    list_splice(&loop->batch, &loop->ready);
    run_list(L, loop, &loop->batch, INT_MAX);
  }
  if (!list_empty(&loop->turn_end)) run_list(L, loop, &loop->turn_end, INT_MAX);
  if (loop->hunt) hunt(L, loop);
}

static int loop_body(lua_State *L) {
  Loop *loop = lua_touserdata(L, 1);
  luaL_checkstack(L, LUA_MINSTACK * 2, NULL);
  lua_rawgeti(L, LUA_REGISTRYINDEX, loop->rt->held_ref); /* ASY_HELD */
  loop->step_start = loop->polled_at = asy_step_now(loop);
  for (;;) {
    turn(L, loop);
    if (finished(loop)) return 0;
    poll_events(L, loop);
  }
}

void asy_loop_run(lua_State *L, Loop *loop, const uint8_t *until) {
  Runtime *rt = loop->rt;
  asy_loop_checkopen(L, loop);
  asy_checkalive(L);
  if (rt->running)
    asy_error(L, ASY_ERROR, "an event loop is already running in this Lua state");
  luaL_checkstack(L, 10, NULL);
  asy_held_table(L, loop);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->held_ref);
  asy_loop_push(L, loop);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->loop_ref);
  rt->running = loop;
  loop->until = until;
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->context_ref); /* a run that breaks off may leave another */
  int context = lua_gettop(L);
  lua_pushcfunction(L, loop_body);
  lua_pushlightuserdata(L, loop);
  int status = lua_pcall(L, 1, 0, 0);
  rt->running = NULL;
  rt->current = NULL;
  loop->until = NULL;
  loop->stopping = false;
  lua_pushvalue(L, context);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->context_ref);
  lua_pushboolean(L, 0);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->held_ref);
  lua_pushboolean(L, 0);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->loop_ref);
  bool fatal = loop->fatal;
  loop->fatal = false;
  if (status != LUA_OK) lua_error(L);
  if (!fatal) return;
  asy_loop_getfield(L, loop, "fatal");
  lua_pushnil(L);
  asy_loop_setfield(L, loop, "fatal");
  lua_error(L);
}

/* Making and closing */

static void on_walk(uv_handle_t *h, void *arg) {
  (void)arg;
  if (uv_is_closing(h)) return;
  if (h->data)
    ((Shutter *)h->data)->shut(h->data);
  else
    uv_close(h, NULL);
}

static void forget_nodes(ListNode *list) {
  while (list_take(list)) continue;
}

/* The part that may fail: lost errors are reported. args: loop (light), its userdata */
static int close_lua_part(lua_State *L) {
  Loop *loop = lua_touserdata(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &loops_key); /* which has lost it when it is being collected */
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, loop->id);
  loop->rt->report_lost(L, loop);
  loop->rt->report_servers(L, loop);
  loop->rt->report_streams(L, loop);
  return 0;
}

/* Closes an open loop. stack: the loop at idx; it may be being collected, or run beneath a state
** that closes. */
static void close_loop(lua_State *L, Loop *loop, int idx) {
  Runtime *rt = loop->rt;
  Loop *outer = rt->closing;
  loop->open = false;
  if (rt->running == loop) rt->running = NULL, rt->current = NULL;
  rt->release_interrupt(loop);
  rt->closing = loop;
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->closing_ref); /* of the outer one */
  lua_getiuservalue(L, idx, ASY_UV_HELD);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->closing_ref);
  asy_held_table(L, loop);
  rt->abandon_tasks(L, loop, lua_gettop(L));
  lua_pop(L, 1);
  lua_pushcfunction(L, close_lua_part);
  lua_pushlightuserdata(L, loop);
  lua_pushvalue(L, idx);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) lua_pop(L, 1); /* out of memory */
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->closing_ref);
  rt->closing = outer;
  list_remove(&loop->link);
  inbox_close(loop->inbox); /* what has arrived by now are guests */
  for (ListNode *node; (node = list_take(&loop->guests));) {
    Guest *guest = asy_container(node, Guest, link);
    guest->drop(guest);
  }
  inbox_unref(loop->inbox);
  do uv_walk(&loop->uv, on_walk, NULL);
  while (uv_run(&loop->uv, UV_RUN_NOWAIT));
  uv_loop_close(&loop->uv);
  timer_heap_free(&loop->timers);
  block_pool_free(&loop->blocks);
  rt->forget_pumps(loop);
  rt->forget_streams(loop);
  forget_nodes(&loop->ready); /* their owners may outlive the loop */
  forget_nodes(&loop->batch);
  forget_nodes(&loop->turn_end);
  forget_nodes(&loop->idle);
  for (int i = ASY_UV_HELD; i <= ASY_UV_FIELDS; i++) {
    lua_pushnil(L);
    lua_setiuservalue(L, idx, i);
  }
}

/* A loop that runs is collected only when the state closes beneath it (os.exit in a task). */
static int loop__gc(lua_State *L) {
  Loop *loop = check_loop(L, 1);
  if (loop->open) close_loop(L, loop, 1);
  return 0;
}

static int loop__close(lua_State *L) {
  Loop *loop = check_loop(L, 1);
  if (loop->open && loop->rt->running != loop) close_loop(L, loop, 1);
  return 0;
}

/* Opens the parts of libuv's loop that need no Lua. On failure what was opened is closed. */
static int open_uv(Loop *loop) {
  int status = uv_loop_init(&loop->uv);
  if (status) return status;
  uv_timer_init(&loop->uv, &loop->tick);
  uv_timer_init(&loop->uv, &loop->alarm);
  if ((status = uv_async_init(&loop->uv, &loop->wakeup, on_wakeup)) == 0 &&
      !(loop->inbox = inbox_new(&loop->wakeup)))
    status = UV_ENOMEM;
  if (!status) return 0;
  uv_walk(&loop->uv, on_walk, NULL);
  uv_run(&loop->uv, UV_RUN_NOWAIT);
  uv_loop_close(&loop->uv);
  return status;
}

static void ignore_signal(int signum) { (void)signum; }

/* libuv writes without MSG_NOSIGNAL: a dead peer would end the process. A handler that does nothing
** turns that into EPIPE, and unlike SIG_IGN it is not inherited by programs that are started. */
static void survive_sigpipe(void) {
  struct sigaction sa = {.sa_handler = ignore_signal, .sa_flags = SA_RESTART}, old;
  if (sigaction(SIGPIPE, NULL, &old) || (old.sa_flags & SA_SIGINFO) || old.sa_handler != SIG_DFL) return;
  sigemptyset(&sa.sa_mask);
  sigaction(SIGPIPE, &sa, NULL);
}

/* A standard descriptor that is closed would become our next socket's, and `print` would write there. */
static void plug_standard(Runtime *rt) {
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    int got = open("/dev/null", O_RDWR);
    if (got == fd)
      rt->plugged |= 1u << fd;
    else if (got >= 0)
      close(got);
  }
}

/// A new loop that doesn't run yet.
// @function new_event_loop
// @treturn Loop
static int loop_new(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  asy_checkalive(L);
  Loop *loop = lua_newuserdatauv(L, sizeof *loop, 2);
  memset(loop, 0, sizeof *loop);
  loop->rt = rt;
  loop->tick_at = TIMER_NEVER;
  set_slow(loop, NS / 10);
  loop->steps = STEPS_PER_POLL;
  list_init(&loop->ready);
  list_init(&loop->batch);
  list_init(&loop->turn_end);
  list_init(&loop->pumps);
  list_init(&loop->idle);
  list_init(&loop->alarmed.link);
  list_init(&loop->guests);
  list_init(&loop->link);
  asy_pushmeta(L, rt, ASY_LOOP);
  lua_setmetatable(L, -2);
  lua_createtable(L, ASY_SLOT_FIRST, 0);
  rt->prepare_tasks(L, lua_gettop(L));
  loop->held = ASY_SLOT_FIRST - 1;
  lua_setiuservalue(L, -2, ASY_UV_HELD);
  lua_createtable(L, 0, 4);
  lua_setiuservalue(L, -2, ASY_UV_FIELDS);
  loop->id = ++rt->last_loop_id;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &loops_key);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, loop->id);
  lua_pop(L, 1);
  survive_sigpipe();
  plug_standard(rt);
  int status = open_uv(loop);
  if (status) asy_oserror(L, status, "new_event_loop", NULL);
  loop->open = true;
  list_append(&rt->loops, &loop->link);
  return 1;
}

/* Methods */

/// Runs until `stop` is called.
// @function Loop:run_forever
static int loop_run_forever(lua_State *L) {
  asy_loop_run(L, check_loop(L, 1), NULL);
  return 0;
}

/// Ends the run after the current turn.
// @function Loop:stop
static int loop_stop(lua_State *L) {
  check_loop(L, 1)->stopping = true;
  return 0;
}

/// Closes a loop that doesn't run: what is pending is dropped, handles are closed at once.
// Closing twice is no error.
// @function Loop:close
static int loop_close(lua_State *L) {
  Loop *loop = check_loop(L, 1);
  if (loop->rt->running == loop)
    return asy_error(L, ASY_ERROR, "cannot close a running event loop");
  if (loop->open) close_loop(L, loop, 1);
  return 0;
}

/// Whether it runs now.
// @function Loop:is_running
// @treturn boolean
static int loop_is_running(lua_State *L) {
  Loop *loop = check_loop(L, 1);
  lua_pushboolean(L, loop->rt->running == loop);
  return 1;
}

/// Whether it has been closed.
// @function Loop:is_closed
// @treturn boolean
static int loop_is_closed(lua_State *L) {
  lua_pushboolean(L, !check_loop(L, 1)->open);
  return 1;
}

/// The loop's clock: monotonic seconds since some moment.
// @function Loop:time
// @treturn number
static int loop_time(lua_State *L) {
  lua_pushnumber(L, (lua_Number)asy_now(check_loop(L, 1)) / NS);
  return 1;
}

/// Switches debug mode.
// @function Loop:set_debug
// @tparam boolean on
static int loop_set_debug(lua_State *L) {
  check_loop(L, 1)->debug = lua_toboolean(L, 2);
  return 0;
}

/// Whether debug mode is on.
// @function Loop:get_debug
// @treturn boolean
static int loop_get_debug(lua_State *L) {
  lua_pushboolean(L, check_loop(L, 1)->debug);
  return 1;
}

/* Lua values that belong to a loop, for the Lua layer: executor, exception handler, ... */
static int loop_getfield(lua_State *L) {
  Loop *loop = check_loop(L, 1);
  asy_loop_checkopen(L, loop);
  asy_loop_getfield(L, loop, luaL_checkstring(L, 2));
  return 1;
}

static int loop_setfield(lua_State *L) {
  Loop *loop = check_loop(L, 1);
  asy_loop_checkopen(L, loop);
  lua_settop(L, 3);
  asy_loop_setfield(L, loop, luaL_checkstring(L, 2));
  return 0;
}

static int loop__index(lua_State *L) {
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) return 1; /* a method: nearly always */
  if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "slow_callback_duration")) return 1;
  lua_pushnumber(L, (lua_Number)check_loop(L, 1)->slow_ns / NS);
  return 1;
}

static int loop__newindex(lua_State *L) {
  Loop *loop = check_loop(L, 1);
  if (strcmp(luaL_checkstring(L, 2), "slow_callback_duration"))
    return luaL_error(L, "asyncio.Loop has no field '%s' to set", lua_tostring(L, 2));
  lua_Number s = asy_checkseconds(L, 3);
  set_slow(loop, s < 0 ? 0 : s < 1e9 ? (uint64_t)(s * NS) : TIMER_NEVER);
  return 0;
}

static int loop__tostring(lua_State *L) {
  Loop *loop = check_loop(L, 1);
  lua_pushfstring(L, "asyncio.Loop: %s (%p)",
                  !loop->open                ? "closed"
                  : loop->rt->running == loop ? "running"
                                              : "not running",
                  (void *)loop);
  return 1;
}

static int loop_open_handles(lua_State *L) {
  lua_pushinteger(L, asy_loop_handles(check_loop(L, 1)));
  return 1;
}

/// The loop that runs in this Lua state; raises when none does.
// @function get_running_loop
// @treturn Loop
static int loop_get_running(lua_State *L) {
  asy_loop_push(L, asy_running(L, ASY_RUNTIME(L)));
  return 1;
}

/// The same as `get_running_loop`.
// @function get_event_loop
// @treturn Loop
static int loop_get_event_loop(lua_State *L) { return loop_get_running(L); }

/* Whether a loop runs in this state, here or beneath: then nothing may wait or run another. */
static int loop_in_run(lua_State *L) {
  lua_pushboolean(L, ASY_RUNTIME(L)->running != NULL);
  return 1;
}

/// An event loop: it runs tasks, makes calls at their time, and waits for the operating system.
// `asyncio.run` makes one; `get_running_loop` finds it. Its field `slow_callback_duration` (0.1 s,
// can be set) is how long a step may take before it is reported; in debug mode with the place where
// it was slow.
// @type Loop
// @usage
// local loop = asyncio.get_running_loop()
// local began = loop:time()
// loop:call_later(2, print, "called after two seconds")
// loop:set_exception_handler(function(_, context) io.stderr:write(context.message, "\n") end)
// loop.slow_callback_duration = 0.5
// asyncio.sleep(3)
// print(math.floor(loop:time() - began)) --> 3

static const luaL_Reg methods[] = {{"run_forever", loop_run_forever},
                                   {"stop", loop_stop},
                                   {"close", loop_close},
                                   {"is_running", loop_is_running},
                                   {"is_closed", loop_is_closed},
                                   {"time", loop_time},
                                   {"set_debug", loop_set_debug},
                                   {"get_debug", loop_get_debug},
                                   {"_get", loop_getfield},
                                   {"_set", loop_setfield},
                                   {"_open_handles", loop_open_handles},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", loop__gc},
                                       {"__close", loop__close},
                                       {"__newindex", loop__newindex},
                                       {"__tostring", loop__tostring},
                                       {NULL, NULL}};

static const luaL_Reg functions[] = {{"new_event_loop", loop_new},
                                     {"get_running_loop", loop_get_running},
                                     {"get_event_loop", loop_get_event_loop},
                                     {"in_run", loop_in_run},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_loop(lua_State *L) {
  Runtime *rt = lua_newuserdatauv(L, sizeof *rt, 0);
  memset(rt, 0, sizeof *rt);
  list_init(&rt->loops);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &runtime_key);
  lua_pushboolean(L, 0);
  rt->loop_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushboolean(L, 0);
  rt->held_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushboolean(L, 0);
  rt->closing_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &loops_key);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", methods, metamethods);
  asy_pushmeta(L, rt, ASY_LOOP);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &runtime_key); /* __index: fields, then the methods */
  lua_getfield(L, -2, "__index");
  lua_pushcclosure(L, loop__index, 2);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
