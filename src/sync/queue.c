/*
** queue.c - asyncio.Queue, LifoQueue and PriorityQueue.
**
** A put with a waiting getter gives it the item at once; a get that frees a place takes the item of the
** first waiting putter in. So getters wait only while the queue is empty, putters only while it is
** full, and nobody overtakes. The item that a waiting putter brings, or a woken getter has got, stands
** in that task's user value.
**
** Items stand in a table, nil as a light userdata: a ring (first in, first out), a stack, or a heap of
** pairs item, running number. The heap's comparisons may run Lua and fail: each change first finds its
** way, then moves.
*/
#include "sync/sync.h"

#include <limits.h>

#include "core/error.h"
#include "core/report.h"
#include "core/waitq.h"

#define ITEMS 1   /* user values */
#define COMPARE 2
#define MAX_DEPTH 64

typedef enum Order { FIFO, LIFO, PRIORITY } Order;
enum { GOT = 1, PUT, FAILED, SHUT }; /* what a task that waited is woken with */

typedef struct Queue {
  Waitq getters, putters, joiners;
  uint64_t loop_id;
  Order order;
  lua_Integer maxsize;    /* 0: none */
  lua_Integer count;
  lua_Integer head, size; /* of the ring: first item's place, from 0; places, a power of 2 */
  lua_Integer unfinished; /* items put and not yet task_done */
  lua_Integer number;     /* the last running number of the heap */
  lua_Integer version;    /* counts changes: a comparison must not make any */
  const Task *admitting;  /* whose item is being compared; it may be cancelled meanwhile */
  bool shut;
} Queue;

static const char nil_item = 0;
static const char queues_key = 0; /* registry: Queue as light userdata → its userdata, weak */

static const char NAME[] = "asyncio.Queue";

static Queue *check_queue(lua_State *L) {
  return asy_check(L, ASY_RUNTIME(L), 1, ASY_QUEUE, NAME);
}

/* Items in the table. stack: queue at 1 */

static void push_item(lua_State *L, int items, lua_Integer i) {
  if (lua_rawgeti(L, items, i) == LUA_TLIGHTUSERDATA && lua_touserdata(L, -1) == &nil_item) {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
}

/* stack: ..., item → ... */
static void set_item(lua_State *L, int items, lua_Integer i) {
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushlightuserdata(L, (void *)&nil_item);
  }
  lua_rawseti(L, items, i);
}

static void clear(lua_State *L, int items, lua_Integer i) {
  lua_pushboolean(L, 0); /* keeps the place in the table's array */
  lua_rawseti(L, items, i);
}

/* Code of the user's that runs in the middle of a change must not make another. */
static void check_unchanged(lua_State *L, const Queue *q, lua_Integer version) {
  if (q->version != version || (q->admitting && waitq_first(&q->putters) != q->admitting))
    luaL_error(L, "the queue was used while it was being changed");
}

/* The ring */

static lua_Integer ring_place(const Queue *q, lua_Integer i) {
  return ((q->head + i) & (q->size - 1)) + 1;
}

/* Makes the ring twice as large, unless a finaliser uses the queue while it gets the memory: then the
** table of items may be another, but nothing else has been done. */
static void ring_grow(lua_State *L, Queue *q, int queue, int items) {
  lua_Integer size = q->size ? 2 * q->size : 8, version = q->version;
  if (size > INT_MAX) luaL_error(L, "the queue is too large");
  lua_createtable(L, (int)size, 0);
  int bigger = lua_gettop(L);
  if (q->version != version) {
    lua_pop(L, 1);
    lua_getiuservalue(L, queue, ITEMS);
    lua_replace(L, items);
    return;
  }
  for (lua_Integer i = 0; i < size; i++) {
    if (i < q->count)
      lua_rawgeti(L, items, ring_place(q, i));
    else
      lua_pushboolean(L, 0);
    lua_rawseti(L, bigger, i + 1);
  }
  lua_pushvalue(L, bigger);
  lua_setiuservalue(L, queue, ITEMS);
  lua_replace(L, items);
  q->head = 0;
  q->size = size;
}

/* The heap */

/* A table that `<` can't compare. */
static bool plain_table(lua_State *L, int idx) {
  if (!lua_istable(L, idx)) return false;
  if (luaL_getmetafield(L, idx, "__lt") == LUA_TNIL) return true;
  lua_pop(L, 1);
  return false;
}

