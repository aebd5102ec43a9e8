/*
** pool.c - asyncio.Pool where nothing is to be decided: an idle Item is lent, comes back, goes to the first in the
** line. All else is pool.lua's.
**
** A Pool's user values are the list of its idle Items, the newest last, and pool.lua's functions, of which each gets
** the Pool's state, a table. Its places: each Item that exists, is being made or destroyed, has one. While somebody
** waits nothing is idle and no place free: an Item that comes back stays in the list as one of the `reserved`, and who
** was woken for it takes the newest. A place that becomes free is handed over likewise, to make a new one in it.
**
** Who has a Lease has the Item, and the Pool only while it is idle: so a lease that is forgotten makes the Item
** garbage, whose finaliser tells. It is made once for each value, which a finaliser for each Lease would not be.
*/
#include "open.h"

#include "core/error.h"
#include "core/waitq.h"

#define CLOSED "the pool is shut down"

typedef struct Pool {
  Waitq q;
  uint64_t loop_id; /* of the loop whose Items it has */
  bool open;        /* it has not been shut down */
  bool lends;       /* an idle one needs no more than to be lent */
  bool watched;     /* pool.lua looks whether they wait in vain */
  bool gone;        /* it is garbage, and its finaliser has run */
  lua_Integer room; /* so many may lie idle before anything is to be decided */
  lua_Integer reserved, places, most;
  lua_Integer served; /* how often something was handed over */
} Pool;

enum {
  POOL_IDLE = 1,
  POOL_STATE,
  POOL_ACQUIRE,
  POOL_GIVE_BACK,
  POOL_RECOVER,
  POOL_END,
  POOL_USER_VALUES = POOL_END
};
enum { HANDED_ITEM = 1, HANDED_PLACE }; /* what a task in the line is woken with; 0: the pool was shut down */

typedef struct Item {
  Pool *pool; /* its user value */
  uint64_t loop_id;
  bool out; /* of the list, and not destroyed: somebody has it */
} Item;

enum { ITEM_VALUE = 1, ITEM_POOL, ITEM_RECORD, ITEM_USER_VALUES = ITEM_RECORD };

typedef struct Lease {
  Item *item; /* its user value; NULL: given back */
} Lease;

static Pool *check_pool(lua_State *L, int idx) {
  return asy_check(L, ASY_RUNTIME(L), idx, ASY_POOL, "asyncio.Pool");
}

static Item *check_item(lua_State *L) { return asy_check(L, ASY_RUNTIME(L), 1, ASY_ITEM, "asyncio.Item"); }

static Lease *check_lease(lua_State *L) { return asy_self(L, ASY_RUNTIME(L), ASY_LEASE, "asyncio.Lease"); }

/* stack: ..., the pool at idx → ..., its function, its state */
static void push_call(lua_State *L, int idx, int function) {
  lua_getiuservalue(L, idx, function);
  lua_getiuservalue(L, idx, POOL_STATE);
}

/* Lending */

/* Pushes a Lease that has nothing yet. */
static Lease *push_lease(lua_State *L, const Runtime *rt) {
  Lease *lease = lua_newuserdatauv(L, sizeof *lease, 1);
  lease->item = NULL;
  asy_pushmeta(L, rt, ASY_LEASE);
  lua_setmetatable(L, -2);
  return lease;
}

/* stack: ..., lease, item → ..., lease */
static void lend(lua_State *L, Lease *lease, Item *item) {
  lease->item = item;
  lua_setiuservalue(L, -2, 1);
}

static int acquired(lua_State *L, int status, lua_KContext ctx) {
  (void)L;
  (void)status;
  (void)ctx;
  return 1;
}

/* stack: pool, item or false or nothing → lease; the general way */
static int acquire_slowly(lua_State *L) {
  int n = lua_gettop(L);
  push_call(L, 1, POOL_ACQUIRE);
  if (n > 1) lua_pushvalue(L, 2); else lua_pushnil(L);
  lua_callk(L, 2, 1, 0, acquired);
  return 1;
}

/* The Item on the top is lent, if there is no more to it. stack: pool, item → lease */
static int acquire_item(lua_State *L, Pool *p, Lease *lease) {
  if (!p->lends) return acquire_slowly(L);
  if (!lease) {
    lua_remove(L, 1);
    lease = push_lease(L, ASY_RUNTIME(L));
    lua_insert(L, 1);
  }
  lend(L, lease, lua_touserdata(L, -1));
  return 1;
}

