/*
** executor.c - asyncio.ThreadPoolExecutor, as Lua sees it: jobs and their futures, the default executor;
** what a job sees of its own thread.
**
** A job's future is held by its loop until the job has come back, or was cancelled. All that concerns
** both is done on the loop's thread: so what comes first, cancellation or result, wins.
*/
#include "thread/thread.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "core/callback.h"
#include "thread/codec.h"
#include "core/error.h"
#include "core/future.h"
#include "thread/parcel.h"
#include "thread/pool.h"
#include "core/task.h"

#define MAX_WORKERS 1000000
#define DEFAULT_WORKERS 32 /* at most, and not more than four above the number of cores: as in Python */

typedef struct Executor {
  Pool *pool;
  Functions functions; /* with the user values */
} Executor;

typedef struct JobFuture {
  HookedFuture hooked; /* first */
  Job *job;            /* NULL: it has come back, or was cancelled */
} JobFuture;

static Executor *check_executor(lua_State *L, int idx) {
  Executor *e = asy_check(L, ASY_RUNTIME(L), idx, ASY_EXECUTOR, "asyncio.ThreadPoolExecutor");
  if (!e->pool) asy_error(L, ASY_CLOSED, "the executor has been collected"); /* a finaliser uses it */
  return e;
}

static Pool *check_pool(lua_State *L, int idx) { return check_executor(L, idx)->pool; }

/* A job and its loop */

/* The loop has done with it; C only. */
static void job_detach(Job *job) {
  list_remove(&job->guest.link);
  list_remove(&job->ready.link);
  if (job->future) ((JobFuture *)job->future)->job = NULL;
  if (job->loop) job->loop->jobs--;
  job->future = NULL;
  job->loop = NULL;
  job_recycle(job);
}

/* From libuv, on the loop's thread. */
static void on_job_back(Message *msg) {
  Job *job = asy_container(msg, Job, done);
  if (job->loop) asy_ready(job->loop, &job->ready);
  job_unref(job);
}

/* The loop closes: a job not begun never will. */
static void on_loop_closed(Guest *guest) {
  Job *job = asy_container(guest, Job, guest);
  pool_cancel(job);
  job_detach(job);
}

static void on_cancelled(lua_State *L, HookedFuture *f) {
  Job *job = ((JobFuture *)f)->job;
  if (!job) return;
  pool_cancel(job);
  asy_release(L, job->loop, job->slot);
  job_detach(job);
}

/* Pushes the error of a job that failed, and sets the traceback of its future, at 2. */
static FutureState push_error(lua_State *L, Job *job) {
  switch (job->outcome) {
  case JOB_CANCELLED:
    asy_error_push(L, ASY_CANCELLED, "the executor was shut down before the job began");
    return FUTURE_CANCELLED;
  case JOB_BROKEN:
    asy_error_push(L, ASY_BROKEN_EXECUTOR, "%s", buffer_bytes(&job->message));
    return FUTURE_ERROR;
  case JOB_NO_MEMORY: lua_pushliteral(L, "not enough memory"); return FUTURE_ERROR;
  default: break;
  }
  codec_decode(L, buffer_bytes(&job->message), buffer_length(&job->message), true);
  asy_future_extras(L, 2, true);
  lua_insert(L, -2);
  lua_setfield(L, -2, "traceback");
  lua_pop(L, 1);
  return asy_isinstance(L, -1, ASY_CANCELLED) ? FUTURE_CANCELLED : FUTURE_ERROR;
}

/* args: job (light), its future */
static int settle(lua_State *L) {
  Job *job = lua_touserdata(L, 1);
  FutureState state = FUTURE_RESULT;
  bool packed = false;
  if (job->outcome == JOB_RESULT)
    packed = asy_pack(L, codec_decode(L, buffer_bytes(&job->message), buffer_length(&job->message), true));
  else
    state = push_error(L, job);
  asy_future_settle(L, job->loop->rt, lua_touserdata(L, 2), 2, state, packed);
  return 0;
}

