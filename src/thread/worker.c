/*
** worker.c - a worker thread's Lua state: making it, calling functions in it.
**
** Everything that may raise runs in a protected call here; on the state's stack nothing stays between
** two jobs.
*/
#include "thread/worker.h"

#include <string.h>

#include <lualib.h>

#include "base/alloc.h"
#include "base/mutex.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/words.h"
#include "thread/codec.h"
#include "thread/parcel.h"

static const char traceback_key = 0; /* registry: the traceback of the last error */

/* The parent's side: what a state is made from */

bool asy_worker_template(lua_State *L, WorkerTemplate *t) {
  memset(t, 0, sizeof *t);
  t->open = asy_runtime(L)->open;
  pthread_sigmask(SIG_SETMASK, NULL, &t->mask);
  if (!lua_isnil(L, -1)) return asy_parcel_pack(L, 1, CODEC_CALL, &t->initializer);
  lua_pop(L, 1);
  return true;
}

void worker_template_free(WorkerTemplate *t) { parcel_free(&t->initializer); }

/* Errors */

/* What a global of the parent's script looks like from here: say so, behind the first line. */
static void explain_global(lua_State *L) {
  const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : "";
  const char *end = text + strcspn(text, "\n"), *name = strstr(text, "a nil value (global '");
  if (!name || name > end) return;
  name = strchr(name, '\'') + 1;
  lua_pushlstring(L, text, (size_t)(end - text));
  lua_pushliteral(L, ": a worker has globals of its own, and none of the name '");
  lua_pushlstring(L, name, strcspn(name, "'"));
  lua_pushliteral(L, "': use a local function or variable, or set it in the pool's initializer");
  lua_pushstring(L, end);
  lua_concat(L, 5);
  lua_replace(L, 1);
}

/* Message handler: keeps the traceback, in the error object, too. */
static int on_error(lua_State *L) {
  lua_settop(L, 1);
  explain_global(L);
  if (asy_isinterruption(L, 1)) return 1;
  asy_traceback(L, L, 1);
  lua_pushvalue(L, 2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &traceback_key);
  asy_error_keep(L, 1);
  lua_settop(L, 1);
  return 1;
}

/* arg: why an error cannot be sent, the error → a text in its place */
static int describe(lua_State *L) {
  lua_settop(L, 2);
  asy_words(L, 2);
  lua_pushliteral(L, " (the error itself stays in its thread: ");
  asy_words(L, 1);
  lua_pushliteral(L, ")");
  lua_concat(L, 4);
  return 1;
}

static int take_traceback(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &traceback_key);
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &traceback_key);
  return 1;
}

/* stack: error → ; puts it, or else a text, and the traceback into the message */
static WorkerOutcome pack_error(lua_State *L, Buffer *message) {
  parcel_clear(message);
  lua_pushcfunction(L, take_traceback);
  if (lua_pcall(L, 0, 1, 0) != LUA_OK) return WORKER_NO_MEMORY;
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  if (asy_parcel_pack(L, 2, CODEC_ERROR, message)) return WORKER_ERROR;
  lua_pushcfunction(L, describe);
  lua_insert(L, 3);
  lua_pushvalue(L, 1);
  if (lua_pcall(L, 2, 1, 0) == LUA_ERRMEM) return WORKER_NO_MEMORY;
  if (!lua_isstring(L, -1)) lua_pushboolean(L, 0); /* its __tostring has failed in turn */
  lua_pushvalue(L, 2);
  return asy_parcel_pack(L, 2, CODEC_ERROR, message) ? WORKER_ERROR : WORKER_NO_MEMORY;
}

/* Calling */

typedef struct Call {
  Worker *worker;
  const WorkerFunction *fn;
  Buffer *message;
} Call;

/* The parent has other paths since the last job. */
static void renew(lua_State *L, Worker *w) {
  asy_setup_apply(L, w->renewal);
  setup_unref(w->setup);
  w->setup = w->renewal;
  w->renewal = NULL;
}

/* Between two jobs a state keeps what they have set, but not what would change how the next one runs: a hook, a
** collector that stands still, io.write to a file that may be closed by now. What the initializer did holds. */

/* Where liolib keeps its default files. */
static const char *const FILES[] = {"_IO_input", "_IO_output"};

/* io.input or io.output, noting that it was called. Upvalue: the function. */
static int redirect(lua_State *L) {
  Worker *w = asy_runtime(L)->worker;
  if (!lua_isnoneornil(L, 1)) {
    if (!lua_isstring(L, 1)) luaL_checkudata(L, 1, LUA_FILEHANDLE); /* the error names this function */
    w->redirected = true;
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

static void watch_files(lua_State *L) {
  static const char *const NAMES[] = {"input", "output"};
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, LUA_IOLIBNAME) != LUA_TTABLE) return; /* the initializer's business */
  for (int i = 0; i < 2; i++) {
    lua_getfield(L, LUA_REGISTRYINDEX, FILES[i]);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &FILES[i]);
    if (lua_getfield(L, -1, NAMES[i]) != LUA_TFUNCTION) return;
    lua_pushcclosure(L, redirect, 1);
    lua_setfield(L, -2, NAMES[i]);
  }
  lua_pop(L, 2);
}

static void put_files_back(lua_State *L, Worker *w) {
  for (int i = 0; i < 2; i++) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &FILES[i]);
    lua_setfield(L, LUA_REGISTRYINDEX, FILES[i]);
  }
  w->redirected = false;
}

static void tidy(lua_State *L, const Worker *w) {
  if (!w->hooked && lua_gethook(L)) lua_sethook(L, NULL, 0, 0);
  if (!w->stopped && !lua_gc(L, LUA_GCISRUNNING)) lua_gc(L, LUA_GCRESTART);
}

