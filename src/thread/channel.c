/*
** channel.c - asyncio.Channel: hands values from one Lua state to another; tasks wait in their loops,
** others block their thread.
**
** A put with a waiting getter gives it the item at once, a get that frees a place lets the first waiting
** putter's item in, as in queue.c. Who waits is a Wait in a line of the channel. It leaves the line under
** the channel's lock, and with that is decided: before, a cancellation just takes it out; after, it owns
** what it got, and its task or thread has been told.
*/
#include "open.h"

#include "base/alloc.h"
#include "base/fork.h"
#include "base/mutex.h"
#include "core/error.h"
#include "core/options.h"
#include "core/task.h"
#include "core/waitq.h"
#include "thread/parcel.h"
#include "thread/shared.h"
#include "thread/worker.h"

typedef struct Item {
  ListNode link;
  Buffer parcel;
} Item;

typedef struct Channel {
  Shared shared;       /* first */
  ForkWatch fork;
  uv_mutex_t lock;     /* guards all below */
  ListNode items;
  ListNode getters, putters; /* Waits */
  lua_Integer count, max;    /* max 0: none, and does not change */
  bool closed;
  int waits;           /* of tasks, which hold it */
} Channel;

typedef enum Verdict { WAITING, DONE, CLOSED } Verdict;

typedef struct Wait {
  ListNode link;       /* in the line, until it is decided */
  Verdict verdict;
  Item *item;          /* what a put brings, or a get has got */
  uv_cond_t *blocked;  /* a thread's; NULL: a task waits */

  /* a task's; malloc'ed: the task and the message hold it */
  Message told;
  int refs;            /* under the channel's lock */
  Channel *channel;
  Inbox *inbox;
  Task *task;          /* its loop's thread only; NULL: it will never run */
} Wait;

/* Items and channels */

static void item_free(Item *item) {
  if (!item) return;
  parcel_free(&item->parcel);
  mem_free(item);
}

static void channel_free(Shared *record, ListNode *dead) {
  Channel *c = (Channel *)record;
  for (ListNode *node; (node = list_take(&c->items));) {
    Item *item = asy_container(node, Item, link);
    parcel_free_into(&item->parcel, dead);
    mem_free(item);
  }
  fork_unwatch(&c->fork);
  uv_mutex_destroy(&c->lock);
  mem_free(c);
}

/* A thread that the child hasn't got may hold it. */
static void in_child(ForkWatch *w, bool ours) {
  (void)ours;
  mutex_init(&asy_container(w, Channel, fork)->lock);
}

static const SharedClass CHANNEL = {ASY_CHANNEL, "asyncio.Channel", "channel", channel_free};

static Channel *check_channel(lua_State *L) { return asy_shared_check(L, 1, &CHANNEL); }

/* stack: ..., value → ...; an item with it */
static Item *new_item(lua_State *L) {
  Buffer parcel = {NULL, 0, 0, 0};
  asy_codec_encode(L, lua_gettop(L), 1, CODEC_ITEM, &parcel);
  Item *item = mem_alloc(sizeof *item);
  if (!item) {
    parcel_free(&parcel);
    asy_nomemory(L);
  }
  list_init(&item->link);
  item->parcel = parcel;
  lua_pop(L, 1);
  return item;
}

/* Pushes the value. */
static int push_item(lua_State *L, Item *item) {
  Buffer parcel = item->parcel;
  mem_free(item);
  return asy_parcel_unpack(L, &parcel);
}

/* Under the lock */

/* Decides a Wait. False: its loop is gone. */
static bool decide(Wait *w, Verdict verdict) {
  list_remove(&w->link);
  w->verdict = verdict;
  if (w->blocked) {
    uv_cond_signal(w->blocked);
    return true;
  }
  w->refs++;
  if (inbox_post(w->inbox, &w->told)) return true;
  w->refs--;
  return false;
}

static Wait *first(const ListNode *line) {
  return list_empty(line) ? NULL : asy_container(line->next, Wait, link);
}

/* Whether somebody who waits has got it. */
static bool hand_over(Channel *c, Item *item) {
  for (Wait *w; (w = first(&c->getters));) {
    w->item = item;
    if (decide(w, DONE)) return true;
    w->item = NULL;
  }
  return false;
}

static bool try_put(Channel *c, Item *item) {
  if (hand_over(c, item)) return true;
  if (c->max && c->count >= c->max) return false;
  list_append(&c->items, &item->link);
  c->count++;
  return true;
}

