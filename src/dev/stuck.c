/*
** stuck.c - the search for tasks that can never be woken: those that wait only for what nobody else can reach.
**
** A marking, as a collector's, but that parked tasks are no roots. Its roots are the registry (globals, modules, what C
** keeps), what the loop holds (calls it will make, jobs, open things), the tasks that can go on by themselves or are
** woken from outside, what runs now or lies beneath. Where it reaches what a parked task can be woken by (its WaitKind
** says that: woken_by), or the task itself, which could be cancelled then, that task is alive: what it has on its stacks
** is reached, too. What is left when nothing more is found waits in vain.
**
** In doubt a thing is reachable. Weak references reach nothing; but the values of tables with weak keys count, whether
** their keys are reached or not. Ctrl-C, the end of the run, and a server that cancels its handlers don't count: they
** end any task.
**
** Objects are known by their address, in a set of our own. Those that were reached and not looked at yet lie on the
** stack of a coroutine that never runs. So nothing is allocated in Lua but that stack: no step of the collector comes,
** no finaliser, nothing changes meanwhile. No Lua function is called, all access is raw. A search ends after so many
** objects and so long a time, and says that it has given up.
*/
#include "base/alloc.h"
#include "core/group.h"
#include "core/hope.h"
#include "core/report.h"
#include "open.h"
#include "sync/lock.h"

#define MOST_OBJECTS 1000000
#define MOST_PENDING 500000 /* of them: Lua's stacks end at a million */
#define WORDS 4             /* of a userdata that may point to the record of its object */
#define LIMIT (NS_PER_S / 20) /* of one search, unless another is wanted */
#define PAUSE NS_PER_S        /* from one search of an idle loop to the next, ... */
#define LONG_PAUSE (30 * NS_PER_S) /* ... after one that gave up */
#define LOOKS 256           /* objects between two looks at the clock */

typedef enum StuckEnd {
  STUCK_FOUND,    /* all that there are, maybe none */
  STUCK_TOO_LONG, /* it gave up: for its limit of time, of objects, of memory */
  STUCK_TOO_MANY,
  STUCK_NO_MEMORY
} StuckEnd;

/* A parked task, and an address by which it is woken: a line of the index. */
typedef struct Waker {
  const void *by;
  Task *task;
  uint32_t slot; /* the task's */
} Waker;

typedef struct Search {
  lua_State *L;
  lua_State *pending; /* a coroutine: on its stack what has been reached and not been looked at */
  Loop *loop;
  int held;           /* the index of the loop's held table */
  int mode;           /* ... and of the string "__mode" */
  const Task *main;   /* what is run; or NULL */
  uint64_t number;    /* of this search: the tasks that are alive have it */
  uint64_t deadline;  /* as of `spent` */
  int look;
  StuckEnd end;
  const void **seen;  /* a hash table of addresses; its size is a power of two */
  size_t nseen, size;
  Waker *wakers;      /* sorted, once all are there */
  size_t nwakers, room;
} Search;

/* Addresses */

static size_t place_of(const Search *s, const void *p) {
  uint64_t h = (uint64_t)(uintptr_t)p * UINT64_C(0x9E3779B97F4A7C15);
  size_t i = (size_t)(h >> 32) & (s->size - 1);
  while (s->seen[i] && s->seen[i] != p) i = (i + 1) & (s->size - 1);
  return i;
}

static bool grow(Search *s) {
  const void **old = s->seen;
  size_t n = s->size;
  const void **seen = mem_calloc(n ? 2 * n : 4096, sizeof *seen);
  if (!seen) return false;
  s->seen = seen;
  s->size = n ? 2 * n : 4096;
  for (size_t i = 0; i < n; i++)
    if (old[i]) s->seen[place_of(s, old[i])] = old[i];
  mem_free(old);
  return true;
}

/* Whether it is new. */
static bool note(Search *s, const void *p) {
  if (2 * s->nseen >= s->size && !grow(s)) return s->end = STUCK_NO_MEMORY, false;
  size_t i = place_of(s, p);
  if (s->seen[i]) return false;
  if (s->nseen == MOST_OBJECTS) return s->end = STUCK_TOO_MANY, false;
  s->seen[i] = p;
  s->nseen++;
  return true;
}

/* Tasks */

