/*
** testing.c - what asyncio.testing needs of a loop: the virtual clock's switch, an alarm in real time,
** and waiting until every task is blocked.
*/
#include "open.h"

#include "core/callback.h"
#include "core/error.h"
#include "core/waitq.h"

/* set_virtual(loop): its clock stands still while a task can run; before it runs for the first time */
static int testing_set_virtual(lua_State *L) {
  asy_checkopenloop(L, 1)->clock.is_virtual = true;
  return 0;
}

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

/* set_alarm(loop, seconds, fn): calls fn in the loop after so long in real time; seconds nil: not any more */
static int testing_set_alarm(lua_State *L) {
  Loop *loop = asy_checkopenloop(L, 1);
  if (lua_isnil(L, 2)) {
    uv_timer_stop(&loop->alarm);
    list_remove(&loop->alarmed.link);
    return 0;
  }
  lua_Number ms = asy_checkseconds(L, 2) * 1000;
  luaL_argcheck(L, ms > 0, 2, "a time above 0 expected");
  luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_settop(L, 3);
  asy_callback_new(L, loop, 0)->vital = true;
  asy_loop_setfield(L, loop, "alarm");
  loop->alarmed.run = alarm_run;
  uv_update_time(&loop->uv);
  uv_timer_start(&loop->alarm, on_alarm, ms < 1e15 ? (uint64_t)ms : (uint64_t)1e15, 0);
  return 0;
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
                                     {"wait_all_tasks_blocked", testing_wait_all_tasks_blocked},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_testing(lua_State *L) {
  lua_createtable(L, 0, 3);
  asy_setfuncs(L, functions);
  lua_setfield(L, -2, "testing");
}
