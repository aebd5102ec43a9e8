/*
** executor.c - asyncio.ThreadPoolExecutor, and a loop's default one.
*/
#include "open.h"

#include "core/error.h"
#include "thread/job.h"

#define MAX_WORKERS 1000000
#define DEFAULT_WORKERS 32 /* at most, and not more than four above the number of cores: as in Python */

typedef struct Executor {
  Pool *pool;
  Functions functions; /* with the user values */
  bool follows;        /* a loop's own: its workers get what package.path and the like are now */
  uint64_t given;      /* the fingerprint of what they have got */
} Executor;

#define EXECUTOR_UV_GIVEN (FUNCTIONS_UV_LAST + 1) /* what that goes by */

static Executor *check_executor(lua_State *L, int idx) {
  Executor *e = asy_check(L, ASY_RUNTIME(L), idx, ASY_EXECUTOR, "asyncio.ThreadPoolExecutor");
  if (!e->pool) asy_error(L, ASY_CLOSED, "the executor has been collected"); /* a finaliser uses it */
  return e;
}

static Pool *check_pool(lua_State *L, int idx) { return check_executor(L, idx)->pool; }

/* The newest of what a worker's state is given, if it is not what they have. */
static void renew(lua_State *L, Executor *e, int executor) {
  uint64_t now = asy_setup_fingerprint(L);
  if (ASY_LIKELY(now == e->given)) return;
  asy_setup_anchor(L);
  Setup *setup = asy_setup_new(L);
  lua_setiuservalue(L, executor, EXECUTOR_UV_GIVEN);
  e->given = now; /* should it have changed meanwhile, the next call sees it */
  pool_renew(e->pool, setup);
}

/* Submitting */

/* Puts the function, unless that is kept, and its arguments into the job's message.
** stack: ..., [fn] function, arguments, future → [fn] anything, ..., future */
static void pack_call(lua_State *L, Job *job, bool kept, int fn) {
  int n = lua_gettop(L) - fn - 1;
  if (kept && asy_codec_encode_plain(L, fn + 1, n, &job->message)) return;
  lua_insert(L, fn);
  if (kept) lua_remove(L, fn + 1);
  asy_job_pack(L, job, n + !kept, kept ? CODEC_ARGUMENT : CODEC_CALL);
}

/* stack: [executor], ..., [fn] function, arguments → ..., future */
static int submit(lua_State *L, Loop *loop, int executor, int fn) {
  Executor *e = check_executor(L, executor);
  if (!lua_isfunction(L, fn))
    asy_notfunction(L, fn, fn, "function", fn == 2 ? "f, x" : "pool, f, x", fn == 2 ? "f(x)" : "pool, f(x)");
  luaL_checkstack(L, 12, NULL);
  if (e->follows) renew(L, e, executor);
  asy_loop_checkopen(L, loop);
  WorkerFunction *kept = asy_functions_find(L, &e->functions, executor, fn);
  Job *job = asy_job_begin(L, loop, e->pool);
  if (job->fn != kept) {
    function_unref(job->fn);
    job->fn = kept ? function_ref(kept) : NULL;
  }
  pack_call(L, job, kept != NULL, fn);
  int status = pool_push(e->pool, job);
  if (!status) return 1;
  asy_job_abandon(L, job);
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

static Executor *new_executor(lua_State *L, int max_workers, const char *name);

/* Pushes the loop's default executor, making one if need be. */
static void push_default(lua_State *L, Loop *loop) {
  asy_loop_getfield(L, loop, "executor");
  if (!lua_isnil(L, -1)) return;
  Executor *e = new_executor(L, 0, "asyncio"); /* the nil: no initializer */
  e->follows = true;
  e->given = asy_setup_fingerprint(L);
  asy_setup_anchor(L);
  lua_setiuservalue(L, -2, EXECUTOR_UV_GIVEN);
  asy_loop_getfield(L, loop, "executor");
  if (lua_isnil(L, -1)) { /* as in asy_subtable */
    lua_pushvalue(L, -2);
    asy_loop_setfield(L, loop, "executor");
    lua_pop(L, 1);
  } else
    lua_replace(L, -2);
}

static int submitted(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  return lua_gettop(L) - (int)ctx;
}

/* Another's executor, made in Lua, has a metamethod for it. stack: loop, executor, ... */
static bool is_foreign(lua_State *L) {
  if (!lua_istable(L, 2) || luaL_getmetafield(L, 2, "__submit") == LUA_TNIL) return false;
  lua_insert(L, 2);
  return true;
}

/// Has a worker thread call a function; it has begun when this returns, unless all are busy.
// @function Loop:run_in_executor
// @tparam ?ThreadPoolExecutor|DistributedExecutor pool nil: the loop's default one
// @tparam function fn
// @param ... its arguments
// @treturn Future its results, or its error
static int loop_run_in_executor(lua_State *L) {
  Loop *loop = asy_checkopenloop(L, 1);
  if (lua_isfunction(L, 2))
    asy_typeerror(L, 2, 2, "asyncio.ThreadPoolExecutor or nil",
                  "; the executor or nil comes first: run_in_executor(nil, f, x)");
  if (is_foreign(L)) {
    lua_callk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, submitted);
    return submitted(L, LUA_OK, 1);
  }
  if (lua_isnoneornil(L, 2)) {
    if (lua_isnone(L, 2)) lua_settop(L, 2);
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
  Loop *loop = asy_checkopenloop(L, 1);
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
  Loop *loop = asy_checkopenloop(L, 2);
  Job *job = asy_job_begin(L, loop, pool);
  asy_job_pack(L, job, 0, CODEC_RESULT);
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
static Executor *new_executor(lua_State *L, int max_workers, const char *name) {
  WorkerTemplate template;
  asy_checkalive(L);
  Executor *e = lua_newuserdatauv(L, sizeof *e, EXECUTOR_UV_GIVEN);
  *e = (Executor){.pool = NULL};
  asy_pushmeta(L, asy_runtime(L), ASY_EXECUTOR);
  lua_setmetatable(L, -2);
  asy_newweak(L, "k");
  lua_setiuservalue(L, -2, FUNCTIONS_UV_SEEN);
  lua_insert(L, -2);
  Setup *setup = asy_setup_new(L);
  if (!asy_worker_template(L, &template)) {
    setup_unref(setup);
    lua_error(L);
  }
  e->pool = pool_new(max_workers ? max_workers : default_workers(), name, &template, setup);
  if (e->pool) return e;
  worker_template_free(&template);
  setup_unref(setup);
  asy_nomemory(L);
}

/* new_executor(max_workers|nil, name|nil, initializer|nil) */
static int executor_new(lua_State *L) {
  lua_Integer max = luaL_optinteger(L, 1, default_workers());
  const char *name = luaL_optstring(L, 2, "worker");
  asy_argcheck(L, max > 0 && max <= MAX_WORKERS, 1, "a number of threads, 1 at least, expected");
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
