/*
** clock.c - the loop's time: its clock, real or virtual, deadlines, and what steps are measured with.
*/
#include "core/loop.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WAIT_UNKNOWN UINT64_MAX
#define MIN_LOOK 5000000  /* ns between two looks at the thread's waits: a look costs some 6 µs */
#define MAX_LOOK 25000000 /* what was waited between the last look and a slow step counts for the step */
#define COARSE_LIMIT 40000000 /* thresholds below that are measured with the exact clock */

#if defined(CLOCK_MONOTONIC_COARSE)
#define CHEAP_CLOCK CLOCK_MONOTONIC_COARSE /* 7 ns instead of 25, in steps of 4 ms */
#else
#define CHEAP_CLOCK CLOCK_MONOTONIC
#endif

static void set_noted(Loop *loop) {
  uint64_t longest = loop->counts.longest, slow = loop->clock.slow_ns;
  loop->clock.noted_ns = longest < slow ? longest : slow;
}

uint64_t loop_note_step(Loop *loop, uint64_t took) {
  if (took > loop->counts.longest) loop->counts.longest = took;
  set_noted(loop);
  return took > loop->clock.slow_ns ? took : 0;
}

void loop_set_slow(Loop *loop, uint64_t ns) {
  loop->clock.slow_ns = ns;
  set_noted(loop);
  loop->clock.source = ns < COARSE_LIMIT || loop->clock.exact ? CLOCK_MONOTONIC : CHEAP_CLOCK;
  loop->clock.step_start = loop->clock.polled_at = loop_step_now(loop);
  loop->clock.look_ns = ns / 4 < MIN_LOOK ? MIN_LOOK : ns / 4 > MAX_LOOK ? MAX_LOOK : ns / 4;
}

void loop_set_exact(Loop *loop, bool exact) {
  loop->clock.exact = exact;
  loop_set_slow(loop, loop->clock.slow_ns);
}

/* How long this thread has been runnable and did not run, ns: the second figure there (Linux). What blocks in a call
** is not runnable. */
static uint64_t thread_waits(void) {
  char text[100], *second;
  int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return WAIT_UNKNOWN;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return WAIT_UNKNOWN;
  text[n] = 0;
  strtoull(text, &second, 10);
  return strtoull(second, NULL, 10);
}

void loop_look_at_waits(Loop *loop) {
  loop->clock.waited = thread_waits();
  loop->clock.waited_at = loop_step_now(loop);
}

/* For how long of the last ns this thread waited for a processor: so long at most. */
static uint64_t waited_since(Loop *loop, uint64_t ns) {
  uint64_t before = loop->clock.waited, waited = 0;
  if (ns < loop->clock.look_ns) return 0; /* too short to tell */
  loop_look_at_waits(loop);
  if (before != WAIT_UNKNOWN && loop->clock.waited != WAIT_UNKNOWN) waited = loop->clock.waited - before;
  return waited < ns ? waited : ns;
}

bool loop_was_slow(Loop *loop, uint64_t ns, char text[SLOW_TEXT]) {
  uint64_t waited = waited_since(loop, ns);
  int n = snprintf(text, SLOW_TEXT, "%.3f s", (double)ns / NS_PER_S);
  if (waited * 20 > ns)
    snprintf(text + n, (size_t)(SLOW_TEXT - n), ", %.3f s of it waiting for a processor", (double)waited / NS_PER_S);
  return ns - waited > loop->clock.slow_ns;
}

uint64_t loop_now(const Loop *loop) { return loop->clock.is_virtual ? loop->clock.virtual_now : uv_hrtime(); }

uint64_t loop_deadline(const Loop *loop, lua_Number seconds) {
  uint64_t now = loop_now(loop);
  double ns = seconds * NS_PER_S;
  if (!(ns > 0)) return now;
  return ns < 9e18 ? now + (uint64_t)ceil(ns) : TIMER_NEVER;
}

uint64_t loop_moment(lua_Number when) { return when <= 0 ? 0 : when < 9e9 ? (uint64_t)(when * NS_PER_S) : TIMER_NEVER; }

lua_Number asy_checkseconds(lua_State *L, int idx) {
  lua_Number s = lua_tonumber(L, idx);
  if (lua_type(L, idx) != LUA_TNUMBER || s != s) asy_typeerror(L, idx, idx, "number of seconds", "");
  return s;
}
