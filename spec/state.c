/*
** state.c - another Lua state of the process, as an object, for the specs: they compile it.
**
**     local other = require("state").new(package.path, package.cpath)
**     local ok, ... = other:run(chunk, ...)   strings and nothing else go in and come out
**     other:fail_after(n)                     its allocator then gives n blocks more; -1: no limit
**     other:bytes()                           what it has allocated
**     other:close()
*/
#include <lauxlib.h>
#include <lualib.h>

#include <stdlib.h>

#define STATE "spec.State"

typedef struct State {
  lua_State *L;
  long left; /* blocks that may still be had; below 0: no limit */
  size_t bytes;
} State;

static void *allocate(void *ud, void *block, size_t old, size_t size) {
  State *s = ud;
  if (!block) old = 0;
  if (!size) {
    free(block);
    s->bytes -= old;
    return NULL;
  }
  if (size > old) {
    if (s->left == 0) return NULL;
    if (s->left > 0) s->left--;
  }
  void *new = realloc(block, size);
  if (new) s->bytes += size - old;
  return new;
}

static State *check(lua_State *L) {
  State *s = luaL_checkudata(L, 1, STATE);
  luaL_argcheck(L, s->L, 1, "closed");
  return s;
}

static int open_libs(lua_State *L) {
  luaL_openlibs(L);
  lua_getglobal(L, "package");
  lua_pushstring(L, lua_touserdata(L, 1));
  lua_setfield(L, -2, "path");
  lua_pushstring(L, lua_touserdata(L, 2));
  lua_setfield(L, -2, "cpath");
  return 0;
}

static int state_new(lua_State *L) {
  const char *path = luaL_checkstring(L, 1), *cpath = luaL_checkstring(L, 2);
  State *s = lua_newuserdatauv(L, sizeof *s, 0);
  s->left = -1;
  s->bytes = 0;
  s->L = NULL;
  luaL_setmetatable(L, STATE);
#if LUA_VERSION_NUM > 504
  s->L = lua_newstate(allocate, s, luaL_makeseed(NULL));
#else
  s->L = lua_newstate(allocate, s);
#endif
  if (!s->L) return luaL_error(L, "not enough memory");
  lua_pushcfunction(s->L, open_libs);
  lua_pushlightuserdata(s->L, (void *)path);
  lua_pushlightuserdata(s->L, (void *)cpath);
  if (lua_pcall(s->L, 2, 0, 0) != LUA_OK) return luaL_error(L, "%s", lua_tostring(s->L, -1));
  return 1;
}

typedef struct Call {
  lua_State *from;
  int n; /* the chunk and its arguments are at 2..n there */
} Call;

/* In the other state, protected: loads the chunk and calls it. */
static int run(lua_State *L) {
  Call *call = lua_touserdata(L, 1);
  lua_settop(L, 0);
  for (int i = 2; i <= call->n; i++) {
    size_t length;
    const char *s = lua_tolstring(call->from, i, &length);
    if (i > 2)
      lua_pushlstring(L, s, length);
    else if (luaL_loadbuffer(L, s, length, "=chunk") != LUA_OK)
      return lua_error(L);
  }
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

static int state_run(lua_State *L) {
  State *s = check(L);
  Call call = {L, lua_gettop(L)};
  for (int i = 2; i <= call.n; i++) luaL_checkstring(L, i);
  lua_settop(s->L, 0);
  lua_pushcfunction(s->L, run);
  lua_pushlightuserdata(s->L, &call);
  int ok = lua_pcall(s->L, 1, LUA_MULTRET, 0) == LUA_OK, n = lua_gettop(s->L);
  lua_pushboolean(L, ok);
  luaL_checkstack(L, n, NULL);
  for (int i = 1; i <= n; i++) {
    size_t length;
    const char *text = lua_tolstring(s->L, i, &length);
    if (text)
      lua_pushlstring(L, text, length);
    else
      lua_pushnil(L);
  }
  lua_settop(s->L, 0);
  return n + 1;
}

static int state_fail_after(lua_State *L) {
  State *s = check(L);
  s->left = (long)luaL_checkinteger(L, 2);
  return 0;
}

static int state_bytes(lua_State *L) {
  State *s = check(L);
  lua_gc(s->L, LUA_GCCOLLECT);
  lua_gc(s->L, LUA_GCCOLLECT);
  lua_pushinteger(L, (lua_Integer)s->bytes);
  return 1;
}

static int state_close(lua_State *L) {
  State *s = luaL_checkudata(L, 1, STATE);
  s->left = -1;
  if (s->L) lua_close(s->L);
  s->L = NULL;
  return 0;
}

static const luaL_Reg methods[] = {{"run", state_run},     {"fail_after", state_fail_after},
                                   {"bytes", state_bytes}, {"close", state_close},
                                   {"__gc", state_close},  {"__close", state_close},
                                   {NULL, NULL}};

int luaopen_state(lua_State *L);

int luaopen_state(lua_State *L) {
  luaL_newmetatable(L, STATE);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_newtable(L);
  lua_pushcfunction(L, state_new);
  lua_setfield(L, -2, "new");
  return 1;
}
