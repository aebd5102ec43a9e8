/*
** runtime.h - what one Lua state knows of its loops: the Runtime, upvalue 1 of every function here.
*/
#ifndef ASY_RUNTIME_H
#define ASY_RUNTIME_H

#include "base/asy.h"

#include <signal.h>

#include "base/list.h"
#include "core/argument.h"

ASY_HIDDEN

/* Classes of userdata, as indices of Runtime.meta. */
typedef enum Kind {
  ASY_LOOP,
  ASY_CALLBACK,
  ASY_FUTURE,
  ASY_FIELDED, /* futures with fields (extras.c); the class is made with the first one */
  ASY_TASK,
  ASY_READER,
  ASY_WRITER,
  ASY_SERVER,
  ASY_ENDPOINT,
  ASY_LOST,
  ASY_LOCK,
  ASY_EVENT,
  ASY_CONDITION,
  ASY_SEMAPHORE,
  ASY_BARRIER,
  ASY_QUEUE,
  ASY_TIMEOUT_SCOPE,
  ASY_SIGNAL,
  ASY_INTERRUPT,
  ASY_EXECUTOR,
  ASY_CANCEL,
  ASY_CHANNEL,
  ASY_REMOTE,
  ASY_COMPLETION,
  ASY_GROUP,
  ASY_ANSWER,
  ASY_POOL,
  ASY_ITEM,
  ASY_LEASE,
  ASY_PROCESS,
  ASY_FILE,
  ASY_FOLDER,
  ASY_WATCH,
  ASY_TRACE,
  ASY_MESSAGES,
  ASY_NKINDS
} Kind;

struct Task;
struct Loop;
struct Worker;
struct Observer;

/* What a room wants to be told of each loop's life; any may be NULL. Those that were registered last, which stand on
** the others, are told first of its end. */
typedef struct LoopHooks {
  void (*made)(lua_State *L, int held);   /* held: the index of its held table, not the loop's yet */
  /* The loop closes: never raises. held: the index of its held table */
  void (*leave)(lua_State *L, struct Loop *loop, int held);
  void (*report)(lua_State *L, struct Loop *loop); /* may raise; reports what was left, lost or open */
  /* It has had nothing to do for a while (polling.c): looks around, and says after how many ns it wants to be told
  ** again. Never raises. */
  uint64_t (*idles)(lua_State *L, struct Loop *loop);
  /* Whether others can have something run in it. Never raises. */
  bool (*may_come)(lua_State *L, const struct Loop *loop);
  void (*part)(struct Loop *loop);        /* C only: what threads do for it is left to them, no message of theirs comes now */
  void (*forget)(struct Loop *loop);      /* C only: libuv has closed its handles */
  /* C only, in a forked child. live: the loop was this thread's, and open */
  void (*in_child)(struct Loop *loop, bool live);
} LoopHooks;

#define ASY_MAX_HOOKS 20

/* Anchored in the registry. */
typedef struct Runtime {
  struct Loop *running;  /* NULL outside run */
  struct Task *current;  /* the task whose step is under way; NULL between steps */
  struct Task *forked;   /* in a forked child: the one that has forked; and its coroutine (child.c) */
  lua_State *forked_co;
  ListNode loops;        /* all that aren't closed */
  uint64_t last_loop_id; /* ids are never used again: an object keeps its loop's id, not a pointer */
  uint64_t last_task;    /* tasks are numbered likewise */
  uint64_t last_lost;    /* so are failures, to be reported in their order */
  uint64_t last_walk;    /* and walks along those who wait for each other */
  uint64_t last_taken;   /* the last such walk when a forwarded request was taken (cancel.c) */
  const void *meta[ASY_NKINDS]; /* the metatables, to compare with */
  int meta_ref[ASY_NKINDS];     /* where the registry has them (integer keys: the cheapest) */
  bool contexts;                /* some ContextVar has been set */
  int context_ref;              /* registry: the current context (context.h) */
  int loop_ref;                 /* registry: the running loop, else false */
  int held_ref;                 /* registry: the running loop's held table, else false */
  struct Loop *closing;         /* the loop that is being closed, and its held table's place */
  int closing_ref;
  const LoopHooks *hooks[ASY_MAX_HOOKS];
  int nhooks;
  lua_CFunction open;           /* opens the module in another state */

  /* what others keep here */
  struct Ahead *ahead;   /* stdin, between two loops (standard.c) */
  struct Worker *worker; /* in a worker thread's state (worker.c); NULL in all others */
  unsigned plugged;      /* standard descriptors that were closed, by bit: /dev/null is there now (process.c) */
  int place_ref;         /* registry: where the step under way was slow (watch.c) */
  lua_State *watched;    /* the coroutine of the watched step */
  lua_Hook returning;    /* told when a function returns in it, or in what it drives; or NULL */
  lua_CFunction pcall, xpcall; /* Lua's own, or NULL (pcall.c) */
  bool noted;            /* a callback has noted an error (trace.c) */
  bool watching, placed; /* a watched step is under way; its place is known */
  volatile sig_atomic_t interrupted_by; /* the last stop signal; 0: Ctrl-C */
  lua_State *armed;      /* where a KeyboardInterrupt is being raised; NULL: nowhere (interrupt.c) */
  lua_Hook old_hook;     /* the hook that was there before */
  int old_mask, old_count;
  struct Observer *observers[2]; /* who looks on at its loops (observer.c), or NULL */
} Runtime;

/* Has the hooks called for each loop that is made from now on; they are static and do not change. */
void runtime_on_loop(Runtime *rt, const LoopHooks *hooks);

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
/* Pushes a function, with the runtime as upvalue. */
void asy_pushfunction(lua_State *L, lua_CFunction fn);
/* The same with the n values on the top, which go, as its further upvalues, from 2 on. */
void asy_pushclosure(lua_State *L, lua_CFunction fn, int n);
/* Pushes a new table with weak keys ("k"), values ("v"), or both. */
void asy_newweak(lua_State *L, const char *mode);
/* Whether a coroutine is in the middle of something; whether it waits for its first resume. */
static inline bool asy_has_frames(lua_State *co) {
  lua_Debug ar;
  return lua_getstack(co, 0, &ar);
}
static inline bool asy_is_unstarted(lua_State *co) {
  return lua_status(co) == LUA_OK && !asy_has_frames(co) && lua_gettop(co) > 0;
}
/* The outermost function of a coroutine; false: there is none. lua_getstack walks, so it is not asked once a level. */
bool asy_outermost(lua_State *co, lua_Debug *ar);
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
  asy_badself(L, name);
}

/* For methods that take n values: there are as many, nil where one is missing. */
static inline void asy_nargs(lua_State *L, int n) {
  if (lua_gettop(L) != n) lua_settop(L, n);
}

/*
** Whatever allocates in Lua may run a finaliser: a stranger's code, which may do all that can be done where
** nothing can wait; where no loop runs, also close this one. What was looked at before is to be looked at
** again: so first make what may be needed, then look, then store.
*/

/* Pushes the table in the field `key` of the table at idx, made with that room where there is none. */
void asy_subtable(lua_State *L, int idx, const char *key, int narray, int nrecord);
/* Whether a finaliser runs because the state is being closed: of what is made then no finaliser is called any more. */
bool asy_is_dying(lua_State *L);
/* Raises then, for what has memory, or more, of the system that only its finaliser would free. */
void asy_checkalive(lua_State *L);

/* Makes the Runtime of a state. */
Runtime *asy_open_runtime(lua_State *L);

ASY_HIDDEN_END

#endif