/* Pushes the newest that is idle, and takes it out of the list. */
static void pop_idle(lua_State *L) {
  lua_getiuservalue(L, 1, POOL_IDLE);
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  asy_assert(n > 0);
  lua_rawgeti(L, -1, n);
  lua_pushnil(L);
  lua_rawseti(L, -3, n);
  lua_remove(L, -2);
  ((Item *)lua_touserdata(L, -1))->out = true;
}

static lua_Integer count_free(lua_State *L, const Pool *p) {
  lua_getiuservalue(L, 1, POOL_IDLE);
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1) - p->reserved;
  lua_pop(L, 1);
  return n;
}

/* Hands the first in the line something; false: nobody waits. */
static bool pass(Pool *p, int what) {
  Task *next = waitq_first(&p->q);
  if (!next) return false;
  p->served++;
  if (what == HANDED_ITEM) p->reserved++;
  waitq_hand(&p->q, next, what);
  return true;
}

static void free_place(Pool *p) {
  if (!p->open || !pass(p, HANDED_PLACE)) p->places--;
}

/* Pushes what a woken task has got: an Item, false for a place. */
static void push_handed(lua_State *L, Task *t) {
  Pool *p = t->on;
  if (!p || !t->code) asy_error(L, ASY_CLOSED, CLOSED);
  waitq_took(t);
  lua_settop(L, 1);
  if (t->code == HANDED_ITEM) {
    p->reserved--;
    pop_idle(L);
  } else
    lua_pushboolean(L, 0);
}

static int waited(lua_State *L, Task *t) {
  push_handed(L, t);
  return 1;
}

static int acquire_finish(lua_State *L, Task *t) {
  push_handed(L, t);
  return t->code == HANDED_ITEM ? acquire_item(L, t->on, NULL) : acquire_slowly(L);
}

static void giveback(lua_State *L, Task *t) {
  Pool *p = t->on;
  (void)L;
  if (!p || !t->code) return;
  waitq_took(t);
  if (t->code == HANDED_ITEM) {
    p->reserved--;
    pass(p, HANDED_ITEM);
  } else
    free_place(p);
}

static const WaitKind ACQUIRE = {.name = "pool", .finish = acquire_finish, .abort = asy_waitq_abort,
                                 .giveback = giveback, .may_come = task_waits_for_us, .woken_by = task_woken_by_on};
static const WaitKind WAIT = {.name = "pool", .finish = waited, .abort = asy_waitq_abort, .giveback = giveback,
                              .may_come = task_waits_for_us, .woken_by = task_woken_by_on};

/// Waits for one: `local lease <close> = pool:acquire()`, and uses `lease.value`.
// The newest that is idle, else a new one; where there are `max`, first come, first served. What `create` raises is
// raised here, and the next in the line tries. Cancelled, it has taken nothing. Raises ClosedError after `shutdown`.
// Who leaves the block by an error, a cancellation too, does not give it back: it is destroyed, since nobody knows what
// it still expects. The lease may go to other tasks; one that is forgotten is reported and destroyed when it is
// collected, or at the end of the run.
// @function Pool:acquire
// @treturn Lease
static int pool_acquire(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Pool *p = check_pool(L, 1);
  Task *t = asy_current_in(L, rt);
  lua_settop(L, 1);
  if (task_spent(t)) return asy_give_way(L, t, pool_acquire);
  Lease *lease = push_lease(L, rt);
  if (!p->open || p->loop_id != t->loop->id) {
    lua_settop(L, 1);
    return acquire_slowly(L);
  }
  if (count_free(L, p) > 0) {
    pop_idle(L);
    if (p->lends) return acquire_item(L, p, lease);
    lua_remove(L, 2);
    return acquire_slowly(L);
  }
  lua_settop(L, 1);
  if (p->places >= p->most && p->watched) return asy_waitq_park(L, t, &p->q, &ACQUIRE, p);
  return acquire_slowly(L);
}

/* Coming back */

static int given_back(lua_State *L, int status, lua_KContext ctx) {
  (void)L;
  (void)status;
  (void)ctx;
  return 0;
}

