/*
** barrier.c - asyncio.Barrier: tasks that wait for each other.
**
** When the last party comes all go on, and the barrier is new: nobody who comes later can get mixed
** up with them, so there is no draining.
*/
#include "open.h"

#include "core/error.h"
#include "core/options.h"
#include "core/waitq.h"

#define BROKEN (-1) /* wake codes: that, or the index */

typedef struct Barrier {
  Waitq q;
  uint64_t loop_id;
  int parties, waiting;
  bool broken;
} Barrier;

static Barrier *check_barrier(lua_State *L) {
  return asy_check(L, ASY_RUNTIME(L), 1, ASY_BARRIER, "asyncio.Barrier");
}

static int passed(lua_State *L, Task *t) {
  if (t->code == BROKEN) return asy_error(L, ASY_BROKEN_BARRIER, "the barrier was broken");
  lua_pushinteger(L, t->code);
  return 1;
}

static Abort leave(lua_State *L, Task *t) {
  Barrier *b = t->on;
  if (b) b->waiting--;
  return asy_waitq_abort(L, t);
}

static const WaitKind WAIT = {.name = "barrier", .finish = passed, .abort = leave, .may_come = task_waits_for_us,
                              .woken_by = task_woken_by_on};

static const OptSpec SPECS[] = {
    {.key = "parties", .kind = OPT_INTEGER, .required = true, .least = 1, .most = INT32_MAX}};
static const Options OPTIONS = {"Barrier", 1, OPT_CONSTRUCTOR, OPT_SPECS(SPECS)};

/// Lets tasks go on when so many have come. Also `Barrier{parties=}`.
// @function Barrier
// @tparam integer parties
// @treturn Barrier
static int barrier_new(lua_State *L) {
  asy_options_first(L, 1, &OPTIONS);
  lua_Integer parties = lua_tointeger(L, -1);
  Barrier *b = lua_newuserdatauv(L, sizeof *b, 0);
  waitq_init(&b->q);
  b->loop_id = 0;
  b->parties = (int)parties;
  b->waiting = 0;
  b->broken = false;
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_BARRIER);
  lua_setmetatable(L, -2);
  return 1;
}

/* The last has come: the others go on, with the order of their coming. */
static void open_gate(Barrier *b) {
  int index = 0;
  b->waiting = 0;
  for (Task *t; (t = waitq_first(&b->q));) task_wake(t, ++index);
}

/// Waits for the others. Raises BrokenBarrierError when the barrier is broken or reset meanwhile.
// @function Barrier:wait
// @treturn integer the order of its coming, from 1
static int barrier_wait(lua_State *L) {
  Barrier *b = check_barrier(L);
  Task *t = asy_current(L);
  lua_settop(L, 1);
  if (task_spent(t)) return asy_give_way(L, t, barrier_wait);
  asy_waitq_bind(L, t, &b->loop_id, "barrier");
  if (b->broken) return asy_error(L, ASY_BROKEN_BARRIER, "the barrier is broken");
  if (b->waiting + 1 < b->parties) {
    b->waiting++;
    return asy_waitq_park(L, t, &b->q, &WAIT, b);
  }
  open_gate(b);
  lua_pushinteger(L, b->parties);
  return 1;
}

/// Breaks the barrier: all that wait, and all that come, get a BrokenBarrierError.
// @function Barrier:abort
static int barrier_abort(lua_State *L) {
  Barrier *b = check_barrier(L);
  b->broken = true;
  b->waiting = 0;
  waitq_wake_all(&b->q, BROKEN);
  return 0;
}

/// Makes the barrier new: all that wait get a BrokenBarrierError.
// @function Barrier:reset
static int barrier_reset(lua_State *L) {
  barrier_abort(L);
  check_barrier(L)->broken = false;
  return 0;
}

/// How many have to come.
// @function Barrier:parties
// @treturn integer
static int barrier_parties(lua_State *L) {
  lua_pushinteger(L, check_barrier(L)->parties);
  return 1;
}

/// How many wait.
// @function Barrier:n_waiting
// @treturn integer
static int barrier_n_waiting(lua_State *L) {
  lua_pushinteger(L, check_barrier(L)->waiting);
  return 1;
}

/// Whether it is broken.
// @function Barrier:broken
// @treturn boolean
static int barrier_broken(lua_State *L) {
  lua_pushboolean(L, check_barrier(L)->broken);
  return 1;
}

static int barrier__gc(lua_State *L) {
  Barrier *self = asy_test(L, ASY_RUNTIME(L), 1, ASY_BARRIER);
  if (self) asy_waitq_destroy(L, &self->q);
  return 0;
}

static int barrier__tostring(lua_State *L) {
  Barrier *b = check_barrier(L);
  lua_pushfstring(L, "asyncio.Barrier: %d of %d waiting%s (%p)", b->waiting, b->parties,
                  b->broken ? ", broken" : "", (void *)b);
  return 1;
}

/// A place where tasks wait until enough of them have come; `asyncio.Barrier` makes it.
// @type Barrier
// @usage
// local barrier = asyncio.Barrier(3)
// local function runner(name)
//   asyncio.sleep(#name) -- each gets ready in its own time
//   barrier:wait() -- and all start together
//   return asyncio.get_running_loop():time()
// end
// local tasks = {}
// for i, name in ipairs { "ann", "eve", "carol" } do tasks[i] = asyncio.create_task(runner, name) end
// local ann, eve, carol = asyncio.gather(table.unpack(tasks))
// print(ann == eve, eve == carol) --> true  true

static const luaL_Reg methods[] = {{"wait", barrier_wait},
                                   {"abort", barrier_abort},
                                   {"reset", barrier_reset},
                                   {"parties", barrier_parties},
                                   {"n_waiting", barrier_n_waiting},
                                   {"broken", barrier_broken},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__gc", barrier__gc}, {"__tostring", barrier__tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"Barrier", barrier_new}, {NULL, NULL}};

/* stack: module */
void asy_open_barrier(lua_State *L) {
  asy_options_note(L, &OPTIONS);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_BARRIER, "asyncio.Barrier", methods, metamethods);
}
