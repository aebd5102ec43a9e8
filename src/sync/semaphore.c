/*
** semaphore.c - asyncio.Semaphore and BoundedSemaphore: so many at a time.
**
** While somebody waits the value is 0: a release goes to the first in the line.
*/
#include "open.h"

#include "core/error.h"
#include "core/options.h"
#include "core/waitq.h"

typedef struct Semaphore {
  Waitq q;
  uint64_t loop_id;
  lua_Integer value;
  lua_Integer bound; /* releases above it raise */
  bool bounded;      /* else bound is what the value can count to */
} Semaphore;

static Semaphore *check_semaphore(lua_State *L) {
  return asy_check(L, ASY_RUNTIME(L), 1, ASY_SEMAPHORE, "asyncio.Semaphore");
}

static void pass(Semaphore *s) {
  Task *next = waitq_first(&s->q);
  asy_assert(!next || s->value == 0);
  if (next)
    waitq_hand(&s->q, next, 0);
  else
    s->value++;
}

static int acquired(lua_State *L, Task *t) {
  waitq_took(t);
  lua_settop(L, 1);
  return 1;
}

static void giveback(lua_State *L, Task *t) {
  (void)L;
  if (!t->on) return;
  waitq_took(t);
  pass(t->on);
}

static const WaitKind ACQUIRE = {.name = "semaphore", .finish = acquired, .abort = asy_waitq_abort,
                                 .giveback = giveback, .may_come = task_waits_for_us, .woken_by = task_woken_by_on};

static const OptSpec SPECS[] = {{.key = "value", .kind = OPT_INTEGER, .least = 0, .most = LUA_MAXINTEGER}};
static const Options OPTIONS = {"Semaphore", 1, OPT_CONSTRUCTOR, OPT_SPECS(SPECS)};
static const Options BOUNDED_OPTIONS = {"BoundedSemaphore", 1, OPT_CONSTRUCTOR, OPT_SPECS(SPECS)};

static int new_semaphore(lua_State *L, bool bounded) {
  asy_options_first(L, 1, bounded ? &BOUNDED_OPTIONS : &OPTIONS);
  lua_Integer value = lua_isnil(L, -1) ? 1 : lua_tointeger(L, -1);
  Semaphore *s = lua_newuserdatauv(L, sizeof *s, 0);
  waitq_init(&s->q);
  s->loop_id = 0;
  s->value = value;
  s->bound = bounded ? value : LUA_MAXINTEGER;
  s->bounded = bounded;
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_SEMAPHORE);
  lua_setmetatable(L, -2);
  return 1;
}

/// Lets so many tasks in at a time. Also `Semaphore{value=}`.
// @function Semaphore
// @tparam[opt=1] integer value
// @treturn Semaphore
static int semaphore_new(lua_State *L) { return new_semaphore(L, false); }

/// A semaphore whose value can't be released above the first one. Also `BoundedSemaphore{value=}`.
// @function BoundedSemaphore
// @tparam[opt=1] integer value
// @treturn Semaphore
static int semaphore_new_bounded(lua_State *L) { return new_semaphore(L, true); }

/// Waits until the value is above 0, and takes one: `local _ <close> = semaphore:acquire()`.
// First come, first served.
// @function Semaphore:acquire
// @treturn Semaphore itself; leaving the block releases it
static int semaphore_acquire(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Semaphore *s = check_semaphore(L);
  Task *t = asy_current_in(L, rt);
  lua_settop(L, 1);
  if (task_spent(t)) return asy_give_way(L, t, semaphore_acquire);
  asy_waitq_bind(L, t, &s->loop_id, "semaphore");
  if (s->value == 0) return asy_waitq_park(L, t, &s->q, &ACQUIRE, s);
  s->value--;
  return 1;
}

/// Gives one back; the first that waits has it then.
// A BoundedSemaphore raises InvalidStateError above its first value.
// @function Semaphore:release
static int semaphore_release(lua_State *L) {
  Semaphore *s = check_semaphore(L);
  if (s->value >= s->bound)
    return asy_error(L, ASY_INVALID_STATE, "the semaphore was released too often");
  pass(s);
  return 0;
}

/// Whether acquiring would wait.
// @function Semaphore:locked
// @treturn boolean
static int semaphore_locked(lua_State *L) {
  lua_pushboolean(L, check_semaphore(L)->value == 0);
  return 1;
}

static int semaphore__gc(lua_State *L) {
  Semaphore *self = asy_test(L, ASY_RUNTIME(L), 1, ASY_SEMAPHORE);
  if (self) asy_waitq_destroy(L, &self->q);
  return 0;
}

static const char *name_of(const Semaphore *s) { return s->bounded ? "BoundedSemaphore" : "Semaphore"; }

/* For asyncio.type. */
static int semaphore__kind(lua_State *L) {
  lua_pushstring(L, name_of(check_semaphore(L)));
  return 1;
}

static int semaphore__tostring(lua_State *L) {
  Semaphore *s = check_semaphore(L);
  lua_pushfstring(L, "asyncio.%s: value %I, %d waiting (%p)", name_of(s),
                  (LUAI_UACINT)s->value, waitq_length(&s->q), (void *)s);
  return 1;
}

/// So many tasks at a time; `asyncio.Semaphore` and `asyncio.BoundedSemaphore` make it.
// @type Semaphore
// @usage
// local two = asyncio.Semaphore(2)
// local function download(name)
//   local _ <close> = two:acquire() -- until the function ends
//   asyncio.sleep(1)
//   return name
// end
// local loop = asyncio.get_running_loop()
// local began, tasks = loop:time(), {}
// for i = 1, 6 do tasks[i] = asyncio.create_task(download, i) end
// asyncio.gather(tasks)
// print(math.floor(loop:time() - began)) --> 3

static const luaL_Reg methods[] = {{"acquire", semaphore_acquire},
                                   {"release", semaphore_release},
                                   {"locked", semaphore_locked},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__close", semaphore_release},
                                       {"__gc", semaphore__gc},
                                       {"__kind", semaphore__kind},
                                       {"__tostring", semaphore__tostring},
                                       {NULL, NULL}};

static const luaL_Reg functions[] = {{"Semaphore", semaphore_new},
                                     {"BoundedSemaphore", semaphore_new_bounded},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_semaphore(lua_State *L) {
  asy_options_note(L, &OPTIONS);
  asy_options_note(L, &BOUNDED_OPTIONS);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_SEMAPHORE, "asyncio.Semaphore", methods, metamethods);
}