/* stack: lease, ... */
static int give_back(lua_State *L, Lease *lease, bool broken) {
  Item *item = lease->item;
  if (!item) return 0;
  Pool *p = item->pool;
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, 1);
  lua_getiuservalue(L, 2, ITEM_POOL);
  if (p->loop_id != item->loop_id || !item->out) { /* the loop is closed, or about to be: it counts no more */
    item->out = false;
    lease->item = NULL;
    return 0;
  }
  if (!broken && p->open) {
    lua_getiuservalue(L, 3, POOL_IDLE);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 4);
    if (!waitq_empty(&p->q) || n - p->reserved < p->room) {
      lua_pushvalue(L, 2);
      lua_rawseti(L, 4, n + 1);
      item->out = false;
      lease->item = NULL;
      pass(p, HANDED_ITEM);
      return 0;
    }
    lua_settop(L, 3);
  }
  lease->item = NULL;
  push_call(L, 3, POOL_GIVE_BACK);
  lua_pushvalue(L, 2);
  lua_pushboolean(L, broken);
  lua_callk(L, 3, 0, 0, given_back);
  return 0;
}

/// Gives it back before the block is left.
// @function Lease:release
static int lease_release(lua_State *L) { return give_back(L, check_lease(L), false); }

/// It is good no more: it is destroyed, at once, and does not go back.
// @function Lease:discard
static int lease_discard(lua_State *L) { return give_back(L, check_lease(L), true); }

static int lease__close(lua_State *L) { return give_back(L, check_lease(L), !lua_isnoneornil(L, 2)); }

/* Fields, then the methods: upvalue 2. A lease that was given back has no value. */
static int lease__index(lua_State *L) {
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  lua_settop(L, 2);
  if (key[0] == 'v' && lua_rawlen(L, 2) == 5 && key[4] == 'e') {
    const Lease *lease = asy_test(L, ASY_RUNTIME(L), 1, ASY_LEASE);
    if (!lease || !lease->item) return 0;
    lua_getiuservalue(L, 1, 1);
    lua_getiuservalue(L, -1, ITEM_VALUE);
    return 1;
  }
  lua_rawget(L, lua_upvalueindex(2));
  return 1;
}

static int lease__tostring(lua_State *L) {
  const Lease *lease = check_lease(L);
  lua_pushfstring(L, "asyncio.Lease: %s (%p)", lease->item ? "lent" : "given back", (const void *)lease);
  return 1;
}

/* Its lease was forgotten; not so in a state that is being closed: os.exit lets nobody give anything back. */
static int item__gc(lua_State *L) {
  Item *item = asy_test(L, ASY_RUNTIME(L), 1, ASY_ITEM);
  if (!item || !item->out) return 0;
  item->out = false;
  lua_settop(L, 1);
  if (!lua_checkstack(L, 10)) return 0;
  lua_getiuservalue(L, 1, ITEM_POOL);
  push_call(L, 2, POOL_RECOVER);
  lua_pushvalue(L, 1);
  lua_pushboolean(L, !asy_is_dying(L));
  lua_pcall(L, 3, 0, 0); /* where the state is being closed, its loop may have gone before */
  return 0;
}

static int pool__gc(lua_State *L) {
  Pool *p = asy_test(L, ASY_RUNTIME(L), 1, ASY_POOL);
  if (!p) return 0;
  p->gone = true;
  asy_waitq_destroy(L, &p->q);
  return 0;
}

/* For pool.lua */

/* new_pool(state, acquire, give_back, recover, end, max) → the pool, the list of what is idle */
static int pool_new(lua_State *L) {
  lua_Integer most = luaL_checkinteger(L, 6);
  lua_settop(L, 5);
  Pool *p = lua_newuserdatauv(L, sizeof *p, POOL_USER_VALUES);
  *p = (Pool){.open = true, .most = most};
  waitq_init(&p->q);
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_POOL);
  lua_setmetatable(L, 6);
  for (int i = 1; i <= 5; i++) {
    lua_pushvalue(L, i);
    lua_setiuservalue(L, 6, POOL_STATE + i - 1);
  }
  lua_createtable(L, 4, 0);
  lua_pushvalue(L, 7);
  lua_setiuservalue(L, 6, POOL_IDLE);
  return 2;
}

/* pool → its state */
static int pool_state(lua_State *L) {
  check_pool(L, 1);
  lua_getiuservalue(L, 1, POOL_STATE);
  return 1;
}

/* The loop's field: the set of its pools, weak. A finaliser that has yet to run must not hide one. */
#define POOLS "pools"

