/*
** made.c - tracebacks as text; and those of errors where they were made, for who catches them at once.
**
** A task's end knows the whole way of an error, but then somebody may have caught it long before. So each Error is made
** with a traceback, which is weakly noted as such: it gives way to a better one.
*/
#include "core/made.h"

#include <stdio.h>
#include <string.h>

#define MOST_FRAMES 20

static const char made_key = 0; /* registry: an error with the traceback of where it was made → its stack, weak */

/* Lua finds public functions in the modules that they are from, or in asyncio itself, as it happens. */
void asy_name_publicly(lua_State *L) {
  static const char *const MODULES[] = {"core",   "runner",     "streams", "tasks", "threads", "timeouts",
                                        "racing", "connecting", "serving", NULL};
  char name[40];
  for (int i = 0; MODULES[i] && strstr(lua_tostring(L, -1), "'asyncio."); i++) {
    snprintf(name, sizeof name, "function 'asyncio.%s.", MODULES[i]);
    if (!strstr(lua_tostring(L, -1), name)) continue;
    luaL_gsub(L, lua_tostring(L, -1), name, "function 'asyncio.");
    lua_replace(L, -2);
  }
}

void asy_traceback(lua_State *L, lua_State *co, int level) {
  luaL_traceback(L, co, NULL, level);
  asy_name_publicly(L);
}

/* The function of a frame, as luaL_traceback has it, but that it looks for none in all modules: that takes most of its
** time, and errors are made often. */
static void push_function(lua_State *L, const lua_Debug *ar) {
  if (*ar->namewhat)
    lua_pushfstring(L, "%s '%s'", strcmp(ar->namewhat, "global") ? ar->namewhat : "function", ar->name);
  else if (*ar->what == 'm')
    lua_pushliteral(L, "main chunk");
  else if (*ar->what == 'C')
    lua_pushliteral(L, "?");
  else
    lua_pushfstring(L, "function <%s:%d>", ar->short_src, ar->linedefined);
}

static void push_traceback(lua_State *L, int level) {
  luaL_Buffer b;
  lua_Debug ar;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, "stack traceback:");
  for (int i = 0; lua_getstack(L, level + i, &ar); i++) {
    if (i == MOST_FRAMES) {
      luaL_addstring(&b, "\n\t...");
      break;
    }
    lua_getinfo(L, "Sln", &ar);
    if (ar.currentline > 0)
      lua_pushfstring(L, "\n\t%s:%d: in ", ar.short_src, ar.currentline);
    else
      lua_pushfstring(L, "\n\t%s: in ", ar.short_src);
    luaL_addvalue(&b);
    push_function(L, &ar);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
}

void asy_made_begin(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &made_key);
}

void asy_made_note(lua_State *L, int level) {
  int err = lua_gettop(L);
  luaL_checkstack(L, 20, NULL);
  lua_pushliteral(L, "traceback");
  if (lua_rawget(L, err) == LUA_TNIL) {
    lua_pushliteral(L, "traceback");
    push_traceback(L, level);
    lua_rawset(L, err);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &made_key);
    lua_pushvalue(L, err);
    lua_pushlightuserdata(L, L);
    lua_rawset(L, -3);
  }
  lua_settop(L, err);
}

const lua_State *asy_made_on(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &made_key);
  lua_pushvalue(L, idx);
  lua_rawget(L, -2);
  const lua_State *stack = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return stack;
}

bool asy_made_forget(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  if (!asy_made_on(L, idx)) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &made_key);
  lua_pushvalue(L, idx);
  lua_pushnil(L);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  return true;
}
