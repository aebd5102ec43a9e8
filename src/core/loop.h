/*
** loop.h - the event loop.
**
** The loop runs nodes: a Ready is a list link and a function. It knows neither tasks nor streams.
** Each turn: fire due timers, run the batch that was ready when the turn began, run what waits for
** the turn's end (streams send then), poll. libuv's callbacks run inside the poll and never touch
** Lua: they store C data and put nodes on the ready list.
*/
#ifndef ASY_LOOP_H
#define ASY_LOOP_H

#include "core/runtime.h"

#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include <uv.h>

#include "base/buffer.h"
#include "base/crew.h"
#include "base/fork.h"
#include "base/inbox.h"
#include "base/list.h"
#include "base/timer.h"

ASY_HIDDEN

typedef struct Ready {
  ListNode link;
  /* Leaves L's stack as it was; the held table is at ASY_HELD. */
  void (*run)(lua_State *L, struct Loop *loop, struct Ready *self);
} Ready;

/* What is malloc'ed, shared with other threads, and has something to tell this loop: forgets it when
** the loop closes. C only. */
typedef struct Guest {
  ListNode link;
  void (*drop)(struct Guest *); /* called once, off the list */
} Guest;

/* What waits in a line for something: a task, to those below it. */
typedef struct Waiter {
  ListNode link;
  void (*wake)(struct Waiter *, int code); /* leaves the line and goes to the ready list; C only */
  bool blind;    /* it does not look at the error of the future that it waits for */
  bool shields;  /* it is a Shield's (future.h) */
} Waiter;

/* Wakes all of a line, in order. */
static inline void waiter_wake_all(ListNode *line, int code) {
  while (!list_empty(line)) {
    Waiter *w = asy_container(line->next, Waiter, link);
    w->wake(w, code);
  }
}

/* Time: the loop's own, and that of its steps. */
typedef struct Clock {
  bool is_virtual;      /* it stands still while a task can run (testing.c) */
  uint64_t virtual_now; /* ns */
  clockid_t source;     /* what steps are measured with: the coarse clock, if that will do */
  uint64_t step_start;  /* when the step under way began (ns of that) */
  uint64_t polled_at;   /* when it polled last (likewise) */
  bool exact;           /* they are measured exactly in any case */
  uint64_t slow_ns;     /* slow_callback_duration */
  uint64_t noted_ns;    /* steps that take longer are looked at: they are slow, or the longest yet */
  uint64_t waited;      /* how long this thread had waited for a processor at `waited_at`, ns */
  uint64_t waited_at;   /* the moment of the last look (likewise) */
  uint64_t look_ns;     /* from one look to the next */
  int steps;            /* left before a busy loop polls */
} Clock;

/* The search for errors that nobody looked at (hunt.c). */
typedef struct Hunt {
  int cycles;  /* of the collector that are left; 0: there is none */
  int slices;  /* spent on this cycle */
  uint64_t at; /* when the next one is due */
} Hunt;

/* Whether a room that wants to is told when the loop idles, besides in debug mode. */
typedef enum SeekHow { SEEK_NEVER, SEEK_NOW_AND_THEN, SEEK_ALWAYS /* whenever it would wait */ } SeekHow;

typedef struct Seek {
  SeekHow how;
  uint64_t at;    /* when it may be told next */
  uint64_t steps; /* that it had made when it was told last: nothing has changed since if there are no more */
} Seek;

/* What the loop keeps alive: a table of values by slot (hold.c). */
typedef struct Held {
  uint32_t n;     /* slots made so far */
  uint32_t *free; /* a stack of the free ones, with room for as many as there are slots */
  uint32_t nfree, size;
} Held;

/* What has been done since it was made, and how long that took, ns: counted where that costs nothing (stats.c). */
typedef struct Counts {
  uint64_t began;              /* when that was, by uv_hrtime */
  uint64_t turns;
  uint64_t steps;              /* until the last poll */
  uint64_t lag, max_lag;       /* from a poll to the end of the last step before the next one: ... */
  uint64_t lagged;             /* ... the last that there was, in this turn; and the most */
  uint64_t busy;               /* all of these */
  uint64_t longest;            /* step */
  uint64_t bytes_in, bytes_out; /* of streams and datagrams */
  uint64_t tasks_made;
  uint32_t tasks, streams;     /* that there are now */
} Counts;

