/*
** testing.c - what asyncio.testing needs of a loop: the virtual clock's switch, an alarm in real time, what is open,
** and waiting until every task is blocked.
*/
#include "open.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "core/callback.h"
#include "core/error.h"
#include "core/handle.h"
#include "core/waitq.h"

/* set_virtual(loop): its clock stands still while a task can run; before it runs for the first time */
static int testing_set_virtual(lua_State *L) {
  asy_checkopenloop(L, 1)->clock.is_virtual = true;
  return 0;
}

/* The alarm: a timer of libuv's, for a loop that turns; and, where one step goes on and on, a watchdog: a timer of
** the system's, whose signal carries the loop to the handler. What runs is broken as by Ctrl-C. */

static void alarm_run(lua_State *L, Loop *loop, Ready *self) {
  (void)self;
  asy_loop_getfield(L, loop, "alarm");
  asy_callback_call(L, loop, -1);
  lua_pop(L, 1);
}

/* libuv before 1.45 runs timers first, then sleeps: it must not. */
static void on_alarm(uv_timer_t *alarm) {
  Loop *loop = asy_container(alarm, Loop, alarm);
  if (list_linked(&loop->alarmed.link)) return;
  loop_ready(loop, &loop->alarmed);
  uv_async_send(&loop->wakeup);
}

#if defined(__linux__) && (!defined(__GLIBC__) || __GLIBC_PREREQ(2, 34))

#define WATCHDOG_SIGNAL SIGVTALRM   /* nobody's, nearly always */
#define WATCHDOG_GRACE 200000000LL  /* ns that a loop has to hear the alarm */
#define WATCHDOG_PERIOD 100000000LL /* ns from one look to the next */

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* On the thread that runs the loop. */
static void on_watchdog(int signum, siginfo_t *info, void *context) {
  (void)signum;
  (void)context;
  if (info->si_code != SI_TIMER) return;
  Loop *loop = info->si_value.sival_ptr;
  Task *t = loop->rt->current;
  lua_State *L = t ? t->top : loop->L;
  if (!L || loop->rt->running != loop || loop->rt->armed) return;
  loop->watchdog.broke = 1;
  asy_interrupt_arm(loop->rt, L);
}

/* Its handler stays: another thread's loop may have need of it. A user's is left alone. */
static bool may_handle(void) {
  struct sigaction sa = {.sa_sigaction = on_watchdog, .sa_flags = SA_RESTART | SA_SIGINFO}, old;
  if (sigaction(WATCHDOG_SIGNAL, NULL, &old)) return false;
  if (old.sa_flags & SA_SIGINFO) return old.sa_sigaction == on_watchdog;
  return old.sa_handler == SIG_DFL && sigaction(WATCHDOG_SIGNAL, &sa, NULL) == 0;
}

static void watchdog_stop(Loop *loop) {
  if (loop->watchdog.set) timer_delete(loop->watchdog.timer);
  loop->watchdog.set = false;
}

static void watchdog_start(Loop *loop, lua_Number seconds) {
  struct sigevent event;
  lua_Number ns = seconds * NS_PER_S + WATCHDOG_GRACE;
  watchdog_stop(loop);
  loop->watchdog.broke = 0;
  if (ns > 1e18 || !may_handle()) return;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = WATCHDOG_SIGNAL;
  event.sigev_value.sival_ptr = loop;
  event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
  if (timer_create(CLOCK_MONOTONIC, &event, &loop->watchdog.timer)) return;
  struct itimerspec when = {.it_value = {(time_t)(ns / NS_PER_S), (long)((long long)ns % NS_PER_S)},
                            .it_interval = {0, WATCHDOG_PERIOD}};
  timer_settime(loop->watchdog.timer, 0, &when, NULL);
  loop->watchdog.set = true;
}

#else

static void watchdog_stop(Loop *loop) { (void)loop; }

static void watchdog_start(Loop *loop, lua_Number seconds) {
  (void)loop;
  (void)seconds;
}

#endif