static bool less(lua_State *L, int queue, int a, int b) {
  if (lua_getiuservalue(L, queue, COMPARE) != LUA_TNIL) {
    lua_pushvalue(L, a);
    lua_pushvalue(L, b);
    lua_call(L, 2, 1);
    bool result = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return result;
  }
  lua_pop(L, 1);
  if (plain_table(L, a) && plain_table(L, b)) {
    lua_geti(L, a, 1);
    lua_geti(L, b, 1);
    bool result = lua_compare(L, -2, -1, LUA_OPLT);
    lua_pop(L, 2);
    return result;
  }
  return lua_compare(L, a, b, LUA_OPLT);
}

/* Whether the item at stack index a, with number na, goes before the heap's i-th. */
static bool before(lua_State *L, int queue, int items, int a, lua_Integer na, lua_Integer i) {
  push_item(L, items, 2 * i - 1);
  int b = lua_gettop(L);
  bool result = less(L, queue, a, b);
  if (!result && !less(L, queue, b, a)) {
    lua_rawgeti(L, items, 2 * i);
    result = na < lua_tointeger(L, -1);
  }
  lua_settop(L, b - 1);
  return result;
}

static void heap_copy(lua_State *L, int items, lua_Integer from, lua_Integer to) {
  for (int k = 0; k < 2; k++) {
    lua_rawgeti(L, items, 2 * from - k);
    lua_rawseti(L, items, 2 * to - k);
  }
}

/* stack: ..., item → ... */
static void heap_push(lua_State *L, Queue *q, int queue, int items) {
  lua_Integer i = q->count + 1, place = i, version = q->version, number = q->number + 1;
  int item = lua_gettop(L);
  for (; place > 1 && before(L, queue, items, item, number, place / 2); place /= 2) continue;
  check_unchanged(L, q, version);
  for (int k = 0; k < 2; k++) clear(L, items, 2 * i - k); /* may raise: before anything has moved */
  for (; i > place; i /= 2) heap_copy(L, items, i / 2, i);
  lua_pushinteger(L, number);
  lua_rawseti(L, items, 2 * place);
  set_item(L, items, 2 * place - 1);
  q->number = number;
}

/* Pushes the first item and takes it off. */
static void heap_pop(lua_State *L, Queue *q, int queue, int items) {
  lua_Integer path[MAX_DEPTH], n = q->count - 1, i = 1, version = q->version;
  int depth = 0;
  push_item(L, items, 1);
  push_item(L, items, 2 * q->count - 1);
  int last = lua_gettop(L);
  lua_rawgeti(L, items, 2 * q->count);
  lua_Integer number = lua_tointeger(L, -1);
  while (2 * i <= n) {
    lua_Integer child = 2 * i;
    if (child < n) {
      push_item(L, items, 2 * child + 1);
      lua_rawgeti(L, items, 2 * child + 2);
      if (before(L, queue, items, lua_gettop(L) - 1, lua_tointeger(L, -1), child)) child++;
      lua_pop(L, 2);
    }
    if (before(L, queue, items, last, number, child)) break;
    path[depth++] = i = child;
  }
  check_unchanged(L, q, version);
  i = 1;
  for (int k = 0; k < depth; i = path[k++]) heap_copy(L, items, path[k], i);
  heap_copy(L, items, q->count, i);
  for (int k = 0; k < 2; k++) {
    lua_pushnil(L);
    lua_rawseti(L, items, 2 * q->count - k);
  }
  lua_settop(L, last - 1);
}

/* In and out. stack: the queue's userdata at `queue` */

/* The usual cases of the two below, in fewer steps: first in, first out, with room in the ring. */

static void add_first_in(lua_State *L, Queue *q, int queue, int item) {
  lua_getiuservalue(L, queue, ITEMS);
  if (lua_isnil(L, item))
    lua_pushlightuserdata(L, (void *)&nil_item);
  else
    lua_pushvalue(L, item);
  lua_rawseti(L, -2, ring_place(q, q->count));
  lua_pop(L, 1);
  q->count++;
  q->version++;
}

static void take_first_out(lua_State *L, Queue *q, int queue) {
  lua_getiuservalue(L, queue, ITEMS);
  push_item(L, lua_gettop(L), ring_place(q, 0));
  lua_pushboolean(L, 0);
  lua_rawseti(L, -3, ring_place(q, 0));
  q->head = (q->head + 1) & (q->size - 1);
  q->count--;
  q->version++;
}

