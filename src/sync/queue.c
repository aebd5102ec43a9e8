/*
** queue.c - asyncio.Queue, LifoQueue and PriorityQueue.
**
** A put with a waiting getter gives it the item at once; a get that frees a place takes the item of the
** first waiting putter in. So getters wait only while the queue is empty, putters only while it is
** full, and nobody overtakes. The item that a waiting putter brings, or a woken getter has got, stands
** in that task's user value.
*/
#include "open.h"

#include "core/error.h"
#include "core/options.h"
#include "core/report.h"
#include "core/waitq.h"
#include "sync/items.h"

enum { GOT = 1, PUT, FAILED, SHUT }; /* what a task that waited is woken with */

typedef struct Queue {
  Waitq getters, putters, joiners;
  uint64_t loop_id;
  Items items;
  lua_Integer maxsize;    /* 0: none */
  lua_Integer unfinished; /* items put and not yet task_done */
  bool shut;
} Queue;

static const char queues_key = 0; /* registry: Queue as light userdata → its userdata, weak */

static const char NAME[] = "asyncio.Queue";

static Queue *check_queue(lua_State *L) {
  return asy_check(L, ASY_RUNTIME(L), 1, ASY_QUEUE, NAME);
}

/* Handing over. What a task brings or gets stands in its user value. */

/* stack: ..., value → ... */
static void give(lua_State *L, Task *t) {
  asy_task_push(L, t);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, FUTURE_UV_VALUE);
  lua_pop(L, 1);
}

/* Pushes it, and takes it from the task. */
static void take_from(lua_State *L, Task *t) {
  asy_task_push(L, t);
  lua_getiuservalue(L, -1, FUTURE_UV_VALUE);
  lua_pushnil(L);
  lua_setiuservalue(L, -3, FUTURE_UV_VALUE);
  lua_replace(L, -2);
}

static bool is_full(const Queue *q) { return q->maxsize && q->items.count >= q->maxsize; }

/* A place is free: the first putter's item comes in. One that can't be compared fails its putter; unless the
** comparison has seen to that one itself: has cancelled it, or used the queue, so that the item came in. */
static void admit(lua_State *L, Queue *q, int queue) {
  int top = lua_gettop(L);
  for (Task *t; !is_full(q) && (t = waitq_first(&q->putters)); lua_settop(L, top)) {
    asy_task_push(L, t);
    lua_getiuservalue(L, -1, FUTURE_UV_VALUE);
    bool done = asy_items_try_add(L, &q->items, queue, &t->waiter.link);
    if (!done && waitq_first(&q->putters) != t) continue;
    if (done) {
      q->unfinished++;
      lua_pushnil(L);
    } /* else the error is on the top */
    lua_setiuservalue(L, top + 1, FUTURE_UV_VALUE);
    task_wake(t, done ? PUT : FAILED);
  }
}

static void raise_shut(lua_State *L) { asy_error(L, ASY_QUEUE_SHUTDOWN, "the queue has been shut down"); }

/* Waiting to get */

static int got(lua_State *L, Task *t) {
  waitq_took(t);
  if (t->code == SHUT) raise_shut(L);
  take_from(L, t);
  return 1;
}

/* Pushes the running number of an item that an iterator gives. upvalues: queue, the last one */
static void push_number(lua_State *L) {
  lua_Integer *last = lua_touserdata(L, lua_upvalueindex(3));
  lua_pushinteger(L, ++*last);
}

static int got_next(lua_State *L, Task *t) {
  waitq_took(t);
  if (t->code == SHUT) {
    lua_pushnil(L);
    return 1;
  }
  push_number(L);
  take_from(L, t);
  return 2;
}

/* stack: ..., error → ...; a comparison has failed, and what a task had that will never run is lost */
static void report_lost(lua_State *L, Loop *loop) {
  asy_report(L, loop, (Report){.message = "a task that was abandoned could not give back what it had",
                               .exception = -1});
  lua_pop(L, 1);
}

