/*
** setup.c - where a worker's state finds its modules. The message has five values: path, cpath, arg, a table of
** the preloaded Lua functions, and one of those in C, as addresses.
*/
#include "thread/setup.h"

#include <lualib.h>

#include "base/alloc.h"
#include "core/process.h"
#include "core/runtime.h"
#include "thread/codec.h"
#include "thread/parcel.h"

/* registry of a worker: what it has from its parent, by name; [1]: likewise of package.preload */
static const char given_key = 0;

static const char package_key = 0; /* registry: the library's table */

enum { PATH = 1, CPATH, ARG, PRELOAD_LUA, PRELOAD_C, VALUES = PRELOAD_C };

/* The parent's side */

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

/* Pushes the library's table; an empty one in a host without it. */
static void push_package(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &package_key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, LUA_LOADLIBNAME);
  lua_remove(L, -2);
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
  }
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &package_key);
}

/* Pushes the global; raw: some scripts forbid globals that aren't there. */
static void push_arg(lua_State *L) {
  lua_pushglobaltable(L);
  lua_pushliteral(L, "arg");
  lua_rawget(L, -2);
  lua_remove(L, -2);
}

/* → the five values */
static int push_values(lua_State *L) {
  luaL_checkstack(L, 12, NULL);
  push_package(L);
  int package = lua_gettop(L);
  lua_getfield(L, package, "path");
  lua_getfield(L, package, "cpath");
  push_arg(L);
  lua_pushvalue(L, -1);
  if (!crosses(L)) {
    lua_pushnil(L);
    lua_replace(L, -2);
  }
  lua_pushvalue(L, package);
  push_preloaded(L);
  lua_remove(L, -3);
  lua_remove(L, package);
  return VALUES;
}

Setup *asy_setup_new(lua_State *L) {
  Buffer message = {NULL, 0, 0, 0};
  lua_pushcfunction(L, push_values);
  lua_call(L, 0, VALUES);
  if (!asy_parcel_pack(L, VALUES, CODEC_VALUE, &message)) lua_error(L);
  Setup *setup = mem_alloc(sizeof *setup);
  if (!setup) {
    parcel_free(&message);
    asy_nomemory(L);
  }
  atomic_init(&setup->refs, 1);
  setup->message = message;
  return setup;
}

Setup *setup_ref(Setup *setup) {
  atomic_fetch_add(&setup->refs, 1);
  return setup;
}

void setup_unref(Setup *setup) {
  if (!setup || atomic_fetch_sub(&setup->refs, 1) != 1) return;
  parcel_free(&setup->message);
  mem_free(setup);
}

static uint64_t address(lua_State *L, int idx) { return (uintptr_t)lua_topointer(L, idx); }

static uint64_t mix(uint64_t sum, uint64_t more) {
  sum = (sum ^ more) * 0xBF58476D1CE4E5B9u;
  return sum ^ sum >> 29;
}

/* Each call of to_thread asks, so it is no more than these lookups. */
uint64_t asy_setup_fingerprint(lua_State *L) {
  uint64_t sum = 0;
  push_package(L);
  lua_getfield(L, -1, "path");
  lua_getfield(L, -2, "cpath");
  sum = mix(mix(sum, address(L, -2)), address(L, -1));
  lua_getfield(L, -3, "preload");
  if (lua_istable(L, -1))
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) sum += mix(address(L, -2), address(L, -1));
  lua_pushglobaltable(L);
  lua_pushliteral(L, "arg");
  lua_rawget(L, -2);
  sum = mix(sum, address(L, -1));
  lua_pop(L, 6);
  return sum;
}

void asy_setup_anchor(lua_State *L) {
  luaL_checkstack(L, 8, NULL);
  lua_createtable(L, 3, 4);
  int list = lua_gettop(L), n = 0;
  push_package(L);
  lua_getfield(L, -1, "path");
  lua_rawseti(L, list, ++n);
  lua_getfield(L, -1, "cpath");
  lua_rawseti(L, list, ++n);
  push_arg(L);
  lua_rawseti(L, list, ++n);
  lua_getfield(L, -1, "preload");
  if (lua_istable(L, -1))
    for (lua_pushnil(L); lua_next(L, -2);) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_rawset(L, list);
    }
  lua_settop(L, list);
}

/* The worker's side */

/* holder[name] = the value at idx, unless the worker has set something else than what was given before. */
static void give(lua_State *L, int holder, const char *name, int idx, int given, bool first) {
  int top = lua_gettop(L);
  lua_pushstring(L, name);
  lua_pushvalue(L, top + 1);
  lua_rawget(L, holder);
  lua_pushvalue(L, top + 1);
  lua_rawget(L, given);
  if (first || lua_rawequal(L, top + 2, top + 3)) {
    lua_settop(L, top + 1);
    lua_pushvalue(L, top + 1);
    lua_pushvalue(L, idx);
    lua_rawset(L, given);
    lua_pushvalue(L, idx);
    lua_rawset(L, holder);
  }
  lua_settop(L, top);
}

enum { GIVEN = VALUES + 1, GIVEN_PRELOAD, PACKAGE, GLOBALS, PRELOAD }; /* on the stack, above the values */

/* stack: the five values, given, given preload */
static void apply(lua_State *L, bool first) {
  push_package(L); /* not the global: a job may have taken that away */
  lua_pushglobaltable(L);
  lua_getfield(L, PACKAGE, "preload");
  give(L, PACKAGE, "path", PATH, GIVEN, first);
  give(L, PACKAGE, "cpath", CPATH, GIVEN, first);
  give(L, GLOBALS, "arg", ARG, GIVEN, first);
  if (!lua_istable(L, PRELOAD)) return;
  for (int from = PRELOAD_LUA; from <= PRELOAD_C; from++)
    for (lua_pushnil(L); lua_next(L, from); lua_settop(L, PRELOAD + 1)) {
      if (from == PRELOAD_C) lua_pushcfunction(L, (lua_CFunction)(intptr_t)lua_tointeger(L, -1));
      give(L, PRELOAD, lua_tostring(L, PRELOAD + 1), lua_gettop(L), GIVEN_PRELOAD, first);
    }
}

/* arg: setup (light) */
static int apply_message(lua_State *L) {
  const Setup *setup = lua_touserdata(L, 1);
  lua_settop(L, 0);
  asy_codec_decode(L, buffer_bytes(&setup->message), buffer_length(&setup->message), true);
  luaL_checkstack(L, 12, NULL);
  bool first = lua_rawgetp(L, LUA_REGISTRYINDEX, &given_key) == LUA_TNIL;
  if (first) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_newtable(L);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &given_key);
  }
  lua_rawgeti(L, GIVEN, 1);
  apply(L, first);
  return 0;
}

void asy_setup_apply(lua_State *L, const Setup *setup) {
  lua_pushcfunction(L, apply_message);
  lua_pushlightuserdata(L, (void *)setup);
  lua_call(L, 1, 0);
}