/* pool, loop: it is that loop's from now on, and has nothing */
static int pool_bind(lua_State *L) {
  Pool *p = check_pool(L, 1);
  Loop *loop = asy_checkloop(L, 2);
  lua_settop(L, 2);
  asy_loop_subtable(L, loop, POOLS);
  if (!lua_getmetatable(L, 3)) {
    asy_newweak(L, "k");
    lua_getmetatable(L, 4);
    lua_setmetatable(L, 3);
  }
  lua_pushvalue(L, 1);
  lua_pushboolean(L, 1);
  lua_rawset(L, 3);
  p->loop_id = loop->id;
  p->reserved = p->places = 0;
  p->watched = false;
  return 0;
}

/* pool, whether what is idle can be lent as it is, how many may lie idle before anything is to be decided */
static int pool_tune(lua_State *L) {
  Pool *p = check_pool(L, 1);
  p->lends = lua_toboolean(L, 2);
  p->room = luaL_checkinteger(L, 3);
  return 0;
}

/* pool: it is shut down; those who wait are told */
static int pool_close(lua_State *L) {
  Pool *p = check_pool(L, 1);
  p->open = p->lends = false;
  waitq_wake_all(&p->q, 0);
  return 0;
}

/* How many tasks have been handed a place and have not run yet. */
static int count_handed(const Pool *p) {
  int n = 0;
  list_each(node, &p->q.handed) n += asy_container(node, Task, waiter.link)->code == HANDED_PLACE;
  return n;
}

/* pool → places taken, tasks that wait, how many are idle and nobody's, how often something was handed over, how many
** places have been and are nobody's yet */
static int pool_counts(lua_State *L) {
  const Pool *p = check_pool(L, 1);
  lua_settop(L, 1);
  lua_pushinteger(L, p->places);
  lua_pushinteger(L, waitq_length(&p->q));
  lua_pushinteger(L, count_free(L, p));
  lua_pushinteger(L, p->served);
  lua_pushinteger(L, count_handed(p));
  return 5;
}

/* stack: pool → pool, the newest that is idle, or false for a place that was free; false: there is neither */
static bool take(lua_State *L, Pool *p) {
  lua_settop(L, 1);
  if (count_free(L, p) > 0) {
    pop_idle(L);
    return true;
  }
  if (p->places >= p->most) return false;
  p->places++;
  lua_pushboolean(L, 0);
  return true;
}

/* pool → the newest that is idle; false: a place for a new one; nil: there is neither */
static int pool_take(lua_State *L) { return take(L, check_pool(L, 1)); }

/* The same, but waits in the line. */
static int pool_wait(lua_State *L) {
  Pool *p = check_pool(L, 1);
  Task *t = asy_current(L);
  if (!p->open) return asy_error(L, ASY_CLOSED, CLOSED);
  return take(L, p) ? 1 : asy_waitq_park(L, t, &p->q, &WAIT, p);
}

/* pool, item: it is idle, or the first in the line has it */
static int pool_put(lua_State *L) {
  Pool *p = check_pool(L, 1);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, POOL_IDLE);
  lua_pushvalue(L, 2);
  lua_rawseti(L, 3, (lua_Integer)lua_rawlen(L, 3) + 1);
  ((Item *)asy_check(L, ASY_RUNTIME(L), 2, ASY_ITEM, "asyncio.Item"))->out = false;
  pass(p, HANDED_ITEM);
  return 0;
}

/* pool: a place is free → how many are taken */
static int pool_free(lua_State *L) {
  Pool *p = check_pool(L, 1);
  free_place(p);
  lua_pushinteger(L, p->places);
  return 1;
}

/* Pushes a list of the tasks that destroy what the loop's pools had. */
static void end_pools(lua_State *L, const Loop *loop) {
  luaL_checkstack(L, 12, NULL);
  lua_newtable(L);
  int tasks = lua_gettop(L), pools = tasks + 2;
  asy_loop_getfield(L, loop, POOLS);
  lua_newtable(L);
  if (lua_istable(L, -2))
    for (lua_pushnil(L); lua_next(L, tasks + 1);) {
      lua_pushvalue(L, -2);
      lua_rawseti(L, pools, (lua_Integer)lua_rawlen(L, pools) + 1);
      lua_pop(L, 1);
    }
  for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, pools); i <= n; i++, lua_settop(L, pools)) {
    lua_rawgeti(L, pools, i);
    const Pool *p = lua_touserdata(L, -1);
    if (p->gone || p->loop_id != loop->id) continue;
    push_call(L, pools + 1, POOL_END);
    lua_pushvalue(L, tasks);
    lua_pcall(L, 2, 0, 0); /* out of memory: the next may be smaller */
  }
  lua_settop(L, tasks);
}

