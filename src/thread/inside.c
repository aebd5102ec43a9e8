/*
** inside.c - what a job sees of its thread: whether it was cancelled, and a call that tells its loop.
*/
#include "open.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

#include "base/alloc.h"
#include "core/callback.h"
#include "thread/worker.h"

/* A Cancel has a function called in a loop of a worker when the job that runs the loop is cancelled. It is
** malloc'ed; the loop, and a message under way, hold it. */
typedef struct Cancel {
  Message told; /* first */
  atomic_int refs;
  atomic_bool posted;
  Inbox *inbox;
  Guest guest;
  Ready ready;
  Loop *loop; /* NULL: released */
} Cancel;

typedef struct CancelBox {
  Cancel *cancel;
} CancelBox; /* user value 1: a Callback */

static void cancel_unref(Cancel *c) {
  if (atomic_fetch_sub(&c->refs, 1) != 1) return;
  inbox_unref(c->inbox);
  mem_free(c);
}

static void on_told(Message *msg) {
  Cancel *c = asy_container(msg, Cancel, told);
  if (c->loop) loop_ready(c->loop, &c->ready);
  cancel_unref(c);
}

/* From the thread that cancels, or from this one when it was late. */
static void post_cancel(void *arg) {
  Cancel *c = arg;
  if (atomic_exchange(&c->posted, true)) return;
  atomic_fetch_add(&c->refs, 1);
  if (!inbox_post(c->inbox, &c->told)) cancel_unref(c);
}

static void cancel_release(Cancel *c) {
  if (!c->loop) return;
  worker_on_interrupt(c->loop->rt->worker, NULL, NULL);
  list_remove(&c->guest.link);
  list_remove(&c->ready.link);
  c->loop = NULL;
}

static void on_cancel_dropped(Guest *guest) { cancel_release(asy_container(guest, Cancel, guest)); }

static void cancel_run(lua_State *L, Loop *loop, Ready *self) {
  int top = lua_gettop(L);
  (void)self;
  asy_loop_getfield(L, loop, "thread_cancel");
  if (lua_isuserdata(L, -1)) {
    lua_getiuservalue(L, -1, 1);
    asy_callback_call(L, loop, -1);
  }
  lua_settop(L, top);
}

/// Whether the future of the job that makes this call was cancelled; outside of a worker false.
// @function thread_cancelled
// @treturn boolean
static int thread_cancelled(lua_State *L) {
  lua_pushboolean(L, worker_cancelled(ASY_RUNTIME(L)->worker));
  return 1;
}

/// Blocks the thread, and with it the loop that runs there: `sleep` lets others go on.
// @function blocking_sleep
// @tparam number delay seconds
static int blocking_sleep(lua_State *L) {
  lua_Number s = asy_checkseconds(L, 1);
  struct timespec left = {.tv_sec = s < 1e9 ? (time_t)s : 1000000000};
  if (!(s > 0)) return 0;
  left.tv_nsec = s < 1e9 ? (long)((s - (lua_Number)left.tv_sec) * NS_PER_S) : 0;
  while (nanosleep(&left, &left) && errno == EINTR) continue;
  return 0;
}

/* catch_cancel(loop, fn): a cancellation of the job that makes this call calls fn in the loop. Nothing
** outside of a worker. */
static int catch_cancel(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Loop *loop = asy_checkopenloop(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  if (!rt->worker) return 0;
  asy_callback_new(L, loop, 0)->vital = true; /* the job would go on */
  CancelBox *box = lua_newuserdatauv(L, sizeof *box, 1);
  box->cancel = NULL;
  asy_pushmeta(L, rt, ASY_CANCEL);
  lua_setmetatable(L, -2);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, 1);
  lua_pushvalue(L, -1);
  asy_loop_setfield(L, loop, "thread_cancel");
  Cancel *c = box->cancel = mem_calloc(1, sizeof *c);
  if (!c) return asy_nomemory(L);
  atomic_store(&c->refs, 1);
  c->told.arrive = on_told;
  c->inbox = inbox_ref(loop->inbox);
  c->ready.run = cancel_run;
  c->guest.drop = on_cancel_dropped;
  list_init(&c->ready.link);
  list_init(&c->guest.link);
  list_append(&loop->guests, &c->guest.link);
  c->loop = loop;
  worker_on_interrupt(rt->worker, post_cancel, c);
  if (worker_cancelled(rt->worker)) post_cancel(c);
  return 0;
}

/* release_cancel(loop): no longer */
static int release_cancel(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  if (!loop->open || !ASY_RUNTIME(L)->worker) return 0;
  asy_loop_getfield(L, loop, "thread_cancel");
  CancelBox *box = asy_test(L, ASY_RUNTIME(L), -1, ASY_CANCEL);
  if (box && box->cancel) cancel_release(box->cancel);
  lua_pushnil(L);
  asy_loop_setfield(L, loop, "thread_cancel");
  return 0;
}

static int cancel__gc(lua_State *L) {
  CancelBox *box = asy_test(L, ASY_RUNTIME(L), 1, ASY_CANCEL);
  if (!box || !box->cancel) return 0;
  cancel_release(box->cancel);
  cancel_unref(box->cancel);
  box->cancel = NULL;
  return 0;
}

static const luaL_Reg metamethods[] = {{"__gc", cancel__gc}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"thread_cancelled", thread_cancelled},
                                     {"blocking_sleep", blocking_sleep},
                                     {"catch_cancel", catch_cancel},
                                     {"release_cancel", release_cancel},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_inside(lua_State *L) {
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_CANCEL, "asyncio.Cancel", NULL, metamethods);
}
