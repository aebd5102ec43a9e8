/*
** floor.c - the least that a scheduler of Lua coroutines can be, in C: what instructions.lua holds ours against.
**
** Tasks, futures, a ready list, and a protected call around each task's function, as its <close> variables need one. There
** is no loop under it, and nothing can fail, be cancelled, be asked for anything, or outlive what it is for.
*/
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

typedef struct Task {
  struct Task *next;   /* on the ready list, then in its Line */
  struct Task *waiter; /* who is told of its end */
  struct Line *line;   /* where it stands once it has ended, or NULL */
  int place;           /* in the Line's list */
  lua_State *co;
  int slot;            /* of the held table; while it lives */
  int coro_slot;       /* its coroutine's, where those are used again */
  int left;            /* how many ends it waits for */
  bool done;
} Task; /* also a future; user values: its result, its coroutine */

/* Tasks in the order of their ends. User value: the list of all. */
typedef struct Line {
  Task *first, *last; /* those that have ended */
  Task *waiter;       /* who waits for the next one */
  int left;
} Line;

enum { RESULT = 1, CORO, VALUES = CORO, HELD = 1 }; /* HELD: upvalue of all functions */

typedef struct Spare {
  lua_State *co;
  int slot;
} Spare;

enum { MOST = 1 << 16 };
static Task *first, *last, *current;
static int free_slots[MOST], nfree, nslots, nspare;
static Spare spares[MOST];
static bool reuse;

static void ready(Task *t) {
  t->next = NULL;
  if (first) last->next = t; else first = t;
  last = t;
}

static int hold(lua_State *L, int held) {
  int slot = nfree ? free_slots[--nfree] : ++nslots;
  if (slot > MOST) luaL_error(L, "too many");
  lua_rawseti(L, held, slot);
  return slot;
}

static void release(lua_State *L, int held, int slot) {
  lua_pushboolean(L, 0);
  lua_rawseti(L, held, slot);
  free_slots[nfree++] = slot;
}

static int on_error(lua_State *L) { return lua_gettop(L); }

static int body_done(lua_State *L, int status, lua_KContext ctx) {
  (void)ctx;
  if (status != LUA_OK && status != LUA_YIELD) return lua_error(L);
  return 1;
}

static int body(lua_State *L) { return body_done(L, lua_pcallk(L, lua_gettop(L) - 2, 1, 1, 0, body_done), 0); }

static Task *new_future(lua_State *L) {
  Task *t = lua_newuserdatauv(L, sizeof *t, VALUES);
  *t = (Task){0};
  return t;
}

/* stack: ..., task; gives it a coroutine */
static void take_coroutine(lua_State *L, int held, Task *t) {
  if (nspare) {
    t->co = spares[--nspare].co;
    t->coro_slot = spares[nspare].slot;
    return;
  }
  t->co = lua_newthread(L);
  if (reuse)
    t->coro_slot = hold(L, held);
  else
    lua_setiuservalue(L, -2, CORO);
}

/* Pushes a new task of the function at fn, with the arguments from there to `end`. */
static Task *spawn(lua_State *L, int fn, int end) {
  int held = lua_upvalueindex(HELD);
  Task *t = new_future(L);
  take_coroutine(L, held, t);
  lua_pushvalue(L, -1);
  t->slot = hold(L, held);
  lua_pushcfunction(L, body);
  lua_pushcfunction(L, on_error);
  for (int i = fn; i <= end; i++) lua_pushvalue(L, i);
  lua_xmove(L, t->co, 3 + end - fn);
  ready(t);
  return t;
}

static void line_up(Line *line, Task *t) {
  t->next = NULL;
  if (line->first) line->last->next = t; else line->first = t;
  line->last = t;
  if (line->waiter) ready(line->waiter);
  line->waiter = NULL;
}

static void end(Task *t) {
  t->done = true;
  if (t->waiter && --t->waiter->left == 0) ready(t->waiter);
  if (t->line) line_up(t->line, t);
}

