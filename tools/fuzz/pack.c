/*
** fuzz/pack.c - MessagePack from whoever sends it: no byte beyond the last is looked at, no more is announced than can
** come, and what is read can be written, no longer than it was, and is the same again. And to Lua: a value, or nil and
** why; a value can be packed, and its bytes are the same however often.
**
** Input: the bytes.
*/
#include "pack/pack.h"

#include <lualib.h>

#include <stdlib.h>
#include <string.h>

#define STREAM 4096
#define INPUTS 20000 /* for one Lua state */

int luaopen_asyncio_grammar(lua_State *L);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check(bool holds) {
  if (!holds) abort();
}

static char *write_token(char *to, const PackToken *t) {
  switch (t->kind) {
  case PACK_NIL: return pack_put_nil(to);
  case PACK_BOOLEAN: return pack_put_boolean(to, t->integer);
  case PACK_INTEGER: return pack_put_integer(to, t->integer);
  case PACK_FLOAT: return pack_put_float(to, t->number);
  case PACK_LIST: return pack_put_list(to, t->length);
  case PACK_MAP: return pack_put_map(to, t->length);
  case PACK_STRING: break;
  }
  to = pack_put_string(to, t->length, t->length % 2);
  memcpy(to, t->bytes, t->length);
  return to + t->length;
}

/* Reads a value, and writes its tokens at `to`; where they end, NULL if it is none. `values` that are still to come of
** each container are on a stack. */
static char *copy(const char *bytes, size_t length, char *to) {
  static uint64_t left[PACK_DEPTH + 1];
  int depth = 0;
  PackReader r;
  PackToken t;
  pack_reader_init(&r, bytes, length, PACK_DEPTH);
  do {
    if (depth > 0) left[depth]--;
    size_t before = r.at;
    if (!pack_next(&r, &t)) {
      check(r.why != NULL && r.at == before);
      check(!pack_next(&r, &t) && r.at == before);
      return NULL;
    }
    check(r.at > before && r.at <= length && r.owed <= length - r.at);
    if (t.kind == PACK_STRING) check(t.bytes >= bytes && t.bytes + t.length <= bytes + r.at);
    if (t.kind >= PACK_LIST) check(t.length <= length - r.at);
    to = write_token(to, &t);
    if (t.kind >= PACK_LIST) left[++depth] = t.kind == PACK_MAP ? 2 * t.length : t.length;
    check(depth == r.depth);
    while (depth > 0 && left[depth] == 0) depth--, pack_leave(&r);
  } while (depth > 0);
  check(r.owed == 0);
  return to;
}

static void read_and_write(const char *bytes, size_t length) {
  static char once[5 * STREAM], twice[5 * STREAM]; /* a float of four bytes becomes one of eight */
  char *exact = malloc(length + 1);
  check(exact != NULL);
  memcpy(exact, bytes, length);
  char *end = copy(exact, length, once);
  free(exact);
  if (!end) return;
  size_t n = (size_t)(end - once);
  char *again = copy(once, n, twice);
  check(again && (size_t)(again - twice) == n && memcmp(once, twice, n) == 0);
}

/* unpack, and, if it is a value, pack and unpack and pack */
static int to_lua(lua_State *L) {
  lua_settop(L, 1);
  lua_getfield(L, lua_upvalueindex(1), "unpack");
  lua_pushvalue(L, 1);
  lua_call(L, 1, 3);
  if (lua_isnil(L, 2)) {
    check(lua_type(L, 3) == LUA_TSTRING && lua_isinteger(L, 4));
    return 0;
  }
  lua_getfield(L, lua_upvalueindex(1), "pack");
  lua_pushvalue(L, 3);
  lua_call(L, 1, 1);
  size_t n, m;
  const char *packed = lua_tolstring(L, 5, &n);
  check(packed != NULL);
  lua_getfield(L, lua_upvalueindex(1), "unpack");
  lua_pushvalue(L, 5);
  lua_call(L, 1, 2);
  check((size_t)lua_tointeger(L, 6) == n + 1);
  lua_getfield(L, lua_upvalueindex(1), "pack");
  lua_pushvalue(L, 7);
  lua_call(L, 1, 1);
  check(lua_tolstring(L, 8, &m) && m == n); /* maps may be in another order */
  return 0;
}

static lua_State *open_state(void) {
  lua_State *L = luaL_newstate();
  check(L != NULL);
  luaL_openlibs(L);
  lua_pushcfunction(L, luaopen_asyncio_grammar);
  lua_call(L, 0, 1);
  lua_pushcclosure(L, to_lua, 1);
  return L;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
  static lua_State *L;
  static int inputs;
  if (length > STREAM) return 0;
  read_and_write((const char *)bytes, length);
  if (!L) L = open_state();
  lua_pushvalue(L, 1);
  lua_pushlstring(L, (const char *)bytes, length);
  check(lua_pcall(L, 1, 0, 0) == LUA_OK);
  if (++inputs % INPUTS == 0) {
    lua_close(L);
    L = NULL;
  }
  return 0;
}
