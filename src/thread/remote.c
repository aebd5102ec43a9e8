/*
** remote.c - asyncio.Remote: how other threads have a function called in a loop.
**
** A Remote crosses to other states; it holds the loop's inbox, which may outlive the loop. A loop has one, however often
** it is asked for, and so knows whether any is abroad. A call that has arrived is a guest of the loop until it has run.
*/
#include "open.h"

#include "base/alloc.h"
#include "core/callback.h"
#include "core/error.h"
#include "core/report.h"
#include "thread/parcel.h"
#include "thread/shared.h"

typedef struct Remote {
  Shared shared; /* first */
  Inbox *inbox;
  Loop *loop;  /* to be used where a message arrives only: there it is open */
  const Runtime *rt; /* of the state where that is ... */
  int ours;          /* ... and has so many userdata; its thread alone */
} Remote;

typedef struct Call {
  Message posted; /* first */
  Guest guest;
  Ready ready;
  Remote *remote;
  Buffer parcel;  /* function, arguments */
} Call;

static void remote_free(Shared *record, ListNode *dead) {
  Remote *r = (Remote *)record;
  (void)dead;
  inbox_unref(r->inbox);
  mem_free(r);
}

static const SharedClass REMOTE = {ASY_REMOTE, "asyncio.Remote", "remote", remote_free};

static void call_free(Call *call) {
  list_remove(&call->guest.link);
  list_remove(&call->ready.link);
  parcel_free(&call->parcel);
  shared_unref(&call->remote->shared);
  mem_free(call);
}

static void on_dropped(Guest *guest) { call_free(asy_container(guest, Call, guest)); }

static void on_posted(Message *msg) {
  Call *call = asy_container(msg, Call, posted);
  list_append(&call->remote->loop->guests, &call->guest.link);
  loop_ready(call->remote->loop, &call->ready);
}

/* args: loop, parcel (light) → callback; frees the parcel */
static int unpack_call(lua_State *L) {
  Loop *loop = lua_touserdata(L, 1);
  int n = asy_parcel_unpack(L, lua_touserdata(L, 2));
  asy_callback_new(L, loop, n - 1);
  return 1;
}

static void call_run(lua_State *L, Loop *loop, Ready *self) {
  Call *call = asy_container(self, Call, ready);
  Buffer parcel = call->parcel;
  int top = lua_gettop(L);
  call->parcel = (Buffer){NULL, 0, 0, 0};
  call_free(call);
  lua_pushcfunction(L, unpack_call);
  lua_pushlightuserdata(L, loop);
  lua_pushlightuserdata(L, &parcel);
  if (lua_pcall(L, 2, 1, 0) == LUA_OK)
    asy_callback_call(L, loop, -1);
  else if (!asy_report(L, loop, (Report){.message = "a call from another thread could not be made",
                                         .exception = -1}))
    lua_error(L); /* as for a callback */
  lua_settop(L, top);
}

/// Has a function called in the loop that this belongs to, from any thread.
// Function and arguments are copied. Does not wait; an error in the function goes to that loop's exception
// handler. Raises ClosedError when the loop is closed.
// @function Remote:call_soon_threadsafe
// @tparam function fn must not await
// @param ... its arguments
static int remote_call(lua_State *L) {
  Remote *r = asy_shared_check(L, 1, &REMOTE);
  Buffer parcel = {NULL, 0, 0, 0};
  if (!lua_isfunction(L, 2)) asy_notfunction(L, 2, 2, "function", "f, x", "f(x)");
  asy_codec_encode(L, 2, lua_gettop(L) - 1, CODEC_CALL, &parcel);
  Call *call = mem_calloc(1, sizeof *call);
  if (!call) {
    parcel_free(&parcel);
    return asy_nomemory(L);
  }
  call->posted.arrive = on_posted;
  call->guest.drop = on_dropped;
  call->ready.run = call_run;
  list_init(&call->guest.link);
  list_init(&call->ready.link);
  call->parcel = parcel;
  call->remote = r;
  shared_ref(&r->shared);
  if (inbox_post(r->inbox, &call->posted)) return 0;
  call_free(call);
  return asy_error(L, ASY_CLOSED, "the event loop is closed");
}

static int remote__gc(lua_State *L) {
  Shared **box = asy_test(L, ASY_RUNTIME(L), 1, ASY_REMOTE);
  Remote *r = box ? (Remote *)*box : NULL;
  if (r && r->rt == ASY_RUNTIME(L) && r->ours) r->ours--;
  return asy_shared_gc(L, &REMOTE);
}

static int remote__tostring(lua_State *L) {
  Shared **box = asy_check(L, ASY_RUNTIME(L), 1, ASY_REMOTE, "asyncio.Remote");
  bool open = *box && inbox_is_open(((Remote *)*box)->inbox);
  lua_pushfstring(L, "asyncio.Remote: of a loop that is %s (%p)", open ? "open" : "closed", (void *)box);
  return 1;
}

static Remote *new_remote(Loop *loop) {
  Remote *r = mem_calloc(1, sizeof *r);
  if (!r) return NULL;
  shared_init(&r->shared, &REMOTE);
  r->inbox = inbox_ref(loop->inbox);
  r->loop = loop;
  r->rt = loop->rt;
  return r;
}

/// What other threads need to have functions called in this loop; it can be sent to them.
// @function Loop:remote
// @treturn Remote
static int loop_remote(lua_State *L) {
  Loop *loop = asy_checkloop(L, 1);
  asy_checkalive(L);
  Shared **box = asy_shared_newbox(L, &REMOTE);
  asy_loop_checkopen(L, loop); /* now: a finaliser may have closed it */
  if (!loop->remote && !(loop->remote = new_remote(loop))) return asy_nomemory(L);
  shared_ref(&loop->remote->shared);
  loop->remote->ours++;
  *box = &loop->remote->shared;
  return 1;
}

/* One reference is the loop's. */
static bool is_abroad(lua_State *L, const Loop *loop) {
  (void)L;
  const Remote *r = loop->remote;
  return r && atomic_load(&r->shared.refs) > 1 + r->ours;
}

static void forget(Loop *loop) {
  if (loop->remote) shared_unref(&loop->remote->shared);
  loop->remote = NULL;
}

/// What other threads need to have functions called in a loop; `Loop:remote` gives it, and it can be sent.
// @type Remote
// @usage
// local loop = asyncio.get_running_loop()
// asyncio.to_thread(function(remote)
//   remote:call_soon_threadsafe(function() TOLD = "from a thread" end)
// end, loop:remote())
// asyncio.sleep(0)
// print(TOLD) --> from a thread

static const luaL_Reg methods[] = {{"call_soon_threadsafe", remote_call}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {
    {"__gc", remote__gc}, {"__tostring", remote__tostring}, {NULL, NULL}};
static const luaL_Reg loop_methods[] = {{"remote", loop_remote}, {NULL, NULL}};

void asy_open_remote(lua_State *L) {
  static const LoopHooks hooks = {.part = forget, .may_come = is_abroad};
  runtime_on_loop(asy_runtime(L), &hooks);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", loop_methods, NULL);
  asy_shared_newclass(L, &REMOTE, methods, metamethods);
}
