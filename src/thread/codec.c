/*
** codec.c - the codec as the specs call it.
*/
#include "thread/codec.h"
#include "open.h"

#define MESSAGE "asyncio.Message"

/* codec_encode(...) → a string */
static int codec_encode_values(lua_State *L) {
  int n = lua_gettop(L);
  luaL_checkstack(L, 2, NULL);
  Buffer *out = lua_newuserdatauv(L, sizeof *out, 0);
  *out = (Buffer){NULL, 0, 0, 0};
  luaL_setmetatable(L, MESSAGE);
  asy_codec_encode(L, 1, n, CODEC_ARGUMENT, out);
  lua_pushlstring(L, buffer_bytes(out), buffer_length(out));
  buffer_free(out);
  return 1;
}

/* codec_decode(bytes, trusted) → the values */
static int codec_decode_values(lua_State *L) {
  size_t length;
  const char *bytes = luaL_checklstring(L, 1, &length);
  return asy_codec_decode(L, bytes, length, lua_toboolean(L, 2));
}

static int message__gc(lua_State *L) {
  buffer_free(luaL_checkudata(L, 1, MESSAGE));
  return 0;
}

static const luaL_Reg functions[] = {
    {"codec_encode", codec_encode_values}, {"codec_decode", codec_decode_values}, {NULL, NULL}};

void asy_open_codec(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  luaL_newmetatable(L, MESSAGE);
  lua_pushcfunction(L, message__gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}
