/*
** loop.h - the event loop, and what one Lua state knows of its loops.
**
** The loop runs nodes: a Ready is a list link and a function. It knows neither tasks nor streams.
** Each turn: fire due timers, run the batch that was ready when the turn began, run what waits for
** the turn's end (streams send then), poll. libuv's callbacks run inside the poll and never touch
** Lua: they store C data and put nodes on the ready list.
*/
#ifndef ASY_LOOP_H
#define ASY_LOOP_H

#include "base/asy.h"

#include <stdatomic.h>
#include <time.h>

#include <uv.h>

#include "base/buffer.h"
#include "base/inbox.h"
#include "base/list.h"
#include "base/timer.h"

ASY_HIDDEN

/* Classes of userdata, as indices of Runtime.meta. */
typedef enum Kind {
  ASY_LOOP,
  ASY_CALLBACK,
  ASY_FUTURE,
  ASY_TASK,
  ASY_READER,
  ASY_WRITER,
  ASY_SERVER,
  ASY_LOST,
  ASY_LOCK,
  ASY_EVENT,
  ASY_CONDITION,
  ASY_SEMAPHORE,
  ASY_BARRIER,
  ASY_QUEUE,
  ASY_SIGNAL,
  ASY_INTERRUPT,
  ASY_EXECUTOR,
  ASY_CANCEL,
  ASY_CHANNEL,
  ASY_REMOTE,
  ASY_EDITOR,
  ASY_NKINDS
} Kind;

struct Task;
struct Loop;
struct Worker;

/* One for each Lua state: upvalue 1 of every function here. Anchored in the registry. */
typedef struct Runtime {
  struct Loop *running;  /* NULL outside run */
  struct Task *current;  /* the task whose step is under way; NULL between steps */
  ListNode loops;        /* all that aren't closed */
  uint64_t last_loop_id; /* ids are never used again: an object keeps its loop's id, not a pointer */
  uint64_t last_task;    /* tasks are numbered likewise */
  const void *meta[ASY_NKINDS]; /* the metatables, to compare with */
  int meta_ref[ASY_NKINDS];     /* where the registry has them (integer keys: the cheapest) */
  int context_ref;              /* registry: the current context (context.h) */
  bool contexts;                /* some ContextVar has been set */
  int loop_ref;                 /* registry: the running loop, else false */
  int held_ref;                 /* registry: the running loop's held table, else false */
  lua_CFunction open;           /* opens the module in another state */
  struct Worker *worker;        /* in a worker thread's state (worker.c); NULL in all others */
  struct Loop *closing;         /* the loop that is being closed, and its held table's place */
  int closing_ref;
  unsigned plugged;      /* standard descriptors that were closed, by bit: /dev/null is there now */
  int place_ref;         /* registry: where the step under way was slow (watch.c) */
  lua_State *watched;    /* the coroutine of the watched step */
  lua_Hook returning;    /* told when a function of it returns, or NULL */
  bool watching, placed; /* a watched step is under way; its place is known */
  lua_State *armed;      /* where a KeyboardInterrupt is being raised; NULL: nowhere */
  lua_Hook old_hook;     /* the hook that was there before */
  int old_mask, old_count;
  void (*prepare_tasks)(lua_State *L, int idx); /* task.c; idx: a new held table */
  void (*abandon_tasks)(lua_State *L, struct Loop *loop, int idx); /* task.c; idx: the held table */
  void (*report_lost)(lua_State *L, struct Loop *loop);            /* future.c */
  void (*report_streams)(lua_State *L, struct Loop *loop);         /* stream.c: never closed */
  void (*report_servers)(lua_State *L, struct Loop *loop);         /* server.c */
  void (*release_interrupt)(struct Loop *loop);                    /* signal.c */
  void (*forget_streams)(struct Loop *loop);                       /* stream.c */
  void (*forget_pumps)(struct Loop *loop);                         /* standard.c */
} Runtime;

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
} Waiter;

/* Wakes all of a line, in order. */
void asy_wake_all(ListNode *line, int code);