/* There may be room for what waits to be put. */
static void admit(Channel *c) {
  for (Wait *w; (!c->max || c->count < c->max) && (w = first(&c->putters)) && w->item;) {
    list_append(&c->items, &w->item->link);
    w->item = NULL;
    c->count++;
    decide(w, DONE);
  }
}

static Item *try_take(Channel *c) {
  ListNode *node = list_take(&c->items);
  if (!node) return NULL;
  c->count--;
  admit(c);
  return asy_container(node, Item, link);
}

/* An item that was taken, but whose taker will never run, is the next one again. */
static void untake(Channel *c, Item *item) {
  if (hand_over(c, item)) return;
  list_prepend(&c->items, &item->link);
  c->count++;
}

/* Tasks that wait */

/* Lets go of one reference; unlocks the channel. */
static void unlock_and_unref(Channel *c, Wait *w) {
  bool last = --w->refs == 0;
  c->waits -= last;
  uv_mutex_unlock(&c->lock);
  if (!last) return;
  item_free(w->item);
  inbox_unref(w->inbox);
  shared_unref(&w->channel->shared);
  mem_free(w);
}

static void wait_unref(Wait *w) {
  uv_mutex_lock(&w->channel->lock);
  unlock_and_unref(w->channel, w);
}

/* From libuv, on the task's thread. */
static void on_told(Message *msg) {
  Wait *w = asy_container(msg, Wait, told);
  if (w->task) task_wake(w->task, 0);
  wait_unref(w);
}

/* The task will never run: what it got goes back, what it brings is dropped unless it is in. */
static void forsake(Task *t) {
  Wait *w = t->on;
  Channel *c = w->channel;
  t->on = NULL;
  uv_mutex_lock(&c->lock);
  bool decided = !list_linked(&w->link);
  list_remove(&w->link);
  w->task = NULL;
  if (decided && w->verdict == DONE && w->item) {
    untake(c, w->item);
    w->item = NULL;
  }
  unlock_and_unref(c, w);
}

static Abort wait_abort(lua_State *L, Task *t) {
  Wait *w = t->on;
  (void)L;
  uv_mutex_lock(&w->channel->lock);
  bool decided = !list_linked(&w->link);
  if (!decided) list_remove(&w->link), w->verdict = CLOSED;
  uv_mutex_unlock(&w->channel->lock);
  if (decided && t->phase != TASK_ENDED) return ASY_PENDING; /* the message is on its way */
  forsake(t);
  return ASY_DETACHED;
}

static void wait_giveback(lua_State *L, Task *t) {
  (void)L;
  if (t->on) forsake(t);
}

/* What came of it; the Wait is gone. */
static Verdict wait_over(Task *t, Item **item) {
  Wait *w = t->on;
  Verdict verdict = w->verdict;
  t->on = NULL;
  w->task = NULL;
  *item = verdict == DONE ? w->item : NULL;
  if (*item) w->item = NULL;
  wait_unref(w);
  return verdict;
}

static int raise_closed(lua_State *L) { return asy_error(L, ASY_CLOSED, "the channel is closed"); }

static int get_finish(lua_State *L, Task *t) {
  Item *item;
  wait_over(t, &item);
  return item ? push_item(L, item) : raise_closed(L);
}

/* What an iterator gives: the running number and the item; nil at the end. upvalues: channel, the last number */
static int push_next(lua_State *L, Item *item) {
  lua_Integer *last = lua_touserdata(L, lua_upvalueindex(3));
  if (!item) return lua_pushnil(L), 1;
  lua_pushinteger(L, ++*last);
  return 1 + push_item(L, item);
}

static int next_finish(lua_State *L, Task *t) {
  Item *item;
  wait_over(t, &item);
  return push_next(L, item);
}

static int put_finish(lua_State *L, Task *t) {
  Item *item;
  return wait_over(t, &item) == CLOSED ? raise_closed(L) : 0;
}

/* Its references are those of userdata, of messages, and of tasks' Waits. What has one userdata nobody else can use. */
static bool may_come(const Task *t) {
  const Wait *w = t->on;
  if (!w) return true;
  Channel *c = w->channel;
  uv_mutex_lock(&c->lock);
  bool decided = !list_linked(&w->link);
  int others = atomic_load(&c->shared.refs) - c->waits - 1;
  uv_mutex_unlock(&c->lock);
  return decided || others > 0;
}

static const void *woken_by(const Task *t, int i) {
  const Wait *w = t->on;
  return w && i == 0 ? w->channel : NULL;
}