/* What its crews do: that a disk hangs is no reason for a name not to be found. */
typedef enum LoopCrew { CREW_LOOKUPS, CREW_FILES, LOOP_CREWS } LoopCrew;

typedef struct Loop {
  uint64_t id;
  Runtime *rt;
  ListNode link;     /* in Runtime.loops */
  bool open, stopping, debug;
  uint8_t watched;   /* who looks on: debug mode, a trace, ... (observer.h); 0: nobody */
  bool copied;       /* it is the parent's, in a forked child: no longer open, not yet closed (child.c) */
  bool beneath;      /* ... and its run is on the C stack */
  bool reuse;        /* coroutines of tasks that have ended are used again (spare.c) */
  bool dying;        /* it runs in a finaliser of a state that is being closed (asy_is_dying) */
  bool fatal;        /* `fatal` of the loop's fields leaves run: KeyboardInterrupt */
  const uint8_t *until; /* the run ends when this isn't 0 any more: a future's state; or NULL */
  lua_State *L;      /* where a callback runs now, or NULL */
  ListNode ready;    /* what runs in the next batch */
  ListNode batch;    /* what is left of this one */
  ListNode turn_end; /* what runs after the batch, before the poll */
  TimerHeap timers;
  Clock clock;
  Counts counts;
  Hunt hunt;
  Seek seek;
  Held held;
  ListNode handles;  /* Handles that were made for it (handle.h) */
  uint64_t walks;    /* over these */
  ListNode guests;   /* Guests that have something to tell it */
  Inbox *inbox;
  ForkWatch fork;
  volatile sig_atomic_t *writing; /* process_writing of the thread that runs or closes it */
  uint64_t moved;    /* counts: streams have read, or sent */
  uint64_t looked;   /* `moved` when nothing was on its way that is to be waited for (transit.c) */
  int jobs;          /* that threads do for it: a virtual clock waits for them */
  uv_loop_t uv;
  uv_async_t wakeup; /* inbox and Ctrl-C */
  uv_timer_t tick;   /* bounds a poll: whole ms, the rest is ours */
  uint64_t tick_at;  /* when tick will go off (ns); TIMER_NEVER: not set */
  uint64_t hoped_at; /* when its tasks were last asked whether anything can come (polling.c) */
  uint64_t limit;    /* until when a poll may wait (ns on the loop's clock); TIMER_NEVER, but for a host's turn */

  /* what others keep here */
  struct {
    int n, size;     /* coroutines in the table of slot 1, places for them (spare.c) */
  } spare;
  Crew *crews[LOOP_CREWS]; /* threads for what may block (crews.c); NULL: not needed yet */
  bool crews_closed;
  BlockPool blocks;  /* small buffers of the streams */
  struct Scoop *scoop; /* what datagrams are taken into (scoop.c), or NULL */
  uv_timer_t alarm;  /* the limit of a test, in real time (testing.c) */
  Ready alarmed;     /* runs when it goes off */
  struct {
    timer_t timer;
    bool set;
    volatile sig_atomic_t broke; /* it has broken what ran then */
  } watchdog;        /* breaks a step that goes on after that (testing.c) */
  bool measured;     /* its tasks are, at its owner's wish (dev/monitorclass.c) */
  bool sited;        /* what is opened notes where, as in debug mode (testing.c) */
  ListNode idle;     /* Waiters: for every task to be blocked (testing.c) */
  struct Watches *watches; /* descriptors of other libraries (descriptor.c), or NULL */
  struct Spots *spots;     /* descriptors that calls of asyncio.socket wait for (face/spot.c), or NULL */
  uint64_t epoch;          /* what its clock lacks to the time since 1970, ns; 0: nobody has asked (face/moment.c) */
  struct Remote *remote;   /* by which other threads reach it (thread/remote.c), or NULL */
  struct Survey *survey;   /* what those who look on from outside ask of it (dev/survey.c), or NULL */
  struct Ends *ends;       /* streams whose end is waited for (eof.c), or NULL */
  Ready *on_interrupt;    /* runs after `interrupted` was set (signal.c) */
  atomic_int interrupted; /* set by the SIGINT handler */
} Loop;

/* User values of a loop: what it keeps alive, by slot; its odd Lua values, by name. */
#define ASY_UV_HELD 1
#define ASY_UV_FIELDS 2

/* Stack index of the held table in what the loop runs. */
#define ASY_HELD 2

