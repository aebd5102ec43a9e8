/*
** record.c - userdata that cross as references: their kinds, and letting go of what messages refer to.
*/
#include "thread/message.h"

#include <string.h>

static const char kinds_key = 0; /* registry: metatable → CodecShared */

void record_release(const char *bytes, size_t offset, ListNode *dead) {
  Record r;
  for (; offset; offset = r.before) {
    memcpy(&r, bytes + offset + 1, sizeof r);
    r.kind->unref(r.record, dead);
  }
}

void codec_release(const char *bytes, size_t length, ListNode *dead) {
  size_t last;
  if (!length || !(bytes[0] & 1)) return;
  memcpy(&last, bytes + length - sizeof last, sizeof last);
  record_release(bytes, last, dead);
}

const CodecShared *asy_record_kind(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kinds_key) != LUA_TTABLE) return lua_pop(L, 1), NULL;
  lua_pushvalue(L, -2);
  lua_rawget(L, -2);
  const CodecShared *kind = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return kind;
}

void asy_codec_share(lua_State *L, const CodecShared *kind) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kinds_key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kinds_key);
  }
  lua_pushvalue(L, -2);
  lua_pushlightuserdata(L, (void *)kind);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}