static Task *task_in(const Search *s, uint32_t slot) {
  lua_rawgeti(s->L, s->held, slot);
  Task *t = asy_test(s->L, s->loop->rt, -1, ASY_TASK);
  lua_pop(s->L, 1);
  return t && t->slot == slot && t->phase != TASK_ENDED ? t : NULL;
}

/* Whether nobody wakes it but who can reach something. */
static bool may_be_stuck(const Task *t) {
  const WaitKind *kind = t->kind;
  if (t->phase != TASK_PARKED || !kind->woken_by || t->timer.place) return false;
  return !(kind->may_come && kind->may_come(t)) && kind->woken_by(t, 0);
}

static void add_waker(Search *s, const void *by, Task *t) {
  if (s->nwakers == s->room) {
    size_t room = s->room ? 2 * s->room : 64;
    Waker *wakers = room > MOST_OBJECTS ? NULL : mem_realloc(s->wakers, room * sizeof *wakers);
    if (!wakers) {
      s->end = room > MOST_OBJECTS ? STUCK_TOO_MANY : STUCK_NO_MEMORY;
      return;
    }
    s->wakers = wakers;
    s->room = room;
  }
  s->wakers[s->nwakers++] = (Waker){by, t, t->slot};
}

/* Who has a lock gives it back when it ends, whether it can reach that or not. */
static void add_owner(Search *s, Task *t) {
  uint64_t owner = lock_waited_for(t);
  for (uint32_t i = ASY_SLOT_FIRST; owner && i <= s->loop->held.n; i++) {
    const Task *other = task_in(s, i);
    if (!other || other->number != owner) continue;
    add_waker(s, other, t);
    return;
  }
}

static void add_wakers(Search *s, Task *t) {
  const void *by;
  add_waker(s, t, t);
  for (int i = 0; s->end == STUCK_FOUND && (by = t->kind->woken_by(t, i)); i++) add_waker(s, by, t);
  if (s->end == STUCK_FOUND) add_owner(s, t);
}

static int compare(const void *one, const void *other) {
  uintptr_t a = (uintptr_t)((const Waker *)one)->by, b = (uintptr_t)((const Waker *)other)->by;
  return (a > b) - (a < b);
}

