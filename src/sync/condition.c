/*
** condition.c - asyncio.Condition: tasks wait for news under a lock.
**
** A notified task goes from the condition's line to the lock's at once, so that it is woken only when
** it has the lock. A cancelled one has to have the lock again before its error is raised: it goes the
** same way, and a second cancellation meanwhile waits.
*/
#include "open.h"

#include "core/cancel.h"
#include "core/error.h"
#include "core/options.h"
#include "sync/lock.h"

#define LOCK_UV 1 /* user value: the lock */
#define NOTIFIED 1
#define CANCELLED 2

typedef struct Condition {
  Waitq q;
  Lock *lock;
} Condition;

static Condition *check_condition(lua_State *L) {
  return asy_check(L, ASY_RUNTIME(L), 1, ASY_CONDITION, "asyncio.Condition");
}

static void check_held(lua_State *L, const Condition *c, const char *what) {
  Task *t = ASY_RUNTIME(L)->current;
  if (!t || c->lock->owner != t->number)
    asy_error(L, ASY_INVALID_STATE, "cannot %s: the task doesn't hold the condition's lock", what);
}

/* Waiting for the lock again */

static int retaken(lua_State *L, Task *t) {
  lua_CFunction again = t->again; /* wait_for's: the predicate is asked anew */
  waitq_took(t);
  asy_lock_note_place(L, t->on);
  if (t->code == CANCELLED && asy_cancel_due(L, t)) return asy_task_raise(L, t);
  if (again) return again(L);
  lua_pushboolean(L, 1);
  return 1;
}

static Abort retake_abort(lua_State *L, Task *t) {
  (void)L;
  (void)t;
  return ASY_PENDING;
}

static void retake_giveback(lua_State *L, Task *t) {
  (void)L;
  if (!t->on) return;
  waitq_took(t);
  lock_pass(t->on);
}

static const WaitKind RETAKE = {.name = "condition's lock", .finish = retaken, .abort = retake_abort,
                                .giveback = retake_giveback, .may_come = task_waits_for_us};

static void retake(Condition *c, Task *t, int code) {
  list_remove(&t->waiter.link);
  t->kind = &RETAKE;
  t->on = c->lock;
  lock_queue(c->lock, t, code);
}

static Abort wait_abort(lua_State *L, Task *t) {
  (void)L;
  if (t->on && t->phase != TASK_ENDED) retake(t->on, t, CANCELLED);
  return ASY_PENDING;
}

static const WaitKind WAIT = {.name = "condition", .finish = retaken, .abort = wait_abort,
                              .may_come = task_waits_for_us, .woken_by = task_woken_by_on};

/* stack: condition, ... */
static int wait(lua_State *L, Condition *c, lua_CFunction again) {
  Task *t = asy_current(L);
  check_held(L, c, "wait");
  t->again = again;
  list_append(&c->q.line, &t->waiter.link);
  lock_pass(c->lock);
  return asy_park(L, t, &WAIT, c);
}

static const OptSpec SPECS[] = {{.key = "lock", .kind = OPT_OBJECT, .choices = "asyncio.Lock", .object = ASY_LOCK}};
static const Options OPTIONS = {"Condition", 1, OPT_CONSTRUCTOR, OPT_SPECS(SPECS)};

/// News that tasks wait for, under a lock. Also `Condition{lock=}`.
// @function Condition
// @tparam[opt] Lock lock by default one of its own
// @treturn Condition
static int condition_new(lua_State *L) {
  asy_options_first(L, 1, &OPTIONS);
  if (!asy_test(L, ASY_RUNTIME(L), -1, ASY_LOCK)) {
    lua_settop(L, 0);
    asy_lock_new(L);
  }
  Condition *c = lua_newuserdatauv(L, sizeof *c, LOCK_UV);
  waitq_init(&c->q);
  c->lock = lua_touserdata(L, -2);
  lua_pushvalue(L, -2);
  lua_setiuservalue(L, -2, LOCK_UV);
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_CONDITION);
  lua_setmetatable(L, -2);
  return 1;
}

/// Releases the lock, waits until notified, and takes the lock again.
// A cancellation, too, is raised only when the task has the lock again.
// @function Condition:wait
// @return true
static int condition_wait(lua_State *L) {
  Condition *c = check_condition(L);
  lua_settop(L, 1);
  return wait(L, c, NULL);
}

