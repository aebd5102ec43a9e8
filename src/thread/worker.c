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
#include "core/process.h"
#include "core/words.h"
#include "thread/codec.h"
#include "thread/parcel.h"

static const char traceback_key = 0; /* registry: the traceback of the last error */

/* The parent's side: what a state is made from */

/* Whether the value on the top, which it pops, can be sent. */
static bool crosses(lua_State *L) {
  Buffer trial = {NULL, 0, 0, 0};
  bool ok = asy_parcel_pack(L, 1, CODEC_VALUE, &trial);
  if (!ok) lua_pop(L, 1);
  parcel_free(&trial);
  return ok;
}

/* Pushes what of package.preload can be had elsewhere: Lua functions that can be sent, and C functions,
** as their addresses. stack: ..., package */
static void push_preloaded(lua_State *L) {
  int package = lua_gettop(L), sent = package + 1, found;
  lua_newtable(L);
  lua_newtable(L);
  lua_getfield(L, package, "preload");
  found = lua_istable(L, -1);
  if (found) lua_pushnil(L);
  while (found && lua_next(L, sent + 2)) {
    lua_CFunction c = lua_tocfunction(L, -1);
    bool plain = c && !lua_getupvalue(L, -1, 1);
    if (lua_type(L, -2) == LUA_TSTRING && plain && process_pin((void *)(uintptr_t)c)) {
      lua_pushvalue(L, -2);
      lua_pushinteger(L, (lua_Integer)(intptr_t)c);
      lua_rawset(L, sent + 1);
    } else if (lua_type(L, -2) == LUA_TSTRING && !c && (lua_pushvalue(L, -1), crosses(L))) {
      lua_pushvalue(L, -2);
      lua_pushvalue(L, -2);
      lua_rawset(L, sent);
    }
    lua_settop(L, sent + 3);
  }
  lua_settop(L, sent + 1);
}

/* Pushes all that a state is made from: path, cpath, arg, preloaded Lua and C functions. */
static int push_state(lua_State *L) {
  luaL_checkstack(L, 12, NULL);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, LUA_LOADLIBNAME);
  lua_remove(L, -2);
  if (!lua_istable(L, -1)) { /* a host without the library */
    lua_pop(L, 1);
    lua_newtable(L);
  }
  int package = lua_gettop(L);
  lua_getfield(L, package, "path");
  lua_getfield(L, package, "cpath");
  lua_pushglobaltable(L);
  lua_pushliteral(L, "arg");
  lua_rawget(L, -2); /* raw: some scripts forbid globals that aren't there */
  lua_remove(L, -2);
  lua_pushvalue(L, -1);
  if (!crosses(L)) {
    lua_pushnil(L);
    lua_replace(L, -2);
  }
  lua_pushvalue(L, package);
  push_preloaded(L);
  lua_remove(L, -3);
  lua_remove(L, package);
  return 5;
}

void asy_worker_setup(lua_State *L, WorkerSetup *setup) {
  bool initialized = !lua_isnil(L, -1);
  memset(setup, 0, sizeof *setup);
  setup->open = asy_runtime(L)->open;
  pthread_sigmask(SIG_SETMASK, NULL, &setup->mask);
  lua_pushvalue(L, -1);
  if (initialized && !asy_parcel_pack(L, 1, CODEC_CALL, &setup->initializer)) lua_error(L);
  if (!initialized) lua_pop(L, 1);
  lua_pushcfunction(L, push_state);
  if (lua_pcall(L, 0, 5, 0) != LUA_OK || !asy_parcel_pack(L, 5, CODEC_VALUE, &setup->state)) {
    worker_setup_free(setup);
    lua_error(L);
  }
  lua_pop(L, 1);
}

void worker_setup_free(WorkerSetup *setup) {
  parcel_free(&setup->state);
  parcel_free(&setup->initializer);
}

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
  luaL_traceback(L, L, NULL, 1);
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

/* arg: call (light) */
static int call(lua_State *L) {
  Call *c = lua_touserdata(L, 1);
  lua_settop(L, 0);
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
  if (status != LUA_OK) {
    lua_remove(L, 1);
    outcome = pack_error(L, message);
  }
  lua_settop(L, 0);
  w->cancelled = NULL;
  return outcome;
}

/* Making the state */

/* args: setup (light). stack: setup, path, cpath, arg, preloaded Lua, preloaded C */
static void apply_state(lua_State *L) {
  lua_getglobal(L, LUA_LOADLIBNAME);
  int package = lua_gettop(L);
  lua_pushvalue(L, 2);
  lua_setfield(L, package, "path");
  lua_pushvalue(L, 3);
  lua_setfield(L, package, "cpath");
  lua_pushvalue(L, 4);
  lua_setglobal(L, "arg");
  lua_getfield(L, package, "preload");
  for (int from = 5; from <= 6; from++)
    for (lua_pushnil(L); lua_next(L, from); lua_pop(L, 1)) {
      lua_pushvalue(L, -2);
      if (from == 6)
        lua_pushcfunction(L, (lua_CFunction)(intptr_t)lua_tointeger(L, -2));
      else
        lua_pushvalue(L, -2);
      lua_rawset(L, package + 1);
    }
}

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

/* args: worker, setup (both light) */
static int open_state(lua_State *L) {
  Worker *w = lua_touserdata(L, 1);
  const WorkerSetup *setup = lua_touserdata(L, 2);
  lua_settop(L, 1);
  luaL_openlibs(L);
  unblock_programs(L, &setup->mask);
  luaL_requiref(L, "asyncio.core", setup->open, 0);
  asy_runtime(L)->worker = w;
  asy_functions_open(L);
  lua_settop(L, 1);
  asy_codec_decode(L, buffer_bytes(&setup->state), buffer_length(&setup->state), true);
  apply_state(L);
  if (!buffer_length(&setup->initializer)) return 0;
  asy_codec_decode(L, buffer_bytes(&setup->initializer), buffer_length(&setup->initializer), true);
  lua_call(L, 0, 0);
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

bool worker_open(Worker *w, const WorkerSetup *setup, char **why) {
  memset(w, 0, sizeof *w);
  *why = NULL;
  lua_State *L = w->L = asy_newstate();
  if (!L) return false;
  if (mutex_init(&w->lock)) {
    lua_close(L);
    return false;
  }
  lua_pushcfunction(L, on_error);
  lua_pushcfunction(L, open_state);
  lua_pushlightuserdata(L, w);
  lua_pushlightuserdata(L, (void *)setup);
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
