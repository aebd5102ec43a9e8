/*
** polling.c - the poll: when to ask the operating system, and how long to wait for it.
*/
#include "core/loop.h"

#if defined(__linux__)
#include <poll.h>
#endif

#include "core/error.h"
#include "core/handle.h"
#include "core/hope.h"
#include "core/observer.h"
#include "core/transit.h"

#define HOPE_PAUSE 10000000 /* ns */
#define IDLE_ENOUGH (NS_PER_S / 10)

static void on_tick(uv_timer_t *tick) {
  Loop *loop = asy_container(tick, Loop, tick);
  loop->tick_at = TIMER_NEVER;
  uv_stop(&loop->uv); /* before 1.45 libuv runs due timers first, and would then poll without a limit */
}

void loop_on_wakeup(uv_async_t *wakeup) {
  Loop *loop = asy_container(wakeup, Loop, wakeup);
  inbox_deliver(loop->inbox);
  if (atomic_exchange(&loop->interrupted, 0) && loop->on_interrupt &&
      !list_linked(&loop->on_interrupt->link))
    loop_ready(loop, loop->on_interrupt);
}

int loop_run_uv(Loop *loop, uv_run_mode mode) {
  *loop->writing = 1;
  int more = uv_run(&loop->uv, mode);
  *loop->writing = 0;
  return more;
}

void loop_poll_now(Loop *loop) { loop_run_uv(loop, UV_RUN_NOWAIT); }

/* Waits less than a millisecond, which libuv's own timers can't. */
static void poll_briefly(Loop *loop, uint64_t ns) {
  loop_poll_now(loop); /* also hands new watchers to the kernel */
  if (!list_empty(&loop->ready)) return;
#if defined(__linux__)
  struct pollfd p = {.fd = uv_backend_fd(&loop->uv), .events = POLLIN};
  struct timespec t = {.tv_sec = 0, .tv_nsec = (long)ns};
  if (ppoll(&p, 1, &t, NULL) > 0) loop_poll_now(loop);
#else
  (void)ns;
  uv_update_time(&loop->uv);
  uv_timer_start(&loop->tick, on_tick, 1, 0);
  loop_run_uv(loop, UV_RUN_ONCE);
  loop->tick_at = TIMER_NEVER;
#endif
}

static void poll_until(Loop *loop, uint64_t deadline) {
  if (deadline != TIMER_NEVER) {
    uint64_t now = uv_hrtime();
    if (deadline <= now) return loop_poll_now(loop);
    if (deadline - now < 1000000) return poll_briefly(loop, deadline - now);
    if (deadline < loop->tick_at) {
      uv_update_time(&loop->uv);
      uv_timer_start(&loop->tick, on_tick, (deadline - now) / 1000000, 0);
      loop->tick_at = deadline;
    }
  }
  loop_run_uv(loop, UV_RUN_ONCE);
}

/* Whatever comes first: the next timer, or the end of a host's patience. */
static uint64_t next_moment(const Loop *loop) {
  uint64_t next = timer_next(&loop->timers);
  return next < loop->limit ? next : loop->limit;
}

/* In real time, on the virtual clock. */
static void poll_really(Loop *loop) {
  uint64_t now = loop->clock.virtual_now;
  if (loop->limit == TIMER_NEVER)
    loop_run_uv(loop, UV_RUN_ONCE);
  else
    poll_until(loop, uv_hrtime() + (loop->limit > now ? loop->limit - now : 0));
}

/* Gives real time to what is on its way from one of our handles to another. False: nothing is, or nothing comes. */
static bool await_transit(Loop *loop) {
  uint64_t patience = transit_patience(loop), moved = loop->moved;
  if (!patience) return false;
  uint64_t start = uv_hrtime(), end = start + patience, now = start;
  uint64_t limit = loop->clock.is_virtual ? end : next_moment(loop);
  if (limit > end) limit = end;
  while (now < limit && list_empty(&loop->ready) && loop->moved == moved) {
    poll_until(loop, limit);
    now = uv_hrtime();
  }
  return transit_waited(loop, now - start, now >= end && list_empty(&loop->ready) && loop->moved == moved);
}

/* Polls until nothing comes any more. False: there is something to do. */
static bool poll_settled(Loop *loop) {
  do {
    uint64_t moved = loop->moved;
    loop_poll_now(loop);
    if (!list_empty(&loop->ready)) return false;
    if (moved == loop->moved && !await_transit(loop)) return true;
  } while (loop->clock.is_virtual || next_moment(loop) > uv_hrtime());
  return false;
}

/* On to the next timer, which what has just come may have moved. */
static void jump(Loop *loop) {
  uint64_t next = next_moment(loop);
  if (next != TIMER_NEVER && next > loop->clock.virtual_now) loop->clock.virtual_now = next;
}

/* Those that want to be told when it idles. */
static void tell_idle(lua_State *L, Loop *loop) {
  const Runtime *rt = loop->rt;
  loop->seek.steps = loop->counts.steps;
  for (int i = 0; i < rt->nhooks; i++)
    if (rt->hooks[i]->idles) loop->seek.at = uv_hrtime() + rt->hooks[i]->idles(L, loop);
}