/* Slots of the held table that are not for hire: what making a task needs is at hand there. */
enum {
  ASY_SLOT_SPARE = 1, /* a table of coroutines to be used again (spare.c) */
  ASY_SLOT_BODY,      /* the function that runs a task's function */
  ASY_SLOT_META,      /* the class of tasks */
  ASY_SLOT_FIRST      /* the first that asy_hold gives */
};

/* The loop that runs in this state; raises outside of one. */
Loop *asy_running(lua_State *L, Runtime *rt);
/* The loop at idx, or an argument error; the same, but it must be open. */
static inline Loop *asy_checkloop(lua_State *L, int idx) {
  return asy_check(L, ASY_RUNTIME(L), idx, ASY_LOOP, "asyncio.Loop");
}
Loop *asy_checkopenloop(lua_State *L, int idx);
/* The loop with that id, NULL when it is closed. */
Loop *loop_find(const Runtime *rt, uint64_t id);
/* Pushes its userdata; nil when it is being collected and has been closed. */
void asy_loop_push(lua_State *L, const Loop *loop);
/* Pushes one of its fields, nil when unset; sets one to the value on the top, which it pops. A closed loop
** has no fields: setting one raises. */
void asy_loop_getfield(lua_State *L, const Loop *loop, const char *name);
void asy_loop_setfield(lua_State *L, const Loop *loop, const char *name);
/* The error on the top, which it pops, ends the run. */
void asy_loop_fatal(lua_State *L, Loop *loop);

/* asy_subtable for a field of the loop. */
void asy_loop_subtable(lua_State *L, const Loop *loop, const char *key);

/* Keeps the value on the top (popped) alive until its slot is released. May raise. */
uint32_t asy_hold(lua_State *L, Loop *loop);
/* The same with the held table at index `held`. */
uint32_t asy_hold_in(lua_State *L, Loop *loop, int held);
void asy_release_in(lua_State *L, Loop *loop, int held, uint32_t slot);
/* Pushes the value in a slot. */
void asy_held_push(lua_State *L, Loop *loop, uint32_t slot);
void asy_release(lua_State *L, Loop *loop, uint32_t slot);
/* Pushes the held table; nil when the loop has been closed. */
void asy_held_table(lua_State *L, const Loop *loop);

/* The loop's clock, ns. */
uint64_t loop_now(const Loop *loop);
/* A deadline `seconds` from now; what is too far is TIMER_NEVER, what is past is now. */
uint64_t loop_deadline(const Loop *loop, lua_Number seconds);
/* A deadline at that moment of the loop's clock, in seconds. */
uint64_t loop_moment(lua_Number when);
/* The argument as seconds; refuses NaN. */
lua_Number asy_checkseconds(lua_State *L, int idx);

/* Hands a chore to one of its crews (base/crew.h). 0, or an errno: then it stays the caller's. */
int loop_add_chore(Loop *loop, LoopCrew which, Chore *chore);
int loop_add_forsaken(Loop *loop, LoopCrew which, Chore *chore, bool owed);

static inline void loop_ready(Loop *loop, Ready *node) { list_append(&loop->ready, &node->link); }