static const WaitKind GET = {.name = "channel get", .finish = get_finish, .abort = wait_abort,
                             .giveback = wait_giveback, .may_come = may_come, .woken_by = woken_by};
static const WaitKind NEXT = {.name = "channel iter", .finish = next_finish, .abort = wait_abort,
                              .giveback = wait_giveback, .may_come = may_come, .woken_by = woken_by};
static const WaitKind PUT = {.name = "channel put", .finish = put_finish, .abort = wait_abort,
                             .giveback = wait_giveback, .may_come = may_come, .woken_by = woken_by};

/* Puts a task into a line; NULL without memory. Under the lock. */
static Wait *line_up(Channel *c, ListNode *line, Task *t, Item *item) {
  Wait *w = mem_calloc(1, sizeof *w);
  if (!w) return NULL;
  w->refs = 1;
  w->item = item;
  w->told.arrive = on_told;
  w->inbox = inbox_ref(t->loop->inbox);
  w->channel = c;
  shared_ref(&c->shared);
  c->waits++;
  w->task = t;
  list_init(&w->link);
  list_append(line, &w->link);
  return w;
}

/* Threads that wait */

/* The job of a thread that may be among them was cancelled: each looks whether it is the one. */
static void on_interrupt(void *arg) {
  Channel *c = arg;
  uv_mutex_lock(&c->lock);
  list_each(node, &c->getters) {
    Wait *w = asy_container(node, Wait, link);
    if (w->blocked) uv_cond_signal(w->blocked);
  }
  list_each(node, &c->putters) {
    Wait *w = asy_container(node, Wait, link);
    if (w->blocked) uv_cond_signal(w->blocked);
  }
  uv_mutex_unlock(&c->lock);
}

/* Waits in the line until it is decided; false when the job was cancelled before. The channel is locked. */
static bool block(Channel *c, ListNode *line, Wait *w, Worker *worker) {
  list_init(&w->link);
  list_append(line, &w->link);
  while (list_linked(&w->link) && !worker_cancelled(worker)) uv_cond_wait(w->blocked, &c->lock);
  bool decided = !list_linked(&w->link);
  list_remove(&w->link);
  return decided;
}

/* Gets or puts (when there is an item), blocking the thread. Raises CancelledError, and what is missing. */
static Item *block_for(lua_State *L, Channel *c, Item *item, Verdict *verdict) {
  Worker *worker = ASY_RUNTIME(L)->worker;
  uv_cond_t cond;
  Wait w = {.item = item, .blocked = &cond};
  bool put = item != NULL, decided = true;
  if (uv_cond_init(&cond)) {
    item_free(item);
    asy_nomemory(L);
  }
  if (worker) worker_on_interrupt(worker, on_interrupt, c);
  uv_mutex_lock(&c->lock);
  if (put && !c->closed && try_put(c, item))
    w.verdict = DONE, w.item = NULL;
  else if (!put && (w.item = try_take(c)))
    w.verdict = DONE;
  else if (c->closed)
    w.verdict = CLOSED;
  else
    decided = block(c, put ? &c->putters : &c->getters, &w, worker);
  uv_mutex_unlock(&c->lock);
  if (worker) worker_on_interrupt(worker, NULL, NULL);
  uv_cond_destroy(&cond);
  if (put) item_free(w.item); /* it isn't in */
  if (!decided) asy_error(L, ASY_CANCELLED, "the job was cancelled");
  *verdict = w.verdict;
  return put ? NULL : w.item;
}

/* Methods */

/* Takes an item; NULL: the channel is closed. Or waits: then *parked is what to return. */
static Item *get(lua_State *L, Channel *c, const WaitKind *kind, lua_CFunction again, int *parked) {
  Runtime *rt = ASY_RUNTIME(L);
  Verdict verdict;
  Wait *w = NULL;
  *parked = -1;
  if (!rt->running) return block_for(L, c, NULL, &verdict);
  Task *t = asy_current(L);
  if (task_spent(t)) return *parked = asy_give_way(L, t, again), NULL;
  uv_mutex_lock(&c->lock);
  Item *item = try_take(c);
  bool waits = !item && !c->closed;
  if (waits) w = line_up(c, &c->getters, t, NULL);
  uv_mutex_unlock(&c->lock);
  if (!waits) return item;
  if (!w) asy_nomemory(L);
  *parked = asy_park(L, t, kind, w);
  return NULL;
}

