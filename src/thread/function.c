/*
** function.c - functions that workers keep: the executor finds them, a worker's state has them ready.
*/
#include "thread/function.h"

#include "base/alloc.h"
#include "core/loop.h"
#include "thread/parcel.h"

#define MAX_UPVALUES 60   /* they are bits of an integer in the worker */
#define MAX_FUNCTIONS 256 /* kept ready in a worker */

/* The executor's own userdata, which holds a WorkerFunction for its table. */
typedef struct Kept {
  WorkerFunction *fn;
} Kept;

/* registry of a worker: functions that are kept, by their numbers; by the number's negative what
** find_itself said */
static const char functions_key = 0;

WorkerFunction *function_ref(WorkerFunction *fn) {
  atomic_fetch_add(&fn->refs, 1);
  return fn;
}

void function_unref(WorkerFunction *fn) {
  if (!fn || atomic_fetch_sub(&fn->refs, 1) != 1) return;
  parcel_free(&fn->message);
  mem_free(fn);
}

/* The executor's side */

static int kept__gc(lua_State *L) {
  Kept *kept = lua_touserdata(L, 1);
  function_unref(kept->fn);
  kept->fn = NULL;
  return 0;
}

/* Whether a call needs nothing of the function but its code: its upvalues are the globals or itself. */
static bool self_contained(lua_State *L, int idx) {
  if (lua_iscfunction(L, idx)) return false; /* sent by name */
  for (int i = 1; lua_getupvalue(L, idx, i); i++) {
    lua_pushglobaltable(L);
    bool ours = lua_rawequal(L, -1, -2) || lua_rawequal(L, -2, idx);
    lua_pop(L, 2);
    if (!ours || i > MAX_UPVALUES) return false;
  }
  return true;
}

/* stack: ..., table of functions; puts the function at `fn` into it, to be kept by the workers */
static WorkerFunction *keep_function(lua_State *L, Functions *f, int fn) {
  Kept *kept = lua_newuserdatauv(L, sizeof *kept, 0);
  kept->fn = NULL;
  if (luaL_newmetatable(L, "asyncio.Kept")) {
    lua_pushcfunction(L, kept__gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  kept->fn = mem_calloc(1, sizeof *kept->fn);
  if (!kept->fn) asy_nomemory(L);
  atomic_store(&kept->fn->refs, 1);
  kept->fn->id = ++f->made;
  lua_pushvalue(L, fn);
  if (!asy_parcel_pack(L, 1, CODEC_CALL, &kept->fn->message)) lua_error(L);
  lua_pushvalue(L, fn);
  lua_pushvalue(L, -2);
  lua_rawset(L, -4);
  lua_pop(L, 1);
  return kept->fn;
}

WorkerFunction *asy_functions_find(lua_State *L, Functions *f, int owner, int fn) {
  WorkerFunction *found = NULL;
  if (!self_contained(L, fn)) return NULL;
  if (lua_topointer(L, fn) == f->last) return f->last_fn;
  lua_getiuservalue(L, owner, FUNCTIONS_UV_SEEN);
  lua_pushvalue(L, fn);
  switch (lua_rawget(L, -2)) {
  case LUA_TUSERDATA: found = ((Kept *)lua_touserdata(L, -1))->fn; break;
  case LUA_TNIL:
    lua_pushvalue(L, fn);
    lua_pushboolean(L, 1);
    lua_rawset(L, -4);
    break;
  default:
    lua_pop(L, 1);
    found = keep_function(L, f, fn);
    lua_pushnil(L);
  }
  lua_pop(L, 2);
  if (!found) return NULL;
  lua_pushvalue(L, fn);
  lua_setiuservalue(L, owner, FUNCTIONS_UV_LAST);
  f->last = lua_topointer(L, fn);
  f->last_fn = found;
  return found;
}

/* The worker's side */

void asy_functions_open(lua_State *L) {
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &functions_key);
}

/* Which upvalues of the function on the top are that function itself, when all others are the globals;
** else -1: it is a module's, found here by its name, and has what it has. */
static lua_Integer find_itself(lua_State *L) {
  lua_Integer bits = 0;
  lua_pushglobaltable(L);
  for (int i = 1; bits >= 0 && lua_getupvalue(L, -2, i); i++) {
    if (lua_rawequal(L, -1, -3))
      bits |= (lua_Integer)1 << i;
    else if (!lua_rawequal(L, -1, -2))
      bits = -1;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return bits;
}

/* They are set anew, should the function have changed them. */
static void renew_upvalues(lua_State *L, lua_Integer itself) {
  for (int i = 1; lua_getupvalue(L, -1, i); i++) {
    lua_pop(L, 1);
    if (itself >> i & 1)
      lua_pushvalue(L, -1);
    else
      lua_pushglobaltable(L);
    lua_setupvalue(L, -2, i);
  }
}

void asy_function_push(lua_State *L, int *kept, const WorkerFunction *fn) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &functions_key);
  if (lua_rawgeti(L, -1, fn->id) == LUA_TNIL) {
    lua_pop(L, 1);
    if ((*kept)++ >= MAX_FUNCTIONS) { /* they may all have gone out of use */
      *kept = 1;
      lua_pop(L, 1);
      asy_functions_open(L);
      lua_rawgetp(L, LUA_REGISTRYINDEX, &functions_key);
    }
    asy_codec_decode(L, buffer_bytes(&fn->message), buffer_length(&fn->message), true);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, fn->id);
    lua_pushinteger(L, find_itself(L));
    lua_rawseti(L, -3, -fn->id);
  } else {
    lua_rawgeti(L, -2, -fn->id);
    lua_Integer itself = lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (itself >= 0) renew_upvalues(L, itself);
  }
  lua_remove(L, -2);
}