/* loop, which is about to be closed → the tasks to wait for */
static int loop_end_pools(lua_State *L) {
  end_pools(L, asy_checkopenloop(L, 1));
  return 1;
}

/* The loop closes: what the pools still have is destroyed where nothing can wait. */
static void report_pools(lua_State *L, Loop *loop) {
  if (asy_is_dying(L)) return;
  end_pools(L, loop);
  lua_pop(L, 1);
}

/* pool, whether it is watched */
static int pool_watch(lua_State *L) {
  check_pool(L, 1)->watched = lua_toboolean(L, 2);
  return 0;
}

/* value, pool, record → an Item, which is out; the record is what pool.lua keeps of it */
static int item_new(lua_State *L) {
  Pool *p = check_pool(L, 2);
  lua_settop(L, 3);
  Item *item = lua_newuserdatauv(L, sizeof *item, ITEM_USER_VALUES);
  *item = (Item){.pool = p, .loop_id = p->loop_id, .out = true};
  for (int i = 1; i <= 3; i++) {
    lua_pushvalue(L, i);
    lua_setiuservalue(L, 4, i);
  }
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_ITEM);
  lua_setmetatable(L, 4);
  return 1;
}

/* item: it has been destroyed, or will be → whether somebody had it */
static int item_bury(lua_State *L) {
  Item *item = check_item(L);
  lua_pushboolean(L, item->out);
  item->out = false;
  return 1;
}

/* item → its record */
static int item_record(lua_State *L) {
  check_item(L);
  lua_getiuservalue(L, 1, ITEM_RECORD);
  return 1;
}

/* item → a Lease of it */
static int item_lend(lua_State *L) {
  Item *item = check_item(L);
  lua_settop(L, 1);
  Lease *lease = push_lease(L, ASY_RUNTIME(L));
  lua_insert(L, 1);
  lend(L, lease, item);
  return 1;
}

static const luaL_Reg pool_methods[] = {{"acquire", pool_acquire}, {NULL, NULL}};
static const luaL_Reg pool_metamethods[] = {{"__gc", pool__gc}, {NULL, NULL}};
static const luaL_Reg item_metamethods[] = {{"__gc", item__gc}, {NULL, NULL}};
static const luaL_Reg lease_methods[] = {{"release", lease_release}, {"discard", lease_discard}, {NULL, NULL}};
static const luaL_Reg lease_metamethods[] = {
    {"__close", lease__close}, {"__tostring", lease__tostring}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"new_pool", pool_new},       {"pool_state", pool_state},
                                     {"bind_pool", pool_bind},     {"tune_pool", pool_tune},
                                     {"close_pool", pool_close},   {"pool_counts", pool_counts},
                                     {"take_of_pool", pool_take},  {"wait_for_pool", pool_wait},
                                     {"put_in_pool", pool_put},    {"free_in_pool", pool_free},
                                     {"watch_pool", pool_watch},   {"new_item", item_new},
                                     {"item_record", item_record}, {"lend_item", item_lend},
                                     {"bury_item", item_bury},     {"end_pools", loop_end_pools},
                                     {NULL, NULL}};

/// What a pool has lent, until the block is left; `Pool:acquire` gives it.
// Its field `value` is what `create` made; nil once it was given back.
// @type Lease
// @usage
// local pool <close> = asyncio.Pool { create = function() return {} end }
// do
//   local lease <close> = pool:acquire()
//   lease.value.name = "the first"
// end
// local lease <close> = pool:acquire()
// print(lease.value.name) --> the first
// lease:discard() -- it has gone wrong
// print(pool:stats().destroyed) --> 1

/* stack: module */
void asy_open_pool(lua_State *L) {
  static const LoopHooks hooks = {.report = report_pools};
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_POOL, "asyncio.Pool", pool_methods, pool_metamethods);
  asy_newclass(L, ASY_ITEM, "asyncio.Item", NULL, item_metamethods);
  asy_newclass(L, ASY_LEASE, "asyncio.Lease", lease_methods, lease_metamethods);
  asy_pushmeta(L, asy_runtime(L), ASY_LEASE);
  lua_getfield(L, -1, "methods");
  asy_pushclosure(L, lease__index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  asy_pushmeta(L, asy_runtime(L), ASY_POOL);
  lua_setfield(L, -2, "pool_class");
  runtime_on_loop(asy_runtime(L), &hooks);
}