/* The clock that steps are measured with, ns. */
static inline uint64_t loop_step_now(const Loop *loop) {
  struct timespec t;
  clock_gettime(loop->clock.source, &t);
  return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Notes how long this thread has waited for a processor in all, so that a slow step can be told from a busy machine:
** now and then, as it takes some microseconds. */
void loop_look_at_waits(Loop *loop);
static inline void loop_polled(Loop *loop) {
  uint64_t now = loop_step_now(loop);
  loop->clock.step_start = loop->clock.polled_at = now;
  if (now - loop->clock.waited_at > loop->clock.look_ns) loop_look_at_waits(loop);
}

/* Whether the last `ns` were slow by the step's own doing; writes so: "0.350 s, 0.310 s of it waiting for a
** processor". */
#define SLOW_TEXT 80
#define SLOW_HINT " (ASYNCIO_DEBUG=1 shows where)"
bool loop_was_slow(Loop *loop, uint64_t ns, char text[SLOW_TEXT]);

/* Notes a long step: how long it took if that was too long, else 0. */
uint64_t loop_note_step(Loop *loop, uint64_t took);

/* Called at the end of a step: the same of each. */
static inline uint64_t loop_step_ended(Loop *loop) {
  uint64_t now = loop_step_now(loop), took = now - loop->clock.step_start;
  loop->clock.step_start = now;
  return ASY_LIKELY(took <= loop->clock.noted_ns) ? 0 : loop_note_step(loop, took);
}

/* Runs until `*until` isn't 0 (NULL: for ever), stop() or a KeyboardInterrupt, which it raises. */
void asy_loop_run(lua_State *L, Loop *loop, const uint8_t *until);

/* One turn, for a host: takes in what has happened, waiting for it until `limit` (ns on the loop's clock) if there is
** nothing to do, runs what is ready, and hands what that waits for to the operating system. */
void asy_loop_run_once(lua_State *L, Loop *loop, uint64_t limit);

/* Whether it is being collected: a finaliser that runs before its own still finds it, but it will not run any more. */
bool asy_loop_dies(lua_State *L, const Loop *loop);
/* Raises unless the loop is open, and will be. */
int asy_loop_closed(lua_State *L, const Loop *loop) ASY_NORETURN;
static inline void asy_loop_checkopen(lua_State *L, const Loop *loop) {
  if (ASY_LIKELY(loop->open && (loop->rt->running == loop || !asy_loop_dies(L, loop)))) return;
  asy_loop_closed(L, loop);
}

/* Raises KeyboardInterrupt at the next instruction that L runs, again and again until disarmed.
** Safe in a signal handler. Armed anew for another coroutine it leaves the former one. */
void asy_interrupt_arm(Runtime *rt, lua_State *L);
/* Raises one, with the traceback. */
int asy_interrupt_raise(lua_State *L) ASY_NORETURN;
void interrupt_disarm(Runtime *rt);

/* Sets the garbage hunt for lost errors going. */
void loop_hunt(Loop *loop);

/*
** A uv_handle_t's `data` points to one of these: how to shut it when the loop closes. After `shut`
** the handle must be closing, and its close callback frees what it lives in.
*/
typedef struct Shutter {
  void (*shut)(struct Shutter *);
} Shutter;

/* Between the loop's own files */

#define STEPS_PER_POLL 256  /* a busy loop polls after so many steps ... */
#define NS_PER_POLL 4000000 /* ... or after so long (Tokio, which has no such bound: 61 steps) */

static inline bool loop_is_busy(const Loop *loop) { return !list_empty(&loop->ready) || loop->stopping; }
static inline bool loop_poll_may_wait(const Loop *loop) {
  return loop->clock.steps > 0 && loop->clock.step_start - loop->clock.polled_at < NS_PER_POLL;
}

/* Puts a loop among those that are found by their id. idx: its userdata */
void asy_loop_enrol(lua_State *L, const Loop *loop, int idx);
/* Closes an open loop. stack: the loop at idx; it may be being collected, or run beneath a state that closes. */
void asy_loop_close(lua_State *L, Loop *loop, int idx);
/* new_event_loop() */
int asy_loop_new(lua_State *L);
/* The inbox is closed; the process is a forked child. */
void loop_close_crews(Loop *loop);
void loop_crews_in_child(const Loop *loop);
/* Asks the operating system what has happened; waits for it, if there is nothing to do. */
void asy_poll(lua_State *L, Loop *loop);
/* Asks it, and never waits. */
void loop_poll_now(Loop *loop);
/* uv_run, with SIGPIPE kept off what is written in there. */
int loop_run_uv(Loop *loop, uv_run_mode mode);
void loop_on_wakeup(uv_async_t *wakeup);
/* Has it know when the process forks. */
void loop_watch_forks(Loop *loop);
/* A slice of the hunt, if one is due. */
void asy_hunt(lua_State *L, Loop *loop);
/* What has been done, in numbers: what Loop:stats tells. Returns how many are known: all, but in a finaliser. */
#define LOOP_STATS 15
typedef struct Stat {
  const char *key;
  uint64_t value;
  bool seconds; /* in ns */
} Stat;
int asy_loop_stats(lua_State *L, const Loop *loop, Stat stats[LOOP_STATS]);
/* Sets slow_callback_duration. */
void loop_set_slow(Loop *loop, uint64_t ns);
/* Has steps measured exactly, whatever that is. */
void loop_set_exact(Loop *loop, bool exact);

void asy_open_hold(lua_State *L);

ASY_HIDDEN_END

#endif