/* Those who wait get what has come back. A comparison may have cancelled them: then it stays in the queue. */
static void serve(lua_State *L, Loop *loop, Queue *q, int queue) {
  bool ok = true;
  while (ok && q->items.count && !waitq_empty(&q->getters)) {
    ok = asy_items_try_take(L, &q->items, queue);
    Task *t = waitq_first(&q->getters);
    if (ok && t) {
      give(L, t);
      waitq_hand(&q->getters, t, GOT);
    } else if (ok)
      ok = asy_items_try_untake(L, &q->items, queue);
  }
  if (!ok) report_lost(L, loop);
}

/* Pushes the queue's userdata; nil when it is being collected. */
static void push_self(lua_State *L, const Queue *q) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &queues_key);
  lua_rawgetp(L, -1, q);
  lua_replace(L, -2);
}

/* The last of those that own an item and will never run, as t won't; NULL: there is none. */
static Task *last_abandoned(const Queue *q, const Task *t) {
  for (ListNode *node = q->getters.handed.prev; node != &q->getters.handed; node = node->prev) {
    Task *other = asy_container(node, Task, waiter.link);
    if (other == t || !t->loop->open || lua_status(other->co) != LUA_YIELD) return other;
  }
  return NULL;
}

/* Its task will never run: the item is the queue's again, and so are those of others that won't: the last
** first, so that their order is as before. Each time anew, since a comparison may change who there is. */
static void get_giveback(lua_State *L, Task *t) {
  Queue *q = t->on;
  if (!q || t->code != GOT) return;
  push_self(L, q);
  int queue = lua_gettop(L);
  bool there = lua_isuserdata(L, queue);
  for (Task *other; there && (other = last_abandoned(q, t));) {
    waitq_took(other);
    other->on = NULL;
    take_from(L, other);
    if (!asy_items_try_untake(L, &q->items, queue)) report_lost(L, t->loop);
  }
  if (there && t->loop->open) serve(L, t->loop, q, queue);
  lua_pop(L, 1);
}

static const WaitKind GET = {.name = "queue get", .finish = got, .abort = asy_waitq_abort,
                             .giveback = get_giveback, .may_come = task_waits_for_us, .woken_by = task_woken_by_on};
static const WaitKind NEXT = {.name = "queue iter", .finish = got_next, .abort = asy_waitq_abort,
                              .giveback = get_giveback, .may_come = task_waits_for_us, .woken_by = task_woken_by_on};

/* An item on the top, if one is at hand. queue: where the queue is */
static bool try_get(lua_State *L, Queue *q, int queue) {
  if (!q->items.count) return false;
  asy_items_take(L, &q->items, queue);
  if (!waitq_empty(&q->putters)) admit(L, q, queue);
  return true;
}

/// Waits for an item and takes it. Raises QueueShutDown when the queue is shut down and empty.
// @function Queue:get
// @return the item
static int queue_get(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  asy_nargs(L, 1);
  Queue *q = asy_self(L, rt, ASY_QUEUE, NAME);
  Task *t = asy_current_in(L, rt);
  if (task_spent(t)) return asy_give_way(L, t, queue_get);
  asy_waitq_bind(L, t, &q->loop_id, "queue");
  if (try_get(L, q, 1)) return 1;
  if (q->shut) raise_shut(L);
  return asy_waitq_park(L, t, &q->getters, &GET, q);
}

/// Takes an item. Raises QueueEmpty when there is none.
// @function Queue:get_nowait
// @return the item
static int queue_get_nowait(lua_State *L) {
  Queue *q = check_queue(L);
  lua_settop(L, 1);
  if (try_get(L, q, 1)) return 1;
  if (q->shut) raise_shut(L);
  return asy_error(L, ASY_QUEUE_EMPTY, "the queue is empty");
}