/* arg: call (light) */
static int call(lua_State *L) {
  Call *c = lua_touserdata(L, 1);
  lua_settop(L, 0);
  if (c->worker->renewal) renew(L, c->worker);
  if (c->worker->redirected) put_files_back(L, c->worker);
  if (c->fn) asy_function_push(L, &c->worker->functions, c->fn);
  asy_codec_decode(L, buffer_bytes(c->message), buffer_length(c->message), true);
  parcel_clear(c->message);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  asy_codec_encode(L, 1, lua_gettop(L), CODEC_RESULT, c->message);
  return 0;
}

WorkerOutcome worker_call(Worker *w, const WorkerFunction *fn, Buffer *message,
                          const atomic_bool *cancelled) {
  lua_State *L = w->L;
  Call c = {w, fn, message};
  WorkerOutcome outcome = WORKER_RESULT;
  w->cancelled = cancelled;
  lua_pushcfunction(L, on_error);
  lua_pushcfunction(L, call);
  lua_pushlightuserdata(L, &c);
  int status = lua_pcall(L, 1, 0, 1);
  tidy(L, w);
  if (status != LUA_OK) {
    lua_remove(L, 1);
    outcome = pack_error(L, message);
  }
  lua_settop(L, 0);
  w->cancelled = NULL;
  return outcome;
}

/* Making the state */

/* A program inherits the signal mask of the thread that starts it: that of a worker would keep SIGTERM
** from it. Upvalues: the function that starts one, the mask. */
static int start_program(lua_State *L) {
  sigset_t old;
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  pthread_sigmask(SIG_SETMASK, lua_touserdata(L, lua_upvalueindex(2)), &old);
  int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

static void unblock_programs(lua_State *L, const sigset_t *mask) {
  static const char *const NAMES[][2] = {{LUA_IOLIBNAME, "popen"}, {LUA_OSLIBNAME, "execute"}};
  for (int i = 0; i < 2; i++) {
    lua_getglobal(L, NAMES[i][0]);
    lua_getfield(L, -1, NAMES[i][1]);
    memcpy(lua_newuserdatauv(L, sizeof *mask, 0), mask, sizeof *mask);
    lua_pushcclosure(L, start_program, 2);
    lua_setfield(L, -2, NAMES[i][1]);
    lua_pop(L, 1);
  }
}

/* Lua seeds a state by the second and its address, and a worker often gets the memory of one that has ended. */
static void seed_random(lua_State *L) {
  lua_Integer seed[2];
  if (uv_random(NULL, NULL, seed, sizeof seed, 0, NULL)) {
    seed[0] = (lua_Integer)uv_hrtime();
    seed[1] = (lua_Integer)(intptr_t)L;
  }
  lua_getglobal(L, LUA_MATHLIBNAME);
  lua_getfield(L, -1, "randomseed");
  lua_pushinteger(L, seed[0]);
  lua_pushinteger(L, seed[1]);
  lua_call(L, 2, 0);
  lua_pop(L, 1);
}

/* args: worker, template (both light) */
static int open_state(lua_State *L) {
  Worker *w = lua_touserdata(L, 1);
  const WorkerTemplate *t = lua_touserdata(L, 2);
  lua_settop(L, 0);
  luaL_openlibs(L);
  seed_random(L);
  unblock_programs(L, &t->mask);
  luaL_requiref(L, "asyncio.core", t->open, 0);
  asy_runtime(L)->worker = w;
  asy_functions_open(L);
  lua_settop(L, 0);
  asy_setup_apply(L, w->setup);
  if (buffer_length(&t->initializer)) {
    asy_codec_decode(L, buffer_bytes(&t->initializer), buffer_length(&t->initializer), true);
    lua_call(L, 0, 0);
  }
  watch_files(L);
  w->hooked = lua_gethook(L) != NULL;
  w->stopped = !lua_gc(L, LUA_GCISRUNNING);
  return 0;
}

/* arg: error → a text with its traceback */
static int failure_text(lua_State *L) {
  asy_words(L, 1);
  take_traceback(L);
  lua_pushfstring(L, "a worker could not be made ready: %s\n%s", lua_tostring(L, 2),
                  lua_isstring(L, 3) ? lua_tostring(L, 3) : "");
  return 1;
}

bool worker_open(Worker *w, const WorkerTemplate *t, Setup *setup, char **why) {
  memset(w, 0, sizeof *w);
  *why = NULL;
  w->setup = setup;
  lua_State *L = w->L = asy_newstate();
  if (!L || mutex_init(&w->lock)) {
    if (L) lua_close(L);
    setup_unref(setup);
    return false;
  }
  lua_pushcfunction(L, on_error);
  lua_pushcfunction(L, open_state);
  lua_pushlightuserdata(L, w);
  lua_pushlightuserdata(L, (void *)t);
  if (lua_pcall(L, 2, 0, 1) == LUA_OK) {
    lua_settop(L, 0);
    return true;
  }
  lua_pushcfunction(L, failure_text);
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) *why = mem_strdup(lua_tostring(L, -1));
  worker_close(w);
  return false;
}

void worker_close(Worker *w) {
  lua_close(w->L);
  uv_mutex_destroy(&w->lock);
  setup_unref(w->setup);
  setup_unref(w->renewal);
}

/* Interrupting */

void worker_interrupt(Worker *w) {
  uv_mutex_lock(&w->lock);
  if (w->interrupt) w->interrupt(w->arg);
  uv_mutex_unlock(&w->lock);
}

void worker_on_interrupt(Worker *w, void (*interrupt)(void *arg), void *arg) {
  uv_mutex_lock(&w->lock);
  w->interrupt = interrupt;
  w->arg = arg;
  uv_mutex_unlock(&w->lock);
}
