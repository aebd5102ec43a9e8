/*
** lock.c - asyncio.Lock: one owner, handed over in the order of asking.
**
** The owner is known by its task's number, which is never used again, so no pointer is left. A task that ends
** without releasing is reported, and the lock handed on; only the close of its loop leaves it locked.
*/
#include "sync/lock.h"

#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/options.h"
#include "core/report.h"
#include "open.h"

static const char NAME[] = "asyncio.Lock";

static Lock *check_lock(lua_State *L) {
  return asy_check(L, ASY_RUNTIME(L), 1, ASY_LOCK, NAME);
}

static void own(Lock *lock, Task *t) {
  asy_assert(!lock->owner && t->number);
  lock->owner = t->number;
  list_append(&t->guards, &lock->guard.link);
}

void lock_pass(Lock *lock) {
  Task *next = waitq_first(&lock->q);
  list_remove(&lock->guard.link);
  lock->owner = 0;
  if (!next) return;
  own(lock, next);
  waitq_hand(&lock->q, next, next->code);
}

void asy_lock_note_place(lua_State *L, Lock *lock) {
  lua_Debug ar;
  lock->line = 0;
  if (!lua_getstack(L, 1, &ar)) return;
  lua_getinfo(L, "Sl", &ar);
  lock->line = ar.currentline;
  memcpy(lock->source, ar.short_src, sizeof lock->source);
}

/* Its owner has ended: nobody could ever release it. The report comes last: its handler may collect
** the lock, which nothing holds here. */
static void forgotten(lua_State *L, Loop *loop, Guard *g, bool quiet) {
  Lock *lock = asy_container(g, Lock, guard);
  char place[LUA_IDSIZE + 32];
  snprintf(place, sizeof place, "taken at %s:%d", lock->source, lock->line);
  lock_pass(lock);
  if (quiet) return;
  asy_report(L, loop, (Report){.message = "a lock was never released (local _ <close> = lock:acquire()): "
                                          "it is released now",
                               .key = "task", .object = -1, .source = place});
}

void lock_queue(Lock *lock, Task *t, int code) {
  t->code = code;
  list_append(&lock->q.line, &t->waiter.link);
  if (!lock->owner) lock_pass(lock);
}

static int acquired(lua_State *L, Task *t) {
  waitq_took(t);
  lua_settop(L, 1);
  asy_lock_note_place(L, t->on);
  return 1;
}

static void giveback(lua_State *L, Task *t) {
  (void)L;
  if (!t->on) return;
  waitq_took(t);
  lock_pass(t->on);
}

static const WaitKind ACQUIRE = {.name = "lock", .finish = acquired, .abort = asy_waitq_abort,
                                 .giveback = giveback, .may_come = task_waits_for_us, .woken_by = task_woken_by_on};

uint64_t lock_waited_for(const Task *t) {
  return t->phase == TASK_PARKED && t->kind == &ACQUIRE ? ((const Lock *)t->on)->owner : 0;
}

int asy_lock_new(lua_State *L) {
  Lock *lock = lua_newuserdatauv(L, sizeof *lock, 0);
  waitq_init(&lock->q);
  lock->loop_id = lock->owner = 0;
  lock->guard.forgotten = forgotten;
  list_init(&lock->guard.link);
  lock->line = 0;
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_LOCK);
  lua_setmetatable(L, -2);
  return 1;
}

static const Options OPTIONS = {.call = "Lock", .arg = 1};

/// A lock that one task at a time holds.
// @function Lock
// @treturn Lock
static int lock_new(lua_State *L) {
  asy_options_check(L, 1, &OPTIONS);
  return asy_lock_new(L);
}

int asy_lock_take(lua_State *L, Lock *lock, lua_CFunction again) {
  Task *t = asy_current_in(L, ASY_RUNTIME(L));
  if (task_spent(t)) return asy_give_way(L, t, again);
  if (asy_waitq_bind(L, t, &lock->loop_id, "lock")) lock->owner = 0;
  if (lock->owner == t->number) return asy_error(L, ASY_ERROR, "the task holds the lock already");
  if (lock->owner) return asy_waitq_park(L, t, &lock->q, &ACQUIRE, lock);
  own(lock, t);
  asy_lock_note_place(L, lock);
  lua_settop(L, 1);
  return 1;
}