/* The iterator. upvalues: queue, the last number */
static int queue_next(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Queue *q = asy_test(L, rt, lua_upvalueindex(2), ASY_QUEUE);
  if (!q) asy_error(L, ASY_ERROR, "the queue has been collected");
  Task *t = asy_current_in(L, rt);
  lua_settop(L, 0);
  if (task_spent(t)) return asy_give_way(L, t, queue_next);
  asy_waitq_bind(L, t, &q->loop_id, "queue");
  if (try_get(L, q, lua_upvalueindex(2))) {
    push_number(L);
    lua_insert(L, -2);
    return 2;
  }
  if (!q->shut) return asy_waitq_park(L, t, &q->getters, &NEXT, q);
  lua_pushnil(L);
  return 1;
}

/// Iterates over items until the queue is shut down: `for n, item in queue:iter() do`.
// The running number comes first, so that nil can be an item too. Each call of the function takes the next item;
// tasks may share it.
// @function Queue:iter
// @treturn function
static int queue_iter(lua_State *L) {
  check_queue(L);
  lua_settop(L, 1);
  *(lua_Integer *)lua_newuserdatauv(L, sizeof(lua_Integer), 0) = 0;
  asy_pushclosure(L, queue_next, 2);
  return 1;
}

/* Putting */

static int put_done(lua_State *L, Task *t) {
  if (t->code == SHUT) raise_shut(L);
  if (t->code != FAILED) return 0;
  take_from(L, t);
  return lua_error(L);
}

static const WaitKind PUTTING = {.name = "queue put", .finish = put_done, .abort = asy_waitq_abort,
                                 .may_come = task_waits_for_us, .woken_by = task_woken_by_on};

/* Puts the item at 2, if there is room. stack: queue, item */
static bool try_put(lua_State *L, Queue *q) {
  Task *t = waitq_first(&q->getters);
  if (q->shut) raise_shut(L);
  if (t) {
    lua_pushvalue(L, 2);
    give(L, t);
    waitq_hand(&q->getters, t, GOT);
  } else {
    if (is_full(q)) return false;
    asy_items_add(L, &q->items, 1, 2);
  }
  q->unfinished++;
  return true;
}

/// Puts an item in, waiting for a free place. Raises QueueShutDown after a shutdown.
// @function Queue:put
// @param item any value, nil included
static int queue_put(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  asy_nargs(L, 2);
  Queue *q = asy_self(L, rt, ASY_QUEUE, NAME);
  Task *t = asy_current_in(L, rt);
  if (task_spent(t)) return asy_give_way(L, t, queue_put);
  asy_waitq_bind(L, t, &q->loop_id, "queue");
  if (try_put(L, q)) return 0;
  list_append(&q->putters.line, &t->waiter.link);
  return asy_park_on(L, t, &PUTTING, q, 2);
}

/// Puts an item in. Raises QueueFull when there is no free place.
// @function Queue:put_nowait
// @param item any value, nil included
static int queue_put_nowait(lua_State *L) {
  Queue *q = check_queue(L);
  lua_settop(L, 2);
  if (try_put(L, q)) return 0;
  return asy_error(L, ASY_QUEUE_FULL, "the queue is full (%I items)", (LUAI_UACINT)q->maxsize);
}

/* Joining */

static const WaitKind JOIN = {.name = "queue join", .finish = asy_waitq_finish, .abort = asy_waitq_abort,
                              .may_come = task_waits_for_us, .woken_by = task_woken_by_on};

/// Waits until `task_done` was called for every item that was put.
// @function Queue:join
static int queue_join(lua_State *L) {
  Queue *q = check_queue(L);
  Task *t = asy_current(L);
  lua_settop(L, 1);
  if (task_spent(t)) return asy_give_way(L, t, queue_join);
  asy_waitq_bind(L, t, &q->loop_id, "queue");
  if (!q->unfinished) return 0;
  return asy_waitq_park(L, t, &q->joiners, &JOIN, q);
}

