/*
** event.c - asyncio.Event: a flag that tasks wait for.
*/
#include "open.h"

#include "core/error.h"
#include "core/options.h"
#include "core/waitq.h"

typedef struct Event {
  Waitq q;
  uint64_t loop_id;
  bool set;
} Event;

static Event *check_event(lua_State *L) {
  return asy_check(L, ASY_RUNTIME(L), 1, ASY_EVENT, "asyncio.Event");
}

static int waited(lua_State *L, Task *t) {
  (void)t;
  lua_pushboolean(L, 1);
  return 1;
}

static const WaitKind WAIT = {.name = "event", .finish = waited, .abort = asy_waitq_abort,
                              .may_come = task_waits_for_us, .woken_by = task_woken_by_on};

static const Options OPTIONS = {.call = "Event", .arg = 1};

/// A flag that tasks wait for.
// @function Event
// @treturn Event
static int event_new(lua_State *L) {
  asy_options_check(L, 1, &OPTIONS);
  Event *e = lua_newuserdatauv(L, sizeof *e, 0);
  waitq_init(&e->q);
  e->loop_id = 0;
  e->set = false;
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_EVENT);
  lua_setmetatable(L, -2);
  return 1;
}

/// Waits until the flag is set.
// @function Event:wait
// @return true
static int event_wait(lua_State *L) {
  Event *e = check_event(L);
  Task *t = asy_current(L);
  lua_settop(L, 1);
  if (task_spent(t)) return asy_give_way(L, t, event_wait);
  asy_waitq_bind(L, t, &e->loop_id, "event");
  if (!e->set) return asy_waitq_park(L, t, &e->q, &WAIT, e);
  lua_pushboolean(L, 1);
  return 1;
}

/// Sets the flag: all that wait go on.
// @function Event:set
static int event_set(lua_State *L) {
  Event *e = check_event(L);
  e->set = true;
  waitq_wake_all(&e->q, 0);
  return 0;
}

/// Takes the flag back.
// @function Event:clear
static int event_clear(lua_State *L) {
  check_event(L)->set = false;
  return 0;
}

/// Whether the flag is set.
// @function Event:is_set
// @treturn boolean
static int event_is_set(lua_State *L) {
  lua_pushboolean(L, check_event(L)->set);
  return 1;
}

static int event__gc(lua_State *L) {
  Event *self = asy_test(L, ASY_RUNTIME(L), 1, ASY_EVENT);
  if (self) asy_waitq_destroy(L, &self->q);
  return 0;
}

static int event__tostring(lua_State *L) {
  Event *e = check_event(L);
  lua_pushfstring(L, "asyncio.Event: %s, %d waiting (%p)", e->set ? "set" : "not set",
                  waitq_length(&e->q), (void *)e);
  return 1;
}

/// A flag that tasks wait for; `asyncio.Event` makes it.
// @type Event
// @usage
// local ready = asyncio.Event()
// local task = asyncio.create_task(function()
//   ready:wait()
//   return "off we go"
// end)
// ready:set() -- wakes all that wait
// print(asyncio.await(task)) --> off we go

static const luaL_Reg methods[] = {{"wait", event_wait},
                                   {"set", event_set},
                                   {"clear", event_clear},
                                   {"is_set", event_is_set},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__gc", event__gc}, {"__tostring", event__tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"Event", event_new}, {NULL, NULL}};

/* stack: module */
void asy_open_event(lua_State *L) {
  asy_options_note(L, &OPTIONS);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_EVENT, "asyncio.Event", methods, metamethods);
}
