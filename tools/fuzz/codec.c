/*
** fuzz/codec.c - any bytes are decoded as a message that is not trusted: values, or a Lua error.
** What comes out is sent again, and must arrive.
**
**     clang -g -O1 -fsanitize=fuzzer,address,undefined -iquote src $(pkg-config --cflags lua5.4) \
**       tools/fuzz/codec.c $(find src -name "*.c") -o build-fuzz/codec -llua5.4 -luv -lpthread -ldl
**     mkdir -p build-fuzz/found && build-fuzz/codec -max_total_time=60 build-fuzz/found tools/fuzz/corpus/codec
*/
#include "thread/codec.h"

#include <lualib.h>

#include <stdlib.h>

int luaopen_asyncio_core(lua_State *L);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum { INPUTS = 2000 }; /* for one Lua state */

typedef struct Input {
  const char *bytes;
  size_t length;
} Input;

static int decode(lua_State *L) {
  Input *input = lua_touserdata(L, 1);
  return asy_codec_decode(L, input->bytes, input->length, false);
}

/* What was decoded crosses: names and classes are known here, and there was no function. It is not
** equal, though: a message may say things twice, and be deeper than what is said. */
static int encode(lua_State *L) {
  Buffer *out = lua_touserdata(L, lua_upvalueindex(1));
  asy_codec_encode(L, 1, lua_gettop(L), CODEC_RESULT, out);
  return 0;
}

static lua_State *open_state(void) {
  lua_State *L = luaL_newstate();
  if (!L) abort();
  luaL_openlibs(L);
  luaL_requiref(L, "asyncio.core", luaopen_asyncio_core, 0);
  lua_settop(L, 0);
  return L;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
  static lua_State *L;
  static int inputs;
  Input input = {(const char *)bytes, length};
  Buffer out = {NULL, 0, 0, 0};
  if (!L) L = open_state();
  lua_pushcfunction(L, decode);
  lua_pushlightuserdata(L, &input);
  if (lua_pcall(L, 1, LUA_MULTRET, 0) == LUA_OK) {
    lua_pushlightuserdata(L, &out);
    lua_pushcclosure(L, encode, 1);
    lua_insert(L, 1);
    if (lua_pcall(L, lua_gettop(L) - 1, 0, 0) == LUA_OK) {
      Input again = {buffer_bytes(&out), buffer_length(&out)};
      lua_pushcfunction(L, decode);
      lua_pushlightuserdata(L, &again);
      if (lua_pcall(L, 1, LUA_MULTRET, 0) != LUA_OK) abort();
    }
  }
  buffer_free(&out);
  lua_settop(L, 0);
  if (++inputs % INPUTS == 0) {
    lua_close(L);
    L = NULL;
  }
  return 0;
}
