/*
** optionsclass.c - tables of options of the Lua layer, and the list of all.
**
** What `core.options` makes is the same struct as C's, in a userdata whose user value keeps its strings.
*/
#include "core/options.h"

#include <string.h>

#include "open.h"

static const char tables_key = 0; /* registry: list of all Options, as light userdata, or the userdata they are in */

#define CLASS "asyncio.options"

static const char *const KINDS[] = {"any",    "boolean",  "integer", "seconds", "positive", "timeout",
                                    "string", "function", "callable", "choice", "object",   "table",   "list",
                                    "switch", NULL};
static const char *const FORMS[] = {"named", "constructor", "list", "all", NULL};

/* stack: ..., options as light userdata or in their userdata → ... */
static void note(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &tables_key);
  lua_insert(L, -2);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

void asy_options_note(lua_State *L, const Options *options) {
  lua_pushlightuserdata(L, (void *)options);
  note(L);
}

/* Made in Lua */

/* The field i of the table on the top, nil where there is none. */
static lua_Integer integer_at(lua_State *L, int i, lua_Integer fallback) {
  lua_Integer n = lua_rawgeti(L, -1, i) == LUA_TNIL ? fallback : lua_tointeger(L, -1);
  lua_pop(L, 1);
  return n;
}

static const char *string_at(lua_State *L, int i) {
  lua_rawgeti(L, -1, i);
  const char *text = lua_tostring(L, -1);
  lua_pop(L, 1); /* the table keeps it */
  return text;
}

/* stack: ..., {key, kind, ...} */
static OptSpec read_spec(lua_State *L) {
  OptSpec s = {.key = string_at(L, 1)};
  lua_rawgeti(L, -1, 2);
  s.kind = (OptKind)luaL_checkoption(L, lua_gettop(L), NULL, KINDS);
  lua_pop(L, 1);
  if (s.kind == OPT_INTEGER) {
    s.least = integer_at(L, 3, LUA_MININTEGER);
    s.most = integer_at(L, 4, LUA_MAXINTEGER);
  } else if (s.kind == OPT_CHOICE)
    s.choices = string_at(L, 3);
  else if (s.kind == OPT_TABLE || s.kind == OPT_SWITCH) {
    lua_rawgeti(L, -1, 3);
    s.inner = luaL_checkudata(L, -1, CLASS);
    lua_pop(L, 1);
  }
  lua_getfield(L, -1, "required");
  s.required = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return s;
}

/* options{call, argument, {key, kind, ...}, ..., form=, guesses=} → what is called with a value, and gives a table */
static int options_new(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  int n = (int)lua_rawlen(L, 1) - 2;
  Options *o = lua_newuserdatauv(L, sizeof *o + (size_t)n * sizeof(OptSpec), 1);
  OptSpec *specs = (OptSpec *)(o + 1);
  memset(o, 0, sizeof *o);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 2, 1);
  for (int i = 0; i < n; i++) {
    lua_rawgeti(L, 1, i + 3);
    specs[i] = read_spec(L);
    lua_settop(L, 2);
  }
  lua_getfield(L, 1, "form");
  OptForm form = (OptForm)luaL_checkoption(L, 3, "named", FORMS);
  lua_getfield(L, 1, "guesses");
  const char *guesses = lua_tostring(L, -1); /* the table keeps it */
  lua_pushvalue(L, 1);
  *o = (Options){string_at(L, 1), (int)integer_at(L, 2, 1), form, specs, n, guesses};
  lua_settop(L, 2);
  luaL_setmetatable(L, CLASS);
  lua_pushvalue(L, 2);
  note(L);
  return 1;
}

/* options(value, arg) → a table of its own; empty for nil. arg: which argument this is, where that isn't always the
** same; or nil */
static int options__call(lua_State *L) {
  Options o = *(const Options *)luaL_checkudata(L, 1, CLASS);
  if (lua_isinteger(L, 3)) o.arg = (int)lua_tointeger(L, 3);
  lua_settop(L, 2);
  asy_options_take(L, &o);
  return 1;
}

/* The list of all */

static void set_string(lua_State *L, const char *key, const char *text) {
  if (!text) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, key);
}

static void set_integer(lua_State *L, const char *key, lua_Integer n) {
  lua_pushinteger(L, n);
  lua_setfield(L, -2, key);
}

static void push_options(lua_State *L, const Options *o) {
  luaL_checkstack(L, 10, NULL);
  lua_createtable(L, o->n, 3);
  set_string(L, "call", o->call);
  set_string(L, "form", FORMS[o->form]);
  set_integer(L, "arg", o->arg);
  for (int i = 0; i < o->n; i++) {
    const OptSpec *s = &o->specs[i];
    lua_createtable(L, 0, 6);
    set_string(L, "key", s->key);
    set_string(L, "kind", KINDS[s->kind]);
    set_string(L, "choices", s->choices);
    if (s->kind == OPT_INTEGER) {
      set_integer(L, "least", s->least);
      set_integer(L, "most", s->most);
    }
    lua_pushboolean(L, s->required);
    lua_setfield(L, -2, "required");
    if (s->inner) {
      push_options(L, s->inner);
      lua_setfield(L, -2, "inner");
    }
    lua_rawseti(L, -2, i + 1);
  }
}

/* option_tables() → what each table of options may hold */
static int options_tables(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &tables_key);
  lua_newtable(L);
  for (int i = 1; lua_rawgeti(L, -2, i) != LUA_TNIL; i++) {
    push_options(L, lua_touserdata(L, -1));
    lua_rawseti(L, -3, i);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return 1;
}

static const luaL_Reg functions[] = {{"options", options_new}, {"option_tables", options_tables}, {NULL, NULL}};

/* stack: module */
void asy_open_options(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &tables_key);
  luaL_newmetatable(L, CLASS);
  lua_pushcfunction(L, options__call);
  lua_setfield(L, -2, "__call");
  lua_pop(L, 1);
}