/// Waits for the lock and takes it: `local _ <close> = lock:acquire()`.
// First come, first served. Raises when the task holds it already: it would wait for itself.
// @function Lock:acquire
// @treturn Lock itself; leaving the block releases it
static int lock_acquire(lua_State *L) {
  asy_nargs(L, 1);
  return asy_lock_take(L, asy_self(L, ASY_RUNTIME(L), ASY_LOCK, NAME), lock_acquire);
}

/* Whether the running task holds it. */
static bool mine(const Runtime *rt, const Lock *lock) {
  return rt->current && lock->owner == rt->current->number;
}

/// Releases the lock; the first that waits has it then.
// Raises InvalidStateError when it is free, or when another task holds it.
// @function Lock:release
int asy_lock_release(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Lock *lock = asy_self(L, rt, ASY_LOCK, NAME);
  if (!lock->owner) return asy_error(L, ASY_INVALID_STATE, "the lock is not held");
  if (!mine(rt, lock)) return asy_error(L, ASY_INVALID_STATE, "the lock is held by another task");
  lock_pass(lock);
  return 0;
}

/* Leaving the block after a release by hand is no error. */
int asy_lock_leave(lua_State *L, Lock *lock) {
  if (mine(ASY_RUNTIME(L), lock)) lock_pass(lock);
  return 0;
}

static int lock__close(lua_State *L) { return asy_lock_leave(L, check_lock(L)); }

/// Whether somebody holds it.
// @function Lock:locked
// @treturn boolean
static int lock_locked(lua_State *L) {
  lua_pushboolean(L, check_lock(L)->owner != 0);
  return 1;
}

static int lock__gc(lua_State *L) {
  Lock *self = asy_test(L, ASY_RUNTIME(L), 1, ASY_LOCK);
  if (!self) return 0;
  asy_waitq_destroy(L, &self->q);
  list_remove(&self->guard.link);
  return 0;
}

void asy_lock_push_state(lua_State *L, const Lock *lock) {
  Loop *loop = lock->owner ? loop_find(asy_runtime(L), lock->loop_id) : NULL;
  int top = lua_gettop(L);
  if (!loop) {
    lua_pushstring(L, lock->owner ? "locked" : "free");
    return;
  }
  asy_task_find(L, loop, lock->owner);
  Task *t = lua_touserdata(L, -1);
  if (!t)
    lua_pushliteral(L, "locked");
  else if (asy_task_name(L, t, top + 1), lock->line > 0)
    lua_pushfstring(L, "locked by '%s' at %s:%d", lua_tostring(L, -1), lock->source, lock->line);
  else
    lua_pushfstring(L, "locked by '%s'", lua_tostring(L, -1));
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
}

static int lock__tostring(lua_State *L) {
  Lock *lock = check_lock(L);
  asy_lock_push_state(L, lock);
  lua_pushfstring(L, "asyncio.Lock: %s, %d waiting (%p)", lua_tostring(L, -1), waitq_length(&lock->q),
                  (void *)lock);
  return 1;
}

/// What one task at a time holds; `asyncio.Lock` makes it. Who waits first has it first.
// @type Lock
// @usage
// local lock, balance = asyncio.Lock(), 100
// local function withdraw(amount)
//   local _ <close> = lock:acquire() -- until the block ends, however it does
//   local before = balance
//   asyncio.sleep(0.1) -- nobody else comes in meanwhile
//   balance = before - amount
// end
// asyncio.gather(function() withdraw(30) end, function() withdraw(50) end)
// print(balance) --> 20

static const luaL_Reg methods[] = {
    {"acquire", lock_acquire}, {"release", asy_lock_release}, {"locked", lock_locked}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__close", lock__close}, {"__gc", lock__gc}, {"__tostring", lock__tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"Lock", lock_new}, {NULL, NULL}};

/* stack: module */
void asy_open_lock(lua_State *L) {
  asy_options_note(L, &OPTIONS);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_LOCK, "asyncio.Lock", methods, metamethods);
}