typedef struct Loop {
  uv_loop_t uv;
  uv_async_t wakeup; /* inbox and Ctrl-C */
  uv_timer_t tick;   /* bounds a poll: whole ms, the rest is ours */
  uv_timer_t alarm;  /* the limit of a test, in real time (testing.c) */
  Ready alarmed;     /* runs when it goes off */
  uint64_t tick_at;  /* when tick will go off (ns); TIMER_NEVER: not set */
  Runtime *rt;
  ListNode link;     /* in Runtime.loops */
  uint64_t id;
  ListNode ready;    /* what runs in the next batch */
  ListNode batch;    /* what is left of this one */
  ListNode turn_end; /* what runs after the batch, before the poll */
  TimerHeap timers;
  Inbox *inbox;
  const uint8_t *until;    /* the run ends when this isn't 0 any more; or NULL */
  uint64_t virtual_now;    /* the virtual clock, ns */
  ListNode idle;           /* Waiters: for every task to be blocked (testing.c) */
  int jobs;                /* that threads do for it: a virtual clock waits for them */
  uint64_t step_start;     /* when the step under way began (coarse ns) */
  uint64_t polled_at;      /* when it polled last (coarse ns) */
  uint64_t slow_ns;        /* slow_callback_duration */
  clockid_t step_clock;    /* what steps are measured with: the coarse clock, if that will do */
  uint64_t hunt_at;        /* when the next collector slice is due */
  int steps;               /* left before a busy loop polls */
  int spare, spare_size;   /* coroutines kept in the table of slot 1; places for them */
  int hunt_slices;         /* spent on this cycle */
  int hunt;                /* collector cycles left to find lost errors */
  uint32_t free_slot;      /* first free slot of the held table; 0: none */
  uint32_t held;           /* slots made so far */
  ListNode guests;         /* Guests that have something to tell it */
  BlockPool blocks;        /* small buffers of the streams */
  struct Watches *watches; /* descriptors of other libraries (poll.c), or NULL */
  ListNode pumps;          /* threads that copy output (standard.c) */
  lua_State *L;            /* where a callback runs now, or NULL */
  Ready *on_interrupt;     /* runs after `interrupted` was set; signal.c's */
  atomic_int interrupted;  /* set by the SIGINT handler */
  bool open, stopping, is_virtual, debug;
  bool fatal;              /* `fatal` of the loop's fields leaves run: KeyboardInterrupt */
} Loop;

/* User values of a loop: what it keeps alive, by slot; its odd Lua values, by name. */
#define ASY_UV_HELD 1
#define ASY_UV_FIELDS 2

/* Stack index of the held table in what the loop runs. */
#define ASY_HELD 2

/* Slots of the held table that are not for hire: what making a task needs is at hand there. */
enum {
  ASY_SLOT_SPARE = 1, /* a table of coroutines to be used again (task.c) */
  ASY_SLOT_BODY,      /* the function that runs a task's function */
  ASY_SLOT_META,      /* the class of tasks */
  ASY_SLOT_FIRST      /* the first that asy_hold gives */
};

/* The runtime: in functions of this module the upvalue, anywhere else the registry. */
#define ASY_RUNTIME(L) ((Runtime *)lua_touserdata(L, lua_upvalueindex(1)))
Runtime *asy_runtime(lua_State *L);

/* Makes the class `name` (or finds it) with these methods and metamethods; NULL for none.
** Functions get the runtime as upvalue 1. Called again for a kind, it adds to the class. */
void asy_newclass(lua_State *L, Kind kind, const char *name, const luaL_Reg *methods,
                  const luaL_Reg *metamethods);
/* Pushes a class's metatable. */
void asy_pushmeta(lua_State *L, const Runtime *rt, Kind kind);
/* Adds functions to the table on the top, with the runtime as upvalue. */
void asy_setfuncs(lua_State *L, const luaL_Reg *functions);
/* Pushes a new table with weak keys ("k"), values ("v"), or both. */
void asy_newweak(lua_State *L, const char *mode);
/* Whether the value can be called. */
bool asy_callable(lua_State *L, int idx);
/* Raises what Lua does when an allocation of its own fails. */
int asy_nomemory(lua_State *L) ASY_NORETURN;
/* The userdata at idx if it is of that kind, else NULL. */
void *asy_test(lua_State *L, const Runtime *rt, int idx, Kind kind);
/* The same, or an argument error. */
void *asy_check(lua_State *L, const Runtime *rt, int idx, Kind kind, const char *name);

/* The object of a method, the userdata at 1, or an argument error. Leaves a value on the stack. */
static inline void *asy_self(lua_State *L, const Runtime *rt, Kind kind, const char *name) {
  void *p = lua_touserdata(L, 1);
  if (ASY_LIKELY(p && lua_getmetatable(L, 1) && lua_topointer(L, -1) == rt->meta[kind])) return p;
  luaL_typeerror(L, 1, name);
  return NULL;
}