/// Takes the next item; waits for one: in a task by suspending it, outside of a loop by blocking.
// Raises ClosedError when the channel is closed and empty, CancelledError when the job that blocks is
// cancelled.
// @function Channel:get
// @return the item
static int channel_get(lua_State *L) {
  Channel *c = check_channel(L);
  int parked;
  lua_settop(L, 1);
  Item *item = get(L, c, &GET, channel_get, &parked);
  if (parked >= 0) return parked;
  return item ? push_item(L, item) : raise_closed(L);
}

/// Takes the next item; raises QueueEmpty when there is none.
// @function Channel:get_nowait
// @return the item
static int channel_get_nowait(lua_State *L) {
  Channel *c = check_channel(L);
  uv_mutex_lock(&c->lock);
  Item *item = try_take(c);
  bool closed = c->closed;
  uv_mutex_unlock(&c->lock);
  if (item) return push_item(L, item);
  return closed ? raise_closed(L) : asy_error(L, ASY_QUEUE_EMPTY, "the channel is empty");
}

/* The iterator. upvalues: channel, the last number */
static int channel_next(lua_State *L) {
  Channel *c = asy_shared_check(L, lua_upvalueindex(2), &CHANNEL);
  int parked;
  lua_settop(L, 0);
  Item *item = get(L, c, &NEXT, channel_next, &parked);
  return parked >= 0 ? parked : push_next(L, item);
}

/// Iterates over items until the channel is closed and empty: `for n, item in channel:iter() do`.
// The running number comes first, so that nil can be an item too. Each call of the function takes the next item;
// tasks may share it.
// @function Channel:iter
// @treturn function
static int channel_iter(lua_State *L) {
  check_channel(L);
  lua_settop(L, 1);
  *(lua_Integer *)lua_newuserdatauv(L, sizeof(lua_Integer), 0) = 0;
  asy_pushclosure(L, channel_next, 2);
  return 1;
}

/// Puts a value in; waits for a free place: in a task by suspending it, outside of a loop by blocking.
// The value is copied. Raises ClosedError when the channel is closed, CancelledError when the job that
// blocks is cancelled.
// @function Channel:put
// @param item any value that can be sent, nil included
static int channel_put(lua_State *L) {
  Channel *c = check_channel(L);
  Runtime *rt = ASY_RUNTIME(L);
  Verdict verdict = WAITING;
  Wait *w = NULL;
  Task *t = rt->running ? asy_current(L) : NULL;
  lua_settop(L, 2);
  if (t && task_spent(t)) return asy_give_way(L, t, channel_put);
  lua_pushvalue(L, 2);
  Item *item = new_item(L);
  if (!t) {
    block_for(L, c, item, &verdict);
    return verdict == CLOSED ? raise_closed(L) : 0;
  }
  uv_mutex_lock(&c->lock);
  if (c->closed)
    verdict = CLOSED;
  else if (try_put(c, item))
    verdict = DONE;
  else
    w = line_up(c, &c->putters, t, item);
  uv_mutex_unlock(&c->lock);
  if (verdict == DONE) return 0;
  if (w) return asy_park(L, t, &PUT, w);
  item_free(item);
  return verdict == CLOSED ? raise_closed(L) : asy_nomemory(L);
}

/// Puts a value in; raises QueueFull when there is no free place.
// @function Channel:put_nowait
// @param item any value that can be sent, nil included
static int channel_put_nowait(lua_State *L) {
  Channel *c = check_channel(L);
  lua_settop(L, 2);
  Item *item = new_item(L);
  uv_mutex_lock(&c->lock);
  bool closed = c->closed, done = !closed && try_put(c, item);
  uv_mutex_unlock(&c->lock);
  if (done) return 0;
  item_free(item);
  if (closed) return raise_closed(L);
  return asy_error(L, ASY_QUEUE_FULL, "the channel is full (%I items)", (LUAI_UACINT)c->max);
}

/// Ends the channel, in all states: what is in it can still be got, nothing more can be put.
// A channel that nobody has any more goes with what is in it. Only channels that lie in each other, or one in
// itself, keep each other for ever: where that may happen, end one with `close(true)`.
// @function Channel:close
// @tparam[opt=false] boolean immediate throw away what is in it, too
static int channel_close(lua_State *L) {
  Channel *c = check_channel(L);
  bool immediate = asy_checkboolean(L, 2);
  ListNode thrown;
  list_init(&thrown);
  uv_mutex_lock(&c->lock);
  c->closed = true;
  for (ListNode *node; immediate && (node = list_take(&c->items)); c->count--) list_append(&thrown, node);
  for (Wait *w; (w = first(&c->putters));) decide(w, CLOSED);
  for (Wait *w; (w = first(&c->getters));) decide(w, CLOSED);
  uv_mutex_unlock(&c->lock);
  for (ListNode *node; (node = list_take(&thrown));) item_free(asy_container(node, Item, link)); /* may free others */
  return 0;
}