/* stack: condition, predicate */
static int ask_predicate(lua_State *L);

static int predicate_false(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  if (lua_toboolean(L, 3)) return 1;
  lua_settop(L, 2);
  return wait(L, check_condition(L), ask_predicate);
}

static int ask_predicate(lua_State *L) {
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  lua_callk(L, 0, 1, 0, predicate_false);
  return predicate_false(L, LUA_OK, 0);
}

/// Waits until a predicate holds.
// @function Condition:wait_for
// @param predicate a function, or a callable, called with the lock held
// @return what it returned
static int condition_wait_for(lua_State *L) {
  check_condition(L);
  if (!asy_callable(L, 2)) asy_notfunction(L, 2, 2, "function", "f", "f()");
  Task *t = asy_current_or_null(L);
  return t && task_spent(t) ? asy_give_way(L, t, ask_predicate) : ask_predicate(L);
}

static int notify(lua_State *L, lua_Integer n) {
  Condition *c = check_condition(L);
  check_held(L, c, "notify");
  for (Task *t; n > 0 && (t = waitq_first(&c->q)); n--) retake(c, t, NOTIFIED);
  return 0;
}

/// Lets the first n that wait go on, when they get the lock.
// @function Condition:notify
// @tparam[opt=1] integer n
static int condition_notify(lua_State *L) {
  return notify(L, lua_isnoneornil(L, 2) ? 1 : asy_checkinteger(L, 2));
}

/// Lets all that wait go on.
// @function Condition:notify_all
static int condition_notify_all(lua_State *L) { return notify(L, LUA_MAXINTEGER); }

/// Takes the lock: `local _ <close> = condition:acquire()`.
// @function Condition:acquire
// @treturn Condition itself; leaving the block releases the lock
static int condition_acquire(lua_State *L) {
  Condition *c = check_condition(L);
  lua_settop(L, 1);
  return asy_lock_take(L, c->lock, condition_acquire);
}

/// Releases the lock.
// @function Condition:release
static int condition_release(lua_State *L) {
  check_condition(L);
  lua_getiuservalue(L, 1, LOCK_UV);
  lua_replace(L, 1);
  return asy_lock_release(L);
}

/// Whether somebody holds the lock.
// @function Condition:locked
// @treturn boolean
static int condition_locked(lua_State *L) {
  lua_pushboolean(L, check_condition(L)->lock->owner != 0);
  return 1;
}

static int condition__close(lua_State *L) { return asy_lock_leave(L, check_condition(L)->lock); }

static int condition__gc(lua_State *L) {
  Condition *self = asy_test(L, ASY_RUNTIME(L), 1, ASY_CONDITION);
  if (self) asy_waitq_destroy(L, &self->q);
  return 0;
}

static int condition__tostring(lua_State *L) {
  Condition *c = check_condition(L);
  asy_lock_push_state(L, c->lock);
  lua_pushfstring(L, "asyncio.Condition: %s, %d waiting (%p)", lua_tostring(L, -1), waitq_length(&c->q),
                  (void *)c);
  return 1;
}

/// Tasks that wait until something about shared data has changed; `asyncio.Condition` makes it.
// Who waits or notifies holds the lock.
// @type Condition
// @usage
// local condition, stock = asyncio.Condition(), 0
// local buyer = asyncio.create_task(function()
//   local _ <close> = condition:acquire()
//   condition:wait_for(function() return stock >= 3 end)
//   stock = stock - 3
// end)
// for _ = 1, 4 do
//   local _ <close> = condition:acquire()
//   stock = stock + 1
//   condition:notify_all()
// end
// asyncio.await(buyer)
// print(stock) --> 1

static const luaL_Reg methods[] = {{"wait", condition_wait},
                                   {"wait_for", condition_wait_for},
                                   {"notify", condition_notify},
                                   {"notify_all", condition_notify_all},
                                   {"acquire", condition_acquire},
                                   {"release", condition_release},
                                   {"locked", condition_locked},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__close", condition__close},
                                       {"__gc", condition__gc},
                                       {"__tostring", condition__tostring},
                                       {NULL, NULL}};

static const luaL_Reg functions[] = {{"Condition", condition_new}, {NULL, NULL}};

/* stack: module */
void asy_open_condition(lua_State *L) {
  asy_options_note(L, &OPTIONS);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_CONDITION, "asyncio.Condition", methods, metamethods);
}
