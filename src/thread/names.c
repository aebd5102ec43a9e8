/*
** names.c - the names of modules and of the functions in them.
**
** The registry has three things: `owners`, from each module and function to its module's name;
** `fields`, from each function to its own; and the fingerprint of package.loaded as it was then.
** Their entries are strong, so that no address in the fingerprint is used again.
*/
#include "thread/names.h"

#include <string.h>

static const char names_key = 0; /* registry: {owners, fields, fingerprint} */

enum { OWNERS = 1, FIELDS, FINGERPRINT };

/* What every state has; these names are preferred. */
static const char *const STANDARD[] = {"_G", "coroutine", "debug",  "io",    "math",
                                       "os", "package",   "string", "table", "utf8"};

static bool is_standard(const char *name) {
  for (size_t i = 0; i < sizeof STANDARD / sizeof *STANDARD; i++)
    if (!strcmp(STANDARD[i], name)) return true;
  return false;
}

/* The shorter of two names, the first in the alphabet when they are as long. */
static int compare(const char *a, const char *b) {
  size_t n = strlen(a), m = strlen(b);
  if (n != m) return n < m ? -1 : 1;
  return strcmp(a, b);
}

/* Whether the names in the slots `a` (module) and a + 1 (field or nil) are better than those at `b`. */
static bool is_better(lua_State *L, int a, int b) {
  const char *module = lua_tostring(L, a), *before = lua_tostring(L, b);
  if (is_standard(module) != is_standard(before)) return is_standard(module);
  if (strcmp(module, before) != 0) return compare(module, before) < 0;
  if (lua_isnil(L, a + 1) || lua_isnil(L, b + 1)) return lua_isnil(L, a + 1);
  return compare(lua_tostring(L, a + 1), lua_tostring(L, b + 1)) < 0;
}

/* The object gets these names, unless it has better ones. All are stack indices; field 0: none. */
static void offer(lua_State *L, int names, int object, int module, int field) {
  int top = lua_gettop(L);
  lua_pushvalue(L, module);
  if (field)
    lua_pushvalue(L, field);
  else
    lua_pushnil(L);
  for (int i = 0; i < 2; i++) { /* stack: module, field, module before, field before */
    lua_pushvalue(L, object);
    lua_rawget(L, names + i);
  }
  if (lua_isnil(L, top + 3) || is_better(L, top + 1, top + 3)) {
    for (int i = 0; i < 2; i++) {
      lua_pushvalue(L, object);
      lua_pushvalue(L, top + 1 + i);
      lua_rawset(L, names + i);
    }
  }
  lua_settop(L, top);
}

/* The functions in a module; in the table of globals those in C only. */
static void learn_functions(lua_State *L, int names, int name, int module, bool globals) {
  int top = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, module); lua_settop(L, top + 1)) {
    if (lua_type(L, top + 1) != LUA_TSTRING) continue;
    if (globals ? lua_iscfunction(L, top + 2) : lua_isfunction(L, top + 2))
      offer(L, names, top + 2, name, top + 1);
  }
}

/* One entry of package.loaded. */
static void learn_module(lua_State *L, int names, int name, int module) {
  int top = lua_gettop(L);
  lua_pushglobaltable(L);
  if (!strcmp(lua_tostring(L, name), "_G")) {
    learn_functions(L, names, name, top + 1, true);
  } else if (!lua_rawequal(L, top + 1, module)) {
    offer(L, names, module, name, 0);
    if (lua_istable(L, module)) learn_functions(L, names, name, module, false);
  }
  lua_settop(L, top);
}

/* stack: ..., key, value of package.loaded */
static bool is_module(lua_State *L) {
  int type = lua_type(L, -1);
  return lua_type(L, -2) == LUA_TSTRING &&
         (type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA);
}

/* Differs whenever package.loaded holds other things, or under other names. */
static lua_Integer fingerprint(lua_State *L, int loaded) {
  uint64_t sum = 0;
  for (lua_pushnil(L); lua_next(L, loaded); lua_pop(L, 1)) {
    if (!is_module(L)) continue;
    uint64_t key = (uintptr_t)lua_tostring(L, -2), value = (uintptr_t)lua_topointer(L, -1);
    uint64_t mixed = (key * 0x9E3779B97F4A7C15u) ^ value;
    sum += (mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9u;
  }
  return (lua_Integer)sum;
}

/* stack: record, ..., loaded → record, ... */
static void learn(lua_State *L, int record) {
  int loaded = lua_gettop(L), names = loaded + 1;
  lua_Integer as_it_was = fingerprint(L, loaded);
  lua_newtable(L);
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, loaded); lua_pop(L, 1))
    if (is_module(L)) learn_module(L, names, names + 2, names + 3);
  lua_rawseti(L, record, FIELDS);
  lua_rawseti(L, record, OWNERS);
  lua_pushinteger(L, as_it_was);
  lua_rawseti(L, record, FINGERPRINT);
  lua_settop(L, loaded - 1);
}

void asy_names_push(lua_State *L, bool anew) {
  luaL_checkstack(L, 16, NULL);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  int loaded = lua_gettop(L), record = loaded + 1;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &names_key);
  }
  lua_rawgeti(L, record, FINGERPRINT);
  if (anew || lua_isnil(L, -1) || lua_tointeger(L, -1) != fingerprint(L, loaded)) {
    lua_pushvalue(L, loaded);
    learn(L, record);
  }
  lua_settop(L, record);
  lua_rawgeti(L, record, OWNERS);
  lua_rawgeti(L, record, FIELDS);
  lua_remove(L, record);
  lua_rotate(L, loaded, -1); /* owners, fields, loaded */
}

bool asy_name_find(lua_State *L, int names, int idx) {
  int top = lua_gettop(L);
  lua_pushvalue(L, idx);
  if (lua_rawget(L, names) != LUA_TSTRING) {
    lua_settop(L, top);
    return false;
  }
  lua_pushvalue(L, idx);
  lua_rawget(L, names + 1);
  if (!strcmp(lua_tostring(L, top + 1), "_G")) {
    lua_pushglobaltable(L);
  } else {
    lua_pushvalue(L, top + 1);
    lua_rawget(L, names + 2);
  }
  if (lua_istable(L, -1) && !lua_isnil(L, top + 2)) {
    lua_pushvalue(L, top + 2);
    lua_rawget(L, -2);
  }
  bool found = lua_rawequal(L, -1, idx);
  lua_settop(L, found ? top + 2 : top);
  return found;
}

/* stack: ..., name → ..., module */
static void load_module(lua_State *L) {
  lua_pushglobaltable(L);
  lua_pushliteral(L, "require");
  if (lua_rawget(L, -2) != LUA_TFUNCTION)
    luaL_error(L, "the module '%s' is not loaded here, and there is no 'require'",
               lua_tostring(L, -3));
  lua_pushvalue(L, -3);
  lua_call(L, 1, 1);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

void asy_module_push(lua_State *L, bool load) {
  int name = lua_gettop(L);
  luaL_checkstack(L, 6, NULL);
  if (!strcmp(lua_tostring(L, name), "_G")) {
    lua_pushglobaltable(L);
  } else {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, name);
    lua_rawget(L, -2);
    if (!lua_toboolean(L, -1)) {
      if (!load) luaL_error(L, "the module '%s' is not loaded here", lua_tostring(L, name));
      lua_pushvalue(L, name);
      load_module(L);
    }
  }
  lua_replace(L, name);
  lua_settop(L, name);
}