/// Tells that an item that was got has been dealt with.
// Raises InvalidStateError when it is called more often than items were put.
// @function Queue:task_done
static int queue_task_done(lua_State *L) {
  Queue *q = check_queue(L);
  if (!q->unfinished)
    return asy_error(L, ASY_INVALID_STATE, "task_done was called more often than items were put");
  if (--q->unfinished == 0) waitq_wake_all(&q->joiners, 0);
  return 0;
}

/// Ends the queue: putting raises QueueShutDown from now on, getting does when it is empty.
// @function Queue:shutdown
// @tparam[opt=false] boolean immediate throw the items away, and let `join` go on
static int queue_shutdown(lua_State *L) {
  Queue *q = check_queue(L);
  bool immediate = asy_checkboolean(L, 2);
  lua_settop(L, 1);
  q->shut = true;
  if (immediate) {
    lua_Integer dropped = asy_items_clear(L, &q->items, 1);
    q->unfinished -= dropped < q->unfinished ? dropped : q->unfinished;
    if (!q->unfinished) waitq_wake_all(&q->joiners, 0);
  }
  waitq_wake_all(&q->putters, SHUT);
  waitq_wake_all(&q->getters, SHUT);
  return 0;
}

/* Looking */

/// How many items it holds.
// @function Queue:qsize
// @treturn integer
static int queue_qsize(lua_State *L) {
  lua_pushinteger(L, check_queue(L)->items.count);
  return 1;
}

/// How many it may hold; 0: any number.
// @function Queue:maxsize
// @treturn integer
static int queue_maxsize(lua_State *L) {
  lua_pushinteger(L, check_queue(L)->maxsize);
  return 1;
}

/// Whether it holds no item.
// @function Queue:empty
// @treturn boolean
static int queue_empty(lua_State *L) {
  lua_pushboolean(L, check_queue(L)->items.count == 0);
  return 1;
}

/// Whether it holds as many items as it may.
// @function Queue:full
// @treturn boolean
static int queue_full(lua_State *L) {
  Queue *q = check_queue(L);
  lua_pushboolean(L, is_full(q));
  return 1;
}

static int queue__gc(lua_State *L) {
  Queue *q = asy_test(L, ASY_RUNTIME(L), 1, ASY_QUEUE);
  if (!q) return 0;
  asy_waitq_destroy(L, &q->getters);
  asy_waitq_destroy(L, &q->putters);
  asy_waitq_destroy(L, &q->joiners);
  return 0;
}

static const char *const NAMES[] = {"Queue", "LifoQueue", "PriorityQueue"};

/* For asyncio.type. */
static int queue__kind(lua_State *L) {
  lua_pushstring(L, NAMES[check_queue(L)->items.order]);
  return 1;
}

static int queue__tostring(lua_State *L) {
  Queue *q = check_queue(L);
  if (q->maxsize > 0)
    lua_pushfstring(L, "%I of %I items", (LUAI_UACINT)q->items.count, (LUAI_UACINT)q->maxsize);
  else
    lua_pushfstring(L, q->items.count == 1 ? "%I item" : "%I items", (LUAI_UACINT)q->items.count);
  lua_pushfstring(L, "asyncio.%s: %s, %d getting, %d putting%s (%p)", NAMES[q->items.order],
                  lua_tostring(L, -1), waitq_length(&q->getters), waitq_length(&q->putters),
                  q->shut ? ", shut down" : "", (void *)q);
  return 1;
}

/* Making one. stack: [maxsize or options] */

#define MAXSIZE {.key = "maxsize", .kind = OPT_INTEGER, .least = LUA_MININTEGER, .most = LUA_MAXINTEGER}

static const OptSpec SPECS[] = {MAXSIZE, {.key = "compare", .kind = OPT_CALLABLE}};
static const Options OPTIONS[] = {
    [FIFO] = {"Queue", 1, OPT_CONSTRUCTOR, SPECS, 1, NULL},
    [LIFO] = {"LifoQueue", 1, OPT_CONSTRUCTOR, SPECS, 1, NULL},
    [PRIORITY] = {"PriorityQueue", 1, OPT_CONSTRUCTOR, SPECS, 2, NULL},
};