static bool seeks(const Loop *loop) {
  if (loop->seek.how == SEEK_NEVER && !(loop->watched & WATCHED_DEBUG)) return false;
  return loop->seek.steps != loop->counts.steps && (loop->seek.how == SEEK_ALWAYS || uv_hrtime() >= loop->seek.at);
}

/* Waits in real time. If some time goes by without anything to do, it tells that before it waits on. */
ASY_COLD static void wait_until(lua_State *L, Loop *loop, uint64_t deadline) {
  if (seeks(loop)) {
    uint64_t enough = uv_hrtime() + (loop->seek.how == SEEK_ALWAYS ? 0 : IDLE_ENOUGH);
    if (enough < deadline) {
      do poll_until(loop, enough); /* in whole ms, and then the rest */
      while (list_empty(&loop->ready) && uv_hrtime() < enough && next_moment(loop) > enough);
      if (list_empty(&loop->ready) && uv_hrtime() >= enough) tell_idle(L, loop);
      return;
    }
  }
  poll_until(loop, deadline);
}

/* The virtual clock: when nothing can go on, it is as late as the next timer. What threads do takes
** real time, and what the kernel carries from one stream to another; what other processes do, too, but only when there
** is no timer. */
static void poll_virtually(lua_State *L, Loop *loop) {
  uint64_t next = next_moment(loop);
  if (!loop->jobs && next != TIMER_NEVER && next > loop->clock.virtual_now) {
    if (!poll_settled(loop)) return;
    if (seeks(loop)) tell_idle(L, loop);
    if (!loop_is_busy(loop)) jump(loop);
    return;
  }
  loop_poll_now(loop);
  if (!list_empty(&loop->ready) || next != next_moment(loop)) return; /* what came may have set a timer alone */
  if (loop->jobs || (next == TIMER_NEVER && handles_outside(loop)))
    poll_really(loop);
  else if (next == TIMER_NEVER)
    asy_deadlock(L, loop);
}

/* Without limit, as no timer is set: if anything can come at all. Tasks are many, so they are asked now and then. */
static void poll_in_hope(lua_State *L, Loop *loop) {
  if (!loop_has_hope(loop)) {
    uint64_t now = uv_hrtime();
    loop_poll_now(loop);
    if (loop_is_busy(loop) || loop->timers.n) return;
    if (now - loop->hoped_at < HOPE_PAUSE) return poll_until(loop, loop->hoped_at + HOPE_PAUSE);
    if (!asy_loop_has_hope(L, loop)) return asy_deadlock(L, loop);
    loop->hoped_at = now;
  }
  wait_until(L, loop, TIMER_NEVER);
}

/* Several active handles are hope enough: some are our own (wakeup, tick, alarm). */
static inline bool may_be_hopeless(const Loop *loop) {
  return loop->until && !loop->timers.n && loop->uv.active_handles <= 3 && loop->limit == TIMER_NEVER;
}

ASY_COLD static void poll_seeking(lua_State *L, Loop *loop) {
  if (may_be_hopeless(loop))
    poll_in_hope(L, loop);
  else
    wait_until(L, loop, next_moment(loop));
}

/* Every task is blocked once a poll has found nothing either. */
static void poll_idle(Loop *loop) {
  if (poll_settled(loop)) waiter_wake_all(&loop->idle, 0);
}

/* What the steps since the last poll have come to. */
static void count_steps(Loop *loop) {
  Counts *c = &loop->counts;
  c->steps += (uint64_t)(STEPS_PER_POLL - loop->clock.steps);
  loop->clock.steps = STEPS_PER_POLL;
  uint64_t lag = loop->clock.step_start - loop->clock.polled_at;
  if (ASY_LIKELY(!lag)) return; /* by a clock that moves in steps */
  c->lag = lag;
  c->lagged = c->turns;
  c->busy += lag;
  if (lag > c->max_lag) c->max_lag = lag;
}

/* A poll costs as much as several short jobs of a thread: what other threads have posted is taken without
** one, as often as a busy loop may go without. */
static void poll_any(lua_State *L, Loop *loop) {
  bool busy = loop_is_busy(loop);
  asy_assert(list_empty(&loop->batch) && list_empty(&loop->turn_end));
  if (loop_poll_may_wait(loop) && inbox_filled(loop->inbox)) {
    loop->clock.steps--;
    loop->counts.steps--; /* it is none */
    inbox_deliver(loop->inbox);
    return;
  }
  count_steps(loop);
  if (busy)
    loop_poll_now(loop);
  else if (!list_empty(&loop->idle))
    poll_idle(loop);
  else if (loop->clock.is_virtual)
    poll_virtually(L, loop);
  else if (loop->hunt.cycles && loop->hunt.at < next_moment(loop))
    poll_until(loop, loop->hunt.at);
  else if (loop->watched || loop->seek.how != SEEK_NEVER)
    poll_seeking(L, loop);
  else if (may_be_hopeless(loop))
    poll_in_hope(L, loop);
  else
    poll_until(loop, next_moment(loop));
  loop_polled(loop);
}

ASY_COLD static void poll_watched(lua_State *L, Loop *loop) {
  observers_polls(loop);
  poll_any(L, loop);
  observers_polled(loop);
}

void asy_poll(lua_State *L, Loop *loop) {
  if (ASY_LIKELY(!loop->watched))
    poll_any(L, loop);
  else
    poll_watched(L, loop);
}