/* The first line of the index with that address; nwakers: there is none. */
static size_t find_waker(const Search *s, const void *by) {
  size_t low = 0, high = s->nwakers;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if ((uintptr_t)s->wakers[middle].by < (uintptr_t)by)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Reaching */

/* The processor time of this thread, ns: what others take of it meanwhile is not the search's. */
static uint64_t spent(void) {
  struct timespec t;
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0) return uv_hrtime();
  return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static bool has_ended(Search *s) {
  if (s->end == STUCK_FOUND && --s->look <= 0) {
    s->look = LOOKS;
    if (spent() > s->deadline) s->end = STUCK_TOO_LONG;
  }
  return s->end != STUCK_FOUND;
}

/* The value on the top, which goes. */
static void reach(Search *s) {
  lua_State *L = s->L;
  int type = lua_type(L, -1);
  bool holds = type == LUA_TTABLE || type == LUA_TUSERDATA || type == LUA_TTHREAD || type == LUA_TFUNCTION;
  if (!holds || has_ended(s) || !note(s, lua_topointer(L, -1))) {
    lua_pop(L, 1);
    return;
  }
  if (lua_gettop(s->pending) >= MOST_PENDING || !lua_checkstack(s->pending, 1)) {
    s->end = STUCK_TOO_MANY;
    lua_pop(L, 1);
  } else
    lua_xmove(L, s->pending, 1);
}

static void revive(Search *s, Task *t) {
  if (t->seen == s->number) return;
  t->seen = s->number;
  lua_rawgeti(s->L, s->held, t->slot);
  reach(s);
}

static void wake_by(Search *s, const void *by) {
  for (size_t i = find_waker(s, by); i < s->nwakers && s->wakers[i].by == by; i++) revive(s, s->wakers[i].task);
}

/* The userdata on the top, or the record to which its first words point, may be what a task waits for. One without a class
** is a block of bytes, which need not have been set. */
static void wake_by_userdata(Search *s) {
  const void *const *words = lua_touserdata(s->L, -1);
  size_t n = lua_rawlen(s->L, -1) / sizeof *words;
  wake_by(s, words);
  if (!lua_getmetatable(s->L, -1)) return;
  lua_pop(s->L, 1);
  for (size_t i = 0; i < n && i < WORDS; i++)
    if (words[i]) wake_by(s, words[i]);
}

/* Looking at what was reached. stack: ..., object → the same */

static void look_at_metatable(Search *s) {
  if (lua_getmetatable(s->L, -1)) reach(s);
}

static bool has_mode(const char *mode, char kind) { return mode && strchr(mode, kind); }

static void look_at_table(Search *s) {
  lua_State *L = s->L;
  bool keys = true, values = true;
  if (lua_getmetatable(L, -1)) {
    lua_pushvalue(L, s->mode);
    lua_rawget(L, -2);
    const char *mode = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    keys = !has_mode(mode, 'k');
    values = !has_mode(mode, 'v');
    lua_pop(L, 1);
    reach(s);
  }
  if (!keys && !values) return;
  for (lua_pushnil(L); !has_ended(s) && lua_next(L, -2);) {
    if (values) reach(s); else lua_pop(L, 1);
    if (!keys) continue;
    lua_pushvalue(L, -1);
    reach(s);
  }
}

static void look_at_function(Search *s) {
  for (int i = 1; lua_getupvalue(s->L, -1, i); i++) reach(s);
}

/* Ctrl-C, and the cancellation of a worker's job, end any task. */
static bool is_end_of_all(const Search *s) {
  const Runtime *rt = s->loop->rt;
  return asy_test(s->L, rt, -1, ASY_INTERRUPT) || asy_test(s->L, rt, -1, ASY_CANCEL);
}

/* Who has a group can cancel its members; they end its owner's wait. */
static void look_at_group(Search *s) {
  const Runtime *rt = s->loop->rt;
  const Group *g = asy_test(s->L, rt, -1, ASY_GROUP);
  const Task *t = asy_test(s->L, rt, -1, ASY_TASK);
  if (g && g->owner->loop == s->loop)
    list_each(node, &g->members) revive(s, &asy_container(node, Member, link)->task);
  if (t && t->owner && t->role->awaited) wake_by(s, t->owner);
}

static void look_at_userdata(Search *s) {
  if (is_end_of_all(s)) return;
  wake_by_userdata(s);
  look_at_group(s);
  look_at_metatable(s);
  for (int i = 1; lua_getiuservalue(s->L, -1, i) != LUA_TNONE; i++) reach(s);
  lua_pop(s->L, 1);
}

/* A value of a coroutine that isn't suspended: it runs, or lies beneath. What is run lies there for its results. */
static void reach_from_stack(Search *s, lua_State *co, bool beneath) {
  lua_State *L = s->L;
  if (co != L) lua_xmove(co, L, 1);
  if (beneath && s->main && lua_touserdata(L, -1) == s->main)
    lua_pop(L, 1);
  else
    reach(s);
}

static void look_at_frame(Search *s, lua_State *co, lua_Debug *ar, bool beneath) {
  for (int step = -1; step <= 1; step += 2) /* varargs, and all else */
    for (int n = step; lua_getlocal(co, ar, n); n += step) reach_from_stack(s, co, beneath);
  lua_getinfo(co, "f", ar);
  reach_from_stack(s, co, beneath);
}

static void look_at_thread(Search *s) {
  lua_State *co = lua_tothread(s->L, -1);
  lua_Debug ar;
  if (co == s->pending) return;
  if (!lua_checkstack(co, 2)) {
    s->end = STUCK_NO_MEMORY;
    return;
  }
  bool beneath = lua_status(co) == LUA_OK && asy_has_frames(co);
  for (int level = 0; !has_ended(s) && lua_getstack(co, level, &ar); level++) look_at_frame(s, co, &ar, beneath);
  if (asy_has_frames(co)) return;
  for (int i = 1, n = lua_gettop(co); i <= n; i++) { /* it has not begun, or it has ended */
    lua_pushvalue(co, i);
    reach_from_stack(s, co, false);
  }
}

static void look_at_all(Search *s) {
  lua_State *L = s->L;
  while (!has_ended(s) && lua_gettop(s->pending)) {
    lua_xmove(s->pending, L, 1);
    switch (lua_type(L, -1)) {
      case LUA_TTABLE: look_at_table(s); break;
      case LUA_TFUNCTION: look_at_function(s); break;
      case LUA_TTHREAD: look_at_thread(s); break;
      default: look_at_userdata(s);
    }
    lua_settop(L, s->mode);
  }
}

/* Roots */

static int stuck_tasks(lua_State *L);

/* Metatables of types that have one for all values. stack: ... */
static void reach_types(Search *s) {
  lua_State *L = s->L;
  int top = lua_gettop(L);
  lua_pushnil(L);
  lua_pushboolean(L, 0);
  lua_pushnumber(L, 0);
  lua_pushvalue(L, s->mode);
  lua_pushlightuserdata(L, s);
  lua_pushcfunction(L, stuck_tasks);
  lua_pushthread(L);
  while (lua_gettop(L) > top) {
    look_at_metatable(s);
    lua_pop(L, 1);
  }
}

/* What the loop holds, but for tasks that may be stuck, and groups, which their owners have. */
static void reach_held(Search *s) {
  for (uint32_t i = ASY_SLOT_FIRST; i <= s->loop->held.n; i++) {
    Task *t = task_in(s, i);
    if (t && may_be_stuck(t)) continue;
    lua_rawgeti(s->L, s->held, i);
    if (asy_test(s->L, s->loop->rt, -1, ASY_GROUP)) lua_pop(s->L, 1); else reach(s);
    if (t) t->seen = s->number;
  }
}

static void reach_roots(Search *s) {
  lua_State *L = s->L;
  note(s, lua_topointer(L, s->held));
  lua_pushvalue(L, LUA_REGISTRYINDEX);
  reach(s);
  lua_pushthread(L);
  reach(s);
  reach_types(s);
  reach_held(s);
}

static void index_wakers(Search *s) {
  for (uint32_t i = ASY_SLOT_FIRST; s->end == STUCK_FOUND && i <= s->loop->held.n; i++) {
    Task *t = task_in(s, i);
    if (t && may_be_stuck(t)) add_wakers(s, t);
  }
  if (s->nwakers) qsort(s->wakers, s->nwakers, sizeof *s->wakers, compare);
}

static int by_number(const void *one, const void *other) {
  uint64_t a = ((const Waker *)one)->task->number, b = ((const Waker *)other)->task->number;
  return (a > b) - (a < b);
}

/* Those that are left: the lines of the index with their own address, now its first ones. */
static size_t count_stuck(Search *s) {
  size_t n = 0;
  for (size_t i = 0; s->end == STUCK_FOUND && i < s->nwakers; i++) {
    const Waker *w = &s->wakers[i];
    if (w->by == w->task && w->task->seen != s->number) s->wakers[n++] = *w;
  }
  if (n) qsort(s->wakers, n, sizeof *s->wakers, by_number);
  return n;
}

/* args: search (light), held table → the list. To make it may run a finaliser, which may close the loop. */
static int push_list(lua_State *L) {
  const Search *s = lua_touserdata(L, 1);
  lua_Integer n = 0;
  lua_createtable(L, (int)s->nwakers, 0);
  for (size_t i = 0; i < s->nwakers; i++) {
    lua_rawgeti(L, 2, s->wakers[i].slot);
    if (lua_touserdata(L, -1) == s->wakers[i].task && s->wakers[i].task->phase == TASK_PARKED)
      lua_rawseti(L, 3, ++n);
    else
      lua_pop(L, 1);
  }
  return 1;
}

static void search(Search *s) {
  index_wakers(s);
  if (s->nwakers && s->end == STUCK_FOUND) {
    reach_roots(s);
    look_at_all(s);
  }
  s->nwakers = count_stuck(s);
}

/* Pushes a list of those tasks, in the order of their making, or nil where it gave up: after `limit` ns at the latest. */
static StuckEnd push_stuck(lua_State *L, Loop *loop, uint64_t limit) {
  int top = lua_gettop(L);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  Search s = {.L = L, .loop = loop, .main = loop_main(loop), .number = ++loop->rt->last_walk,
              .deadline = spent() + limit, .look = LOOKS};
  asy_held_table(L, loop);
  s.held = lua_gettop(L);
  s.pending = lua_newthread(L);
  lua_pushliteral(L, "__mode");
  s.mode = lua_gettop(L);
  search(&s);
  mem_free(s.seen);
  lua_pushcfunction(L, push_list);
  lua_pushlightuserdata(L, &s);
  lua_pushvalue(L, top + 1);
  int status = lua_pcall(L, 2, 1, 0);
  mem_free(s.wakers);
  if (status) lua_error(L);
  if (s.end != STUCK_FOUND) {
    lua_pushnil(L);
    lua_replace(L, -2);
  }
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
  return s.end;
}

/* Telling */

/* stack: ..., task → ..., task, where it waits, and where it was made */
static void push_places(lua_State *L) {
  lua_getfield(L, -1, "traceback");
  lua_pushvalue(L, -2);
  lua_call(L, 1, 1);
  if (asy_future_extra(L, -2, "made_at") == LUA_TSTRING && lua_isstring(L, -2))
    lua_pushfstring(L, "%s\nmade at:\n%s", lua_tostring(L, -2), lua_tostring(L, -1));
  else
    lua_pushvalue(L, -2);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/* The task on the top. */
static void tell(lua_State *L, Loop *loop) {
  int top = lua_gettop(L);
  push_places(L);
  asy_report(L, loop, (Report){.message = "a task can never be woken: nobody else can reach what it waits for",
                               .key = "task", .object = top, .source = lua_tostring(L, -1)});
  lua_settop(L, top);
}

/* Whether one in the list on the top hasn't been told. */
static bool has_untold(lua_State *L) {
  bool found = false;
  for (int i = 1; !found && lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
    found = !((Task *)lua_touserdata(L, -1))->stuck;
    lua_pop(L, 1);
  }
  lua_settop(L, 2);
  return found;
}

/* args: loop (light) → how the search ended. What is garbage may still wake somebody by its finaliser: it is collected
** before anything is told. */
static int look_and_tell(lua_State *L) {
  Loop *loop = lua_touserdata(L, 1);
  StuckEnd end = push_stuck(L, loop, LIMIT);
  if (end == STUCK_FOUND && has_untold(L)) {
    lua_gc(L, LUA_GCCOLLECT);
    lua_settop(L, 1);
    end = push_stuck(L, loop, LIMIT);
    for (int i = 1; end == STUCK_FOUND && lua_rawgeti(L, 2, i) != LUA_TNIL; i++, lua_settop(L, 2)) {
      Task *t = lua_touserdata(L, 3);
      if (!t->stuck && t->phase == TASK_PARKED) tell(L, loop);
      t->stuck = true;
    }
  }
  lua_pushinteger(L, end);
  return 1;
}

/* The loop has had nothing to do for a while. Memory that runs out is no matter: it is looked again. */
static uint64_t on_idle(lua_State *L, Loop *loop) {
  lua_pushcfunction(L, look_and_tell);
  lua_pushlightuserdata(L, loop);
  bool whole = lua_pcall(L, 1, 1, 0) == LUA_OK && lua_tointeger(L, -1) == STUCK_FOUND;
  lua_pop(L, 1);
  return whole ? PAUSE : LONG_PAUSE;
}

static const char *const WHY[] = {[STUCK_TOO_LONG] = "it would have taken too long",
                                  [STUCK_TOO_MANY] = "there are too many objects",
                                  [STUCK_NO_MEMORY] = "not enough memory"};

/* stuck_tasks(loop, seconds) → a list of the tasks that can never be woken; or nil, and why that isn't known */
static int stuck_tasks(lua_State *L) {
  Loop *loop = asy_checkopenloop(L, 1);
  lua_Number seconds = luaL_optnumber(L, 2, 0);
  lua_settop(L, 1);
  uint64_t limit = seconds > 0 && seconds < 1e9 ? (uint64_t)(seconds * NS_PER_S) : LIMIT;
  StuckEnd end = push_stuck(L, loop, limit);
  if (end == STUCK_FOUND) return 1;
  lua_pushstring(L, WHY[end]);
  return 2;
}

/* seek_stuck(loop, always): looks for them now and then while it idles; always: whenever it would wait, for the specs */
static int seek_stuck(lua_State *L) {
  asy_checkopenloop(L, 1)->seek.how = lua_toboolean(L, 2) ? SEEK_ALWAYS : SEEK_NOW_AND_THEN;
  return 0;
}

static const luaL_Reg functions[] = {{"stuck_tasks", stuck_tasks}, {"seek_stuck", seek_stuck}, {NULL, NULL}};

/* stack: module */
void asy_open_stuck(lua_State *L) {
  static const LoopHooks hooks = {.idles = on_idle};
  runtime_on_loop(asy_runtime(L), &hooks);
  asy_setfuncs(L, functions);
}