/* stack: ..., item → ... */
static void add_item(lua_State *L, Queue *q, int queue) {
  int items = lua_gettop(L);
  lua_getiuservalue(L, queue, ITEMS);
  lua_insert(L, items); /* ..., items, item */
  if (q->order == PRIORITY)
    heap_push(L, q, queue, items);
  else if (q->order == LIFO)
    set_item(L, items, q->count + 1);
  else {
    while (q->count == q->size) ring_grow(L, q, queue, items);
    set_item(L, items, ring_place(q, q->count));
  }
  lua_settop(L, items - 1);
  q->count++;
  q->version++;
}

/* Pushes the item that is next. */
static void take_item(lua_State *L, Queue *q, int queue) {
  lua_getiuservalue(L, queue, ITEMS);
  int items = lua_gettop(L);
  if (q->order == PRIORITY)
    heap_pop(L, q, queue, items);
  else {
    lua_Integer place = q->order == LIFO ? q->count : ring_place(q, 0);
    push_item(L, items, place);
    clear(L, items, place);
    if (q->order == FIFO) q->head = (q->head + 1) & (q->size - 1);
  }
  lua_replace(L, items);
  q->count--;
  q->version++;
}

/* Puts an item back where it came from. stack: ..., item → ... */
static void untake_item(lua_State *L, Queue *q, int queue) {
  if (q->order != FIFO || q->count == 0) {
    add_item(L, q, queue);
    return;
  }
  add_item(L, q, queue); /* makes the room */
  lua_getiuservalue(L, queue, ITEMS);
  int items = lua_gettop(L);
  lua_rawgeti(L, items, ring_place(q, q->count - 1));
  q->head = (q->head - 1) & (q->size - 1);
  clear(L, items, ring_place(q, q->count));
  lua_rawseti(L, items, ring_place(q, 0));
  lua_pop(L, 1);
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

/* args: queue, item */
static int add_protected(lua_State *L) {
  add_item(L, lua_touserdata(L, 1), 1);
  return 0;
}

/* A place is free: the first putter's item comes in. One that can't be compared fails its putter. */
static void admit(lua_State *L, Queue *q, int queue) {
  for (Task *t; (!q->maxsize || q->count < q->maxsize) && (t = waitq_first(&q->putters));) {
    int code = PUT;
    if (q->order == PRIORITY) {
      lua_pushcfunction(L, add_protected);
      lua_pushvalue(L, queue);
      take_from(L, t);
      q->admitting = t;
      int status = lua_pcall(L, 2, 0, 0);
      q->admitting = NULL;
      if (status != LUA_OK) {
        if (waitq_first(&q->putters) != t) { /* it was cancelled meanwhile: nothing was put */
          lua_pop(L, 1);
          continue;
        }
        give(L, t);
        code = FAILED;
      }
    } else {
      take_from(L, t);
      add_item(L, q, queue);
    }
    if (code == PUT) q->unfinished++;
    asy_wake(t, code);
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

static int got_next(lua_State *L, Task *t) {
  waitq_took(t);
  if (t->code == SHUT) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushinteger(L, lua_tointeger(L, 2) + 1);
  take_from(L, t);
  return 2;
}

/* Those who wait get what has come back. */
static void serve(lua_State *L, Queue *q, int queue) {
  for (Task *t; q->count && (t = waitq_first(&q->getters));) {
    take_item(L, q, queue);
    give(L, t);
    waitq_hand(&q->getters, t, GOT);
  }
}

/* args: queue, item */
static int untake_protected(lua_State *L) {
  untake_item(L, lua_touserdata(L, 1), 1);
  return 0;
}

/* args: queue */
static int serve_protected(lua_State *L) {
  serve(L, lua_touserdata(L, 1), 1);
  return 0;
}

/* Calls one of them with n arguments. Code of the user's may fail in it: a comparison. */
static void call_protected(lua_State *L, Loop *loop, int n) {
  if (lua_pcall(L, n, 0, 0) == LUA_OK) return;
  asy_report(L, loop, (Report){.message = "a task that was abandoned could not give back what it had",
                               .exception = -1});
  lua_pop(L, 1);
}

/* Its task will never run: the item is the queue's again, and so are those of others that won't: the last
** first, so that their order is as before. */
static void get_giveback(lua_State *L, Task *t) {
  Queue *q = t->on;
  if (!q || t->code != GOT) return;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &queues_key);
  lua_rawgetp(L, -1, q);
  int queue = lua_gettop(L);
  ListNode *end = &q->getters.handed, *node = lua_isuserdata(L, queue) ? end->prev : end;
  while (node != end) {
    Task *other = asy_container(node, Task, waiter.link);
    node = node->prev;
    if (other != t && t->loop->open && lua_status(other->co) == LUA_YIELD) continue; /* it will run */
    waitq_took(other);
    other->on = NULL;
    if (other->code != GOT) continue;
    lua_pushcfunction(L, untake_protected);
    lua_pushvalue(L, queue);
    take_from(L, other);
    call_protected(L, t->loop, 2);
  }
  if (t->loop->open && lua_isuserdata(L, queue)) {
    lua_pushcfunction(L, serve_protected);
    lua_pushvalue(L, queue);
    call_protected(L, t->loop, 1);
  }
  lua_pop(L, 2);
}

static const WaitKind GET = {"queue get", got, waitq_abort, NULL, get_giveback};
static const WaitKind NEXT = {"queue iter", got_next, waitq_abort, NULL, get_giveback};

/* An item on the top, if one is at hand. stack: queue at 1 */
static bool try_get(lua_State *L, Queue *q) {
  if (!q->count) return false;
  if (q->order == FIFO) /* leaves the items' table below the item */
    take_first_out(L, q, 1);
  else
    take_item(L, q, 1);
  if (!waitq_empty(&q->putters)) admit(L, q, 1);
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
  if (asy_spent(t)) return asy_give_way(L, t, queue_get);
  waitq_bind(L, t, &q->loop_id, "queue");
  if (try_get(L, q)) return 1;
  if (q->shut) raise_shut(L);
  return waitq_park(L, t, &q->getters, &GET, q);
}

/// Takes an item. Raises QueueEmpty when there is none.
// @function Queue:get_nowait
// @return the item
static int queue_get_nowait(lua_State *L) {
  Queue *q = check_queue(L);
  lua_settop(L, 1);
  if (try_get(L, q)) return 1;
  if (q->shut) raise_shut(L);
  return asy_error(L, ASY_QUEUE_EMPTY, "the queue is empty");
}

/* stack: queue, n */
static int queue_next(lua_State *L) {
  Queue *q = check_queue(L);
  Task *t = asy_current(L);
  lua_settop(L, 2);
  if (asy_spent(t)) return asy_give_way(L, t, queue_next);
  waitq_bind(L, t, &q->loop_id, "queue");
  if (q->count) {
    try_get(L, q);
    lua_pushinteger(L, lua_tointeger(L, 2) + 1);
    lua_insert(L, -2);
    return 2;
  }
  if (!q->shut) return waitq_park(L, t, &q->getters, &NEXT, q);
  lua_pushnil(L);
  return 1;
}

/// Iterates over items until the queue is shut down: `for n, item in queue:iter() do`.
// The running number comes first, so that nil can be an item too.
// @function Queue:iter
// @treturn function
static int queue_iter(lua_State *L) {
  check_queue(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushcclosure(L, queue_next, 1);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 0);
  return 3;
}

/* Putting */

static int put_done(lua_State *L, Task *t) {
  if (t->code == SHUT) raise_shut(L);
  if (t->code != FAILED) return 0;
  take_from(L, t);
  return lua_error(L);
}

static const WaitKind PUTTING = {"queue put", put_done, waitq_abort, NULL, NULL};

/* Puts the item at 2, if there is room. stack: queue, item */
static bool try_put(lua_State *L, Queue *q) {
  Task *t = waitq_first(&q->getters);
  if (q->shut) raise_shut(L);
  if (t) {
    lua_pushvalue(L, 2);
    give(L, t);
    waitq_hand(&q->getters, t, GOT);
  } else {
    if (q->maxsize && q->count >= q->maxsize) return false;
    if (q->order == FIFO && q->count < q->size)
      add_first_in(L, q, 1, 2);
    else {
      lua_pushvalue(L, 2);
      add_item(L, q, 1);
    }
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
  if (asy_spent(t)) return asy_give_way(L, t, queue_put);
  waitq_bind(L, t, &q->loop_id, "queue");
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

static const WaitKind JOIN = {"queue join", waitq_finish, waitq_abort, NULL, NULL};

/// Waits until `task_done` was called for every item that was put.
// @function Queue:join
static int queue_join(lua_State *L) {
  Queue *q = check_queue(L);
  Task *t = asy_current(L);
  lua_settop(L, 1);
  if (asy_spent(t)) return asy_give_way(L, t, queue_join);
  waitq_bind(L, t, &q->loop_id, "queue");
  if (!q->unfinished) return 0;
  return waitq_park(L, t, &q->joiners, &JOIN, q);
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
  bool immediate = lua_toboolean(L, 2);
  lua_settop(L, 1);
  q->shut = true;
  if (immediate) {
    lua_newtable(L);
    lua_setiuservalue(L, 1, ITEMS);
    q->unfinished -= q->count < q->unfinished ? q->count : q->unfinished;
    q->count = q->head = q->size = 0;
    q->version++;
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
  lua_pushinteger(L, check_queue(L)->count);
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
  lua_pushboolean(L, check_queue(L)->count == 0);
  return 1;
}

/// Whether it holds as many items as it may.
// @function Queue:full
// @treturn boolean
static int queue_full(lua_State *L) {
  Queue *q = check_queue(L);
  lua_pushboolean(L, q->maxsize && q->count >= q->maxsize);
  return 1;
}

static int queue__gc(lua_State *L) {
  Queue *q = asy_test(L, ASY_RUNTIME(L), 1, ASY_QUEUE);
  if (!q) return 0;
  waitq_destroy(L, &q->getters);
  waitq_destroy(L, &q->putters);
  waitq_destroy(L, &q->joiners);
  return 0;
}

static int queue__tostring(lua_State *L) {
  static const char *const NAMES[] = {"Queue", "LifoQueue", "PriorityQueue"};
  Queue *q = check_queue(L);
  if (q->maxsize > 0)
    lua_pushfstring(L, "%I of %I items", (LUAI_UACINT)q->count, (LUAI_UACINT)q->maxsize);
  else
    lua_pushfstring(L, q->count == 1 ? "%I item" : "%I items", (LUAI_UACINT)q->count);
  lua_pushfstring(L, "asyncio.%s: %s, %d getting, %d putting%s (%p)", NAMES[q->order],
                  lua_tostring(L, -1), waitq_length(&q->getters), waitq_length(&q->putters),
                  q->shut ? ", shut down" : "", (void *)q);
  return 1;
}

/* Making one. stack: [maxsize or options] */

static int new_queue(lua_State *L, Order order) {
  int isint = 1;
  lua_Integer maxsize = 0;
  bool options = lua_istable(L, 1);
  lua_settop(L, 1);
  waitq_option(L, 1, "maxsize");
  if (!lua_isnil(L, -1)) maxsize = lua_tointegerx(L, -1, &isint);
  luaL_argcheck(L, isint, 1, "a number of items expected");
  Queue *q = lua_newuserdatauv(L, sizeof *q, COMPARE);
  *q = (Queue){.order = order, .maxsize = maxsize > 0 ? maxsize : 0};
  waitq_init(&q->getters);
  waitq_init(&q->putters);
  waitq_init(&q->joiners);
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_QUEUE);
  lua_setmetatable(L, -2);
  lua_newtable(L);
  lua_setiuservalue(L, -2, ITEMS);
  if (order == PRIORITY && options) {
    if (lua_getfield(L, 1, "compare") != LUA_TNIL && !lua_isfunction(L, -1))
      luaL_argerror(L, 1, "'compare' is a function");
    lua_setiuservalue(L, -2, COMPARE);
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
// @function LifoQueue
// @tparam[opt=0] integer maxsize 0: any number of items
// @treturn Queue
static int queue_new_lifo(lua_State *L) { return new_queue(L, LIFO); }

/// A queue whose least item comes out first; of equal ones, the one put first.
// Items are compared with `<`, tables without `__lt` by their first element.
// @function PriorityQueue
// @param[opt] maxsize or a table: `maxsize`; `compare(a, b)`: whether a goes before b
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
    {"__gc", queue__gc}, {"__tostring", queue__tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"Queue", queue_new},
                                     {"LifoQueue", queue_new_lifo},
                                     {"PriorityQueue", queue_new_priority},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_queue(lua_State *L) {
  asy_newweak(L, "v");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &queues_key);
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_QUEUE, "asyncio.Queue", methods, metamethods);
}