static void forget_watchdog(lua_State *L, Loop *loop, int held) {
  (void)L;
  (void)held;
  watchdog_stop(loop);
}

/* set_alarm(loop, seconds, fn): calls fn in the loop after so long in real time, and breaks a step that goes on.
** seconds nil: not any more; → whether it has broken one */
static int testing_set_alarm(lua_State *L) {
  Loop *loop = asy_checkopenloop(L, 1);
  if (lua_isnil(L, 2)) {
    uv_timer_stop(&loop->alarm);
    list_remove(&loop->alarmed.link);
    watchdog_stop(loop);
    lua_pushboolean(L, loop->watchdog.broke);
    return 1;
  }
  lua_Number ms = asy_checkseconds(L, 2) * 1000;
  asy_argcheck(L, ms > 0, 2, "a time above 0 expected");
  luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_settop(L, 3);
  asy_callback_new(L, loop, 0)->vital = true;
  asy_loop_setfield(L, loop, "alarm");
  loop->alarmed.run = alarm_run;
  uv_update_time(&loop->uv);
  uv_timer_start(&loop->alarm, on_alarm, ms < 1e15 ? (uint64_t)ms : (uint64_t)1e15, 0);
  watchdog_start(loop, ms / 1000);
  return 0;
}

/* note_sites(loop): what is opened notes where, which costs some microseconds each */
static int testing_note_sites(lua_State *L) {
  asy_checkopenloop(L, 1)->sited = true;
  return 0;
}

/* The n-th that users' objects have open, or NULL. */
static const Handle *nth_open(const Loop *loop, int n) {
  for (const ListNode *node = loop->handles.next; node != &loop->handles; node = node->next) {
    const Handle *h = asy_container(node, Handle, link);
    if (handle_counts(h) && !h->kept && h->tell && !--n) return h;
  }
  return NULL;
}

/* open_handles(loop) → a list of what is open, in words. Making strings may close some: each is looked for anew. */
static int testing_open_handles(lua_State *L) {
  Loop *loop = asy_checkopenloop(L, 1);
  const Handle *h;
  lua_newtable(L);
  for (int i = 1; loop->open && (h = nth_open(loop, i)); i++) {
    char text[ASY_HANDLE_TEXT], place[1000] = "";
    const char *site = h->tell(h, text, sizeof text);
    if (site) snprintf(place, sizeof place, "%s", site);
    lua_pushfstring(L, *place ? "%s, opened at %s" : "%s", text, place);
    lua_rawseti(L, 2, i);
  }
  return 1;
}

static const WaitKind BLOCKED = {.name = "every task to be blocked", .finish = asy_waitq_finish,
                                 .abort = asy_waitq_abort};

/// Waits until no other task can go on: each waits for a timer, for a stream, for another task.
// What another process or a thread is about to send doesn't count: nobody here can know of it.
// @function testing.wait_all_tasks_blocked
// @usage
// local testing = require "asyncio.testing"
//
// local queue, got = asyncio.Queue(), nil
// asyncio.create_task(function() got = queue:get() end)
// queue:put "item"
// testing.wait_all_tasks_blocked()
// print(got) --> item
static int testing_wait_all_tasks_blocked(lua_State *L) {
  Task *t = asy_current(L);
  lua_settop(L, 0);
  list_append(&t->loop->idle, &t->waiter.link);
  return asy_park(L, t, &BLOCKED, NULL);
}

static const luaL_Reg functions[] = {{"set_virtual", testing_set_virtual},
                                     {"set_alarm", testing_set_alarm},
                                     {"note_sites", testing_note_sites},
                                     {"open_handles", testing_open_handles},
                                     {"wait_all_tasks_blocked", testing_wait_all_tasks_blocked},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_testing(lua_State *L) {
  static const LoopHooks hooks = {.leave = forget_watchdog};
  runtime_on_loop(asy_runtime(L), &hooks);
  lua_createtable(L, 0, 5);
  asy_setfuncs(L, functions);
  lua_setfield(L, -2, "testing");
}
