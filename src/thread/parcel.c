/*
** parcel.c - messages of the codec, and who frees them.
*/
#include "thread/parcel.h"

#define KEEP 4096 /* bytes */

/* args: parcel (light), what, values */
static int pack(lua_State *L) {
  asy_codec_encode(L, 3, lua_gettop(L) - 2, (CodecWhat)lua_tointeger(L, 2), lua_touserdata(L, 1));
  return 0;
}

bool asy_parcel_pack(lua_State *L, int n, CodecWhat what, Buffer *parcel) {
  if (!lua_checkstack(L, 4)) { /* room for the error is there: the values' */
    lua_pop(L, n);
    lua_pushliteral(L, "stack overflow");
    return false;
  }
  lua_pushcfunction(L, pack);
  lua_pushlightuserdata(L, parcel);
  lua_pushinteger(L, what);
  lua_rotate(L, -3 - n, 3);
  return lua_pcall(L, n + 2, 0, 0) == LUA_OK;
}

/* arg: parcel (light) */
static int unpack(lua_State *L) {
  Buffer *parcel = lua_touserdata(L, 1);
  return asy_codec_decode(L, buffer_bytes(parcel), buffer_length(parcel), true);
}

int asy_parcel_unpack(lua_State *L, Buffer *parcel) {
  int top = lua_gettop(L);
  bool room = lua_checkstack(L, 2);
  int status = LUA_ERRMEM;
  if (room) {
    lua_pushcfunction(L, unpack);
    lua_pushlightuserdata(L, parcel);
    status = lua_pcall(L, 1, LUA_MULTRET, 0);
  }
  parcel_free(parcel);
  if (!room) return luaL_error(L, "stack overflow");
  return status == LUA_OK ? lua_gettop(L) - top : lua_error(L);
}

void parcel_clear(Buffer *parcel) {
  codec_release(buffer_bytes(parcel), buffer_length(parcel), NULL);
  if (parcel->size > KEEP)
    buffer_free(parcel);
  else
    parcel->start = parcel->end = 0;
}

void parcel_free(Buffer *parcel) { parcel_free_into(parcel, NULL); }

void parcel_free_into(Buffer *parcel, ListNode *dead) {
  codec_release(buffer_bytes(parcel), buffer_length(parcel), dead);
  buffer_free(parcel);
}