static int new_queue(lua_State *L, ItemsOrder order) {
  bool options = lua_istable(L, 1);
  lua_settop(L, 1);
  asy_options_first(L, 1, &OPTIONS[order]);
  lua_Integer maxsize = lua_tointeger(L, -1); /* 0 for nil */
  Queue *q = lua_newuserdatauv(L, sizeof *q, ITEMS_UV_COMPARE);
  *q = (Queue){.items = {.order = order}, .maxsize = maxsize > 0 ? maxsize : 0};
  waitq_init(&q->getters);
  waitq_init(&q->putters);
  waitq_init(&q->joiners);
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_QUEUE);
  lua_setmetatable(L, -2);
  asy_items_clear(L, &q->items, lua_gettop(L));
  if (order == PRIORITY && options) {
    lua_getfield(L, 1, "compare");
    lua_setiuservalue(L, -2, ITEMS_UV_COMPARE);
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &queues_key);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, q);
  lua_pop(L, 1);
  return 1;
}

/// Hands items from task to task, first in, first out. Also `Queue{maxsize=}`.
// @function Queue
// @tparam[opt=0] integer maxsize 0: any number of items
// @treturn Queue
static int queue_new(lua_State *L) { return new_queue(L, FIFO); }

/// A queue whose last item comes out first.
// Also `LifoQueue{maxsize=}`.
// @function LifoQueue
// @tparam[opt=0] integer maxsize 0: any number of items
// @treturn Queue
static int queue_new_lifo(lua_State *L) { return new_queue(L, LIFO); }

/// A queue whose least item comes out first; of equal ones, the one put first.
// Items are compared with `<`, tables without `__lt` by their first element.
// @function PriorityQueue
// @param[opt] maxsize or a table: `maxsize` (0); `compare(a, b)`: whether a goes before b
// @treturn Queue
static int queue_new_priority(lua_State *L) { return new_queue(L, PRIORITY); }

/// Values on their way from task to task; `asyncio.Queue`, `asyncio.LifoQueue` and
// `asyncio.PriorityQueue` make it. Any value is an item, nil included.
// @type Queue
// @usage
// local queue = asyncio.Queue(10)
// local worker = asyncio.create_task(function()
//   local sum = 0
//   for _, item in queue:iter() do -- until the queue is shut down and empty
//     sum = sum + item
//   end
//   return sum
// end)
// for i = 1, 100 do queue:put(i) end -- waits while the queue is full
// queue:shutdown()
// print(asyncio.await(worker)) --> 5050
// @usage
// local urgent = asyncio.PriorityQueue { compare = function(a, b) return a.level > b.level end }
// urgent:put { level = 1, text = "later" }
// urgent:put { level = 9, text = "now" }
// print(urgent:get().text) --> now

static const luaL_Reg methods[] = {{"put", queue_put},
                                   {"get", queue_get},
                                   {"put_nowait", queue_put_nowait},
                                   {"get_nowait", queue_get_nowait},
                                   {"iter", queue_iter},
                                   {"join", queue_join},
                                   {"task_done", queue_task_done},
                                   {"shutdown", queue_shutdown},
                                   {"qsize", queue_qsize},
                                   {"maxsize", queue_maxsize},
                                   {"empty", queue_empty},
                                   {"full", queue_full},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__gc", queue__gc}, {"__kind", queue__kind}, {"__tostring", queue__tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"Queue", queue_new},
                                     {"LifoQueue", queue_new_lifo},
                                     {"PriorityQueue", queue_new_priority},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_queue(lua_State *L) {
  for (ItemsOrder order = FIFO; order <= PRIORITY; order++) asy_options_note(L, &OPTIONS[order]);
  asy_newweak(L, "v");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &queues_key);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_QUEUE, "asyncio.Queue", methods, metamethods);
}