/* The same where nothing can raise: one number or so for a future without callbacks. */
static bool settle_plain(lua_State *L, Loop *loop, Job *job, Future *f, int idx) {
  if (job->outcome != JOB_RESULT || f->callbacks) return false;
  int n = codec_decode_plain(L, buffer_bytes(&job->message), buffer_length(&job->message));
  if (n == 1) asy_future_settle(L, loop->rt, f, idx, FUTURE_RESULT, false);
  else if (n > 0) lua_pop(L, n);
  return n == 1;
}

/* stack: ..., future. Should memory run out, the job stays on the list and is tried again. */
static void settle_any(lua_State *L, Loop *loop, Job *job, Future *f) {
  int future = lua_gettop(L);
  list_prepend(&loop->ready, &job->ready.link);
  lua_pushcfunction(L, settle);
  lua_pushlightuserdata(L, job);
  lua_pushvalue(L, future);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) asy_future_settle(L, loop->rt, f, future, FUTURE_ERROR, false);
}

/* Its turn in the loop. What came can no longer be cancelled; its future can, by a finaliser that runs while
** the values are made. */
static void job_run(lua_State *L, Loop *loop, Ready *self) {
  Job *job = asy_container(self, Job, ready);
  int top = lua_gettop(L);
  luaL_checkstack(L, CODEC_PLAIN + 4, NULL);
  lua_rawgeti(L, ASY_HELD, job->slot);
  Future *f = lua_touserdata(L, -1);
  ((JobFuture *)f)->job = NULL;
  if (!settle_plain(L, loop, job, f, top + 1)) settle_any(L, loop, job, f);
  asy_release_in(L, loop, ASY_HELD, job->slot);
  job_detach(job);
  lua_settop(L, top);
}

/* Pushes a future for a job of the pool. From now on the loop holds both; on an error, abandon_job. */
static Job *new_job(lua_State *L, Loop *loop, Pool *pool) {
  JobFuture *f = (JobFuture *)asy_future_hooked(L, loop, sizeof *f, on_cancelled);
  lua_pushvalue(L, -1);
  uint32_t slot = asy_hold(L, loop);
  Job *job = f->job = job_new(pool, loop->inbox, on_job_back);
  if (!job) {
    asy_release(L, loop, slot);
    asy_nomemory(L);
  }
  job->slot = slot;
  job->loop = loop;
  loop->jobs++;
  job->future = &f->hooked;
  job->ready.run = job_run;
  job->guest.drop = on_loop_closed;
  list_append(&loop->guests, &job->guest.link);
  return job;
}

static void abandon_job(lua_State *L, Job *job) {
  asy_release(L, job->loop, job->slot);
  job_detach(job);
}

/* Packs n values from the stack into the job's message; raises, and abandons it, when that can't be. Looking for
** names allocates, so a finaliser may run, and close the loop, which lets go of the job. */
static void pack_values(lua_State *L, Job *job, int n, CodecWhat what) {
  atomic_fetch_add(&job->refs, 1);
  bool packed = parcel_pack(L, n, what, &job->message), attached = job->loop;
  if (attached && !packed) abandon_job(L, job);
  job_unref(job);
  if (!packed) lua_error(L);
  if (!attached) asy_error(L, ASY_CLOSED, "the event loop is closed");
}

/* Submitting */

/* Puts the function, unless that is kept, and its arguments into the job's message.
** stack: ..., [fn] function, arguments, future → [fn] anything, ..., future */
static void pack_call(lua_State *L, Job *job, bool kept, int fn) {
  int n = lua_gettop(L) - fn - 1;
  if (kept && codec_encode_plain(L, fn + 1, n, &job->message)) return;
  lua_insert(L, fn);
  if (kept) lua_remove(L, fn + 1);
  pack_values(L, job, n + !kept, kept ? CODEC_ARGUMENT : CODEC_CALL);
}