/* The task's function has returned; its result is on the coroutine's stack. */
static void finish(lua_State *L, int held, Task *t) {
  lua_rawgeti(L, held, t->slot);
  lua_xmove(t->co, L, 1);
  lua_setiuservalue(L, -2, RESULT);
  release(L, held, t->slot);
  end(t);
  if (reuse)
    spares[nspare++] = (Spare){t->co, t->coro_slot};
  else {
    lua_pushnil(L);
    lua_setiuservalue(L, -2, CORO);
  }
  lua_pop(L, 1);
}

/* run(reuse, fn, ...) */
static int run(lua_State *L) {
  int held = lua_upvalueindex(HELD), n;
  reuse = lua_toboolean(L, 1);
  spawn(L, 2, lua_gettop(L));
  for (Task *t; (t = first);) {
    first = t->next;
    current = t;
    int status = lua_resume(t->co, L, lua_status(t->co) == LUA_YIELD ? 0 : lua_gettop(t->co) - 1, &n);
    if (status == LUA_OK)
      finish(L, held, t);
    else if (status != LUA_YIELD) {
      lua_xmove(t->co, L, 1);
      return lua_error(L);
    }
  }
  return 0;
}

static int create_task(lua_State *L) {
  spawn(L, 1, lua_gettop(L));
  return 1;
}

static int give_way(lua_State *L) {
  ready(current);
  return lua_yield(L, 0);
}

static int create_future(lua_State *L) {
  new_future(L);
  return 1;
}

static int set_result(lua_State *L) {
  Task *t = lua_touserdata(L, 1);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, RESULT);
  end(t);
  return 0;
}

static int awaited(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  lua_getiuservalue(L, 1, RESULT);
  return 1;
}

static int await(lua_State *L) {
  Task *t = lua_touserdata(L, 1);
  if (t->done) return awaited(L, LUA_OK, 0);
  t->waiter = current;
  current->left = 1;
  return lua_yieldk(L, 0, 0, awaited);
}

/* stack: n functions, their tasks */
static int gathered(lua_State *L, int status, lua_KContext n) {
  (void)status;
  for (int i = 1; i <= n; i++) {
    lua_getiuservalue(L, (int)n + i, RESULT);
    lua_replace(L, (int)n + i);
  }
  return (int)n;
}

static int gather(lua_State *L) {
  int n = lua_gettop(L);
  luaL_checkstack(L, n + LUA_MINSTACK, NULL);
  current->left = n;
  for (int i = 1; i <= n; i++) spawn(L, i, i)->waiter = current;
  return lua_yieldk(L, 0, n, gathered);
}

/* upvalue 2: the Line */
static int next_ended(lua_State *L, int status, lua_KContext ctx) {
  Line *line = lua_touserdata(L, lua_upvalueindex(2));
  Task *t = line->first;
  (void)status;
  (void)ctx;
  lua_getiuservalue(L, lua_upvalueindex(2), 1);
  lua_rawgeti(L, -1, t->place);
  line->first = t->next;
  line->left--;
  return 1;
}

static int next(lua_State *L) {
  Line *line = lua_touserdata(L, lua_upvalueindex(2));
  if (!line->left) return 0;
  if (line->first) return next_ended(L, LUA_OK, 0);
  line->waiter = current;
  return lua_yieldk(L, 0, 0, next_ended);
}

static int as_completed(lua_State *L) {
  int n = lua_gettop(L);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_pushvalue(L, lua_upvalueindex(HELD));
  Line *line = lua_newuserdatauv(L, sizeof *line, 1);
  *line = (Line){.left = n};
  lua_createtable(L, n, 0);
  for (int i = 1; i <= n; i++) {
    Task *t = spawn(L, i, i);
    t->line = line;
    t->place = i;
    lua_rawseti(L, -2, i);
  }
  lua_setiuservalue(L, -2, 1);
  lua_pushcclosure(L, next, 2);
  return 1;
}

static int result(lua_State *L) {
  lua_getiuservalue(L, 1, RESULT);
  return 1;
}

static const luaL_Reg functions[] = {
    {"run", run}, {"create_task", create_task}, {"sleep", give_way}, {"create_future", create_future},
    {"set_result", set_result}, {"await", await}, {"gather", gather}, {"as_completed", as_completed},
    {"result", result}, {NULL, NULL}};

int luaopen_floor(lua_State *L) {
  luaL_newlibtable(L, functions);
  lua_newtable(L);
  luaL_setfuncs(L, functions, 1);
  return 1;
}