/// How many items it holds.
// @function Channel:qsize
// @treturn integer
static int channel_qsize(lua_State *L) {
  Channel *c = check_channel(L);
  uv_mutex_lock(&c->lock);
  lua_Integer n = c->count;
  uv_mutex_unlock(&c->lock);
  lua_pushinteger(L, n);
  return 1;
}

static int channel__gc(lua_State *L) { return asy_shared_gc(L, &CHANNEL); }

static int channel__eq(lua_State *L) {
  Shared **a = asy_test(L, ASY_RUNTIME(L), 1, ASY_CHANNEL), **b = asy_test(L, ASY_RUNTIME(L), 2, ASY_CHANNEL);
  lua_pushboolean(L, a && b && *a == *b);
  return 1;
}

static int channel__tostring(lua_State *L) {
  Channel *c = check_channel(L);
  uv_mutex_lock(&c->lock);
  lua_Integer n = c->count;
  bool closed = c->closed;
  uv_mutex_unlock(&c->lock);
  if (c->max > 0)
    lua_pushfstring(L, "%I of %I items", (LUAI_UACINT)n, (LUAI_UACINT)c->max);
  else
    lua_pushfstring(L, n == 1 ? "%I item" : "%I items", (LUAI_UACINT)n);
  lua_pushfstring(L, "asyncio.Channel: %s%s (%p)", lua_tostring(L, -1), closed ? ", closed" : "", (void *)c);
  return 1;
}

static const OptSpec SPECS[] = {
    {.key = "maxsize", .kind = OPT_INTEGER, .least = LUA_MININTEGER, .most = LUA_MAXINTEGER}};
static const Options OPTIONS = {"Channel", 1, OPT_CONSTRUCTOR, OPT_SPECS(SPECS)};

/// Hands values from one Lua state to another, in the order in which they were put; also between tasks.
// A channel can itself be sent, as an argument of a job or through another channel. Also
// `Channel{maxsize=}`.
// @function Channel
// @tparam[opt=0] integer maxsize 0: any number of items
// @treturn Channel
static int channel_new(lua_State *L) {
  asy_checkalive(L);
  lua_settop(L, 1);
  asy_options_first(L, 1, &OPTIONS);
  lua_Integer max = lua_tointeger(L, -1); /* 0 for nil */
  Shared **box = asy_shared_newbox(L, &CHANNEL);
  Channel *c = mem_calloc(1, sizeof *c);
  if (!c) return asy_nomemory(L);
  if (mutex_init(&c->lock)) {
    mem_free(c);
    return asy_nomemory(L);
  }
  shared_init(&c->shared, &CHANNEL);
  list_init(&c->items);
  list_init(&c->getters);
  list_init(&c->putters);
  c->max = max > 0 ? max : 0;
  fork_watch(&c->fork, in_child);
  *box = &c->shared;
  return 1;
}

/// A queue between threads; `asyncio.Channel` makes it, and it can be sent to them.
// In a loop its methods suspend the task, elsewhere they block the thread.
// @type Channel
// @usage
// local jobs, results = asyncio.Channel(10), asyncio.Channel()
// local worker = asyncio.create_task(asyncio.to_thread, function()
//   for _, job in jobs:iter() do results:put(job * 2) end
// end)
// jobs:put(21)
// print(results:get()) --> 42
// jobs:close()
// asyncio.await(worker)

static const luaL_Reg methods[] = {{"get", channel_get},
                                   {"get_nowait", channel_get_nowait},
                                   {"put", channel_put},
                                   {"put_nowait", channel_put_nowait},
                                   {"iter", channel_iter},
                                   {"close", channel_close},
                                   {"qsize", channel_qsize},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", channel__gc},
                                       {"__eq", channel__eq},
                                       {"__tostring", channel__tostring},
                                       {NULL, NULL}};

static const luaL_Reg functions[] = {{"Channel", channel_new}, {NULL, NULL}};

/* stack: module */
void asy_open_channel(lua_State *L) {
  asy_options_note(L, &OPTIONS);
  asy_setfuncs(L, functions);
  asy_shared_newclass(L, &CHANNEL, methods, metamethods);
}