/* stack: [executor], ..., [fn] function, arguments → ..., future */
static int submit(lua_State *L, Loop *loop, int executor, int fn) {
  Executor *e = check_executor(L, executor);
  luaL_checktype(L, fn, LUA_TFUNCTION);
  asy_loop_checkopen(L, loop);
  luaL_checkstack(L, 12, NULL);
  WorkerFunction *kept = functions_find(L, &e->functions, executor, fn);
  Job *job = new_job(L, loop, e->pool);
  if (job->fn != kept) {
    function_unref(job->fn);
    job->fn = kept ? function_ref(kept) : NULL;
  }
  pack_call(L, job, kept != NULL, fn);
  int status = pool_push(e->pool, job);
  if (!status) return 1;
  abandon_job(L, job);
  if (status == POOL_SHUT) return asy_error(L, ASY_CLOSED, "the executor has been shut down");
  return asy_oserror(L, status, "thread", NULL);
}

/// Has a worker thread call a function, from now on.
// Function and arguments are copied: what can be, and how, is in the manual. Raises for what can't,
// and ClosedError after a shutdown.
// @function ThreadPoolExecutor:submit
// @tparam function fn
// @param ... its arguments
// @treturn Future its results, or its error
static int executor_submit(lua_State *L) {
  check_pool(L, 1);
  return submit(L, asy_running(L, ASY_RUNTIME(L)), 1, 2);
}

static void new_executor(lua_State *L, int max_workers, const char *name);

/* Pushes the loop's default executor, making one if need be. */
static void push_default(lua_State *L, Loop *loop) {
  asy_loop_getfield(L, loop, "executor");
  if (!lua_isnil(L, -1)) return;
  new_executor(L, 0, "asyncio"); /* the nil: no initializer */
  asy_loop_getfield(L, loop, "executor");
  if (lua_isnil(L, -1)) { /* as in asy_subtable */
    lua_pushvalue(L, -2);
    asy_loop_setfield(L, loop, "executor");
    lua_pop(L, 1);
  } else
    lua_replace(L, -2);
}

/// Has a worker thread call a function; it has begun when this returns, unless all are busy.
// @function Loop:run_in_executor
// @tparam ?ThreadPoolExecutor pool nil: the loop's default one
// @tparam function fn
// @param ... its arguments
// @treturn Future its results, or its error
static int loop_run_in_executor(lua_State *L) {
  Loop *loop = asy_check(L, ASY_RUNTIME(L), 1, ASY_LOOP, "asyncio.Loop");
  asy_loop_checkopen(L, loop);
  luaL_checkany(L, 2);
  if (lua_isnil(L, 2)) {
    push_default(L, loop);
    lua_replace(L, 2);
  }
  return submit(L, loop, 2, 3);
}

/// Sets the executor that `run_in_executor(nil, ...)` and `to_thread` use.
// The end of `run` shuts it down.
// @function Loop:set_default_executor
// @tparam ThreadPoolExecutor pool
static int loop_set_default_executor(lua_State *L) {
  Loop *loop = asy_check(L, ASY_RUNTIME(L), 1, ASY_LOOP, "asyncio.Loop");
  asy_loop_checkopen(L, loop);
  check_pool(L, 2);
  lua_settop(L, 2);
  asy_loop_setfield(L, loop, "executor");
  return 0;
}

/* Executors */

/* _shutdown(executor, cancel_futures) */
static int executor_shutdown(lua_State *L) {
  pool_shutdown(check_pool(L, 1), lua_toboolean(L, 2));
  return 0;
}

/* _watch(executor, loop) → a future that is done when its threads have ended */
static int executor_watch(lua_State *L) {
  Pool *pool = check_pool(L, 1);
  Loop *loop = asy_check(L, ASY_RUNTIME(L), 2, ASY_LOOP, "asyncio.Loop");
  asy_loop_checkopen(L, loop);
  Job *job = new_job(L, loop, pool);
  pack_values(L, job, 0, CODEC_RESULT);
  pool_watch(pool, job);
  return 1;
}

/* _wait(executor): blocks until then */
static int executor_wait(lua_State *L) {
  pool_wait(check_pool(L, 1));
  return 0;
}