/* For methods that take n values: there are as many, nil where one is missing. */
static inline void asy_nargs(lua_State *L, int n) {
  if (lua_gettop(L) != n) lua_settop(L, n);
}

/* The loop that runs in this state; raises outside of one. */
Loop *asy_running(lua_State *L, Runtime *rt);
/* The loop with that id, NULL when it is closed. */
Loop *asy_loop_find(const Runtime *rt, uint64_t id);
/* Pushes its userdata; nil when it is being collected. */
void asy_loop_push(lua_State *L, const Loop *loop);
/* Pushes one of its fields, nil when unset; sets one to the value on the top, which it pops. A closed loop
** has no fields: setting one raises. */
void asy_loop_getfield(lua_State *L, const Loop *loop, const char *name);
void asy_loop_setfield(lua_State *L, const Loop *loop, const char *name);

/*
** Whatever allocates in Lua may run a finaliser: a stranger's code, which may do all that can be done where
** nothing can wait; where no loop runs, also close this one. What was looked at before is to be looked at
** again: so first make what may be needed, then look, then store.
*/

/* Pushes the table in the field `key` of the table at idx, made with that room where there is none. */
void asy_subtable(lua_State *L, int idx, const char *key, int narray, int nrecord);
/* The same for a field of the loop. */
void asy_loop_subtable(lua_State *L, const Loop *loop, const char *key);

/* Keeps the value on the top (popped) alive until its slot is released. May raise. */
uint32_t asy_hold(lua_State *L, Loop *loop);
/* The same with the held table at index `held`. */
uint32_t asy_hold_in(lua_State *L, Loop *loop, int held);
void asy_release_in(lua_State *L, Loop *loop, int held, uint32_t slot);
/* Pushes the value in a slot. */
void asy_held_push(lua_State *L, Loop *loop, uint32_t slot);
void asy_release(lua_State *L, Loop *loop, uint32_t slot);
/* Pushes the held table; nil when the loop is garbage and waits for its finaliser. */
void asy_held_table(lua_State *L, const Loop *loop);

/* How many handles users' objects have open: sockets, signals, watched descriptors. */
int asy_loop_handles(Loop *loop);

/* The loop's clock, ns. */
uint64_t asy_now(const Loop *loop);
/* A deadline `seconds` from now; what is too far is TIMER_NEVER, what is past is now. */
uint64_t asy_deadline(const Loop *loop, lua_Number seconds);
/* The argument as seconds; refuses NaN. */
lua_Number asy_checkseconds(lua_State *L, int idx);

static inline void asy_ready(Loop *loop, Ready *node) { list_append(&loop->ready, &node->link); }

/* The clock that steps are measured with, ns. */
static inline uint64_t asy_step_now(const Loop *loop) {
  struct timespec t;
  clock_gettime(loop->step_clock, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Called at the end of a step: how long it took if that was too long, else 0. */
static inline uint64_t asy_step_ended(Loop *loop) {
  uint64_t now = asy_step_now(loop), took = now - loop->step_start;
  loop->step_start = now;
  return took > loop->slow_ns ? took : 0;
}

/* Runs until `*until` isn't 0 (NULL: for ever), stop() or a KeyboardInterrupt, which it raises. */
void asy_loop_run(lua_State *L, Loop *loop, const uint8_t *until);

/* Raises in a finaliser that runs because the state is being closed: of what is made then no finaliser is called
** any more, so what it has of the system would stay. */
void asy_checkalive(lua_State *L);

/* Raises unless the loop is open. */
int asy_loop_closed(lua_State *L) ASY_NORETURN;
static inline void asy_loop_checkopen(lua_State *L, const Loop *loop) {
  if (!ASY_LIKELY(loop->open)) asy_loop_closed(L);
}

/* Raises KeyboardInterrupt at the next instruction that L runs, again and again until disarmed.
** Safe in a signal handler. Armed anew for another coroutine it leaves the former one. */
void asy_interrupt_arm(Runtime *rt, lua_State *L);
void asy_interrupt_disarm(Runtime *rt);

/* Sets the garbage hunt for lost errors going. */
void asy_loop_hunt(Loop *loop);

/*
** A uv_handle_t's `data` points to one of these: how to shut it when the loop closes. After `shut`
** the handle must be closing, and its close callback frees what it lives in.
*/
typedef struct Shutter {
  void (*shut)(struct Shutter *);
} Shutter;

void asy_open_loop(lua_State *L);

ASY_HIDDEN_END

#endif