static int executor__gc(lua_State *L) {
  Executor *e = asy_test(L, ASY_RUNTIME(L), 1, ASY_EXECUTOR);
  if (!e || !e->pool) return 0;
  pool_shutdown(e->pool, false);
  pool_retire(e->pool);
  pool_unref(e->pool);
  e->pool = NULL;
  return 0;
}

static int executor__tostring(lua_State *L) {
  PoolState s = pool_state(check_pool(L, 1));
  lua_pushfstring(L, "asyncio.ThreadPoolExecutor: %d of %d threads, %d idle, %d jobs waiting%s (%p)", s.threads,
                  s.max_workers, s.idle, s.queued, s.broken ? ", broken" : s.shut ? ", shut down" : "",
                  lua_touserdata(L, 1));
  return 1;
}

static int default_workers(void) {
#if UV_VERSION_HEX >= ((1 << 16) | (44 << 8))
  int n = (int)uv_available_parallelism() + 4;
#else
  uv_cpu_info_t *infos;
  int n = 0;
  if (!uv_cpu_info(&infos, &n)) uv_free_cpu_info(infos, n);
  n += 4;
#endif
  return n < DEFAULT_WORKERS ? n : DEFAULT_WORKERS;
}

/* stack: ..., initializer or nil → ..., executor. max_workers 0: the default */
static void new_executor(lua_State *L, int max_workers, const char *name) {
  WorkerSetup setup;
  asy_checkalive(L);
  Executor *e = lua_newuserdatauv(L, sizeof *e, FUNCTIONS_UV_LAST);
  *e = (Executor){.pool = NULL};
  asy_pushmeta(L, asy_runtime(L), ASY_EXECUTOR);
  lua_setmetatable(L, -2);
  asy_newweak(L, "k");
  lua_setiuservalue(L, -2, FUNCTIONS_UV_SEEN);
  lua_insert(L, -2);
  worker_setup(L, &setup);
  e->pool = pool_new(max_workers ? max_workers : default_workers(), name, &setup);
  if (e->pool) return;
  worker_setup_free(&setup);
  asy_nomemory(L);
}

/* new_executor(max_workers|nil, name|nil, initializer|nil) */
static int executor_new(lua_State *L) {
  lua_Integer max = luaL_optinteger(L, 1, default_workers());
  const char *name = luaL_optstring(L, 2, "worker");
  luaL_argcheck(L, max > 0 && max <= MAX_WORKERS, 1, "a number of threads, 1 at least, expected");
  if (!lua_isnoneornil(L, 3)) luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_settop(L, 3);
  new_executor(L, (int)max, name);
  return 1;
}

/// Threads of the operating system that call functions; `asyncio.ThreadPoolExecutor` makes it.
// @type ThreadPoolExecutor
// @usage
// local pool <close> = asyncio.ThreadPoolExecutor(2)
// local function count(n)
//   local sum = 0
//   for i = 1, n do sum = sum + i end
//   return sum
// end
// local first = pool:submit(count, 1000)
// local second = asyncio.get_running_loop():run_in_executor(pool, count, 10)
// print(asyncio.await(first), asyncio.await(second)) --> 500500  55

static const luaL_Reg methods[] = {{"submit", executor_submit},
                                   {"_shutdown", executor_shutdown},
                                   {"_watch", executor_watch},
                                   {"_wait", executor_wait},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__gc", executor__gc}, {"__tostring", executor__tostring}, {NULL, NULL}};

static const luaL_Reg loop_methods[] = {{"run_in_executor", loop_run_in_executor},
                                        {"set_default_executor", loop_set_default_executor},
                                        {NULL, NULL}};

static const luaL_Reg functions[] = {{"new_executor", executor_new}, {NULL, NULL}};

/* stack: module */
void asy_open_executor(lua_State *L) {
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_LOOP, "asyncio.Loop", loop_methods, NULL);
  asy_newclass(L, ASY_EXECUTOR, "asyncio.ThreadPoolExecutor", methods, metamethods);
  asy_pushmeta(L, asy_runtime(L), ASY_EXECUTOR); /* the Lua layer adds to the class */
  lua_setfield(L, -2, "executor_class");
}
