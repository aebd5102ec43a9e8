/*
** hold.c - what OpenSSL has made, held by a userdata; OpenSSL's errors as LuaSec tells them.
*/
#include "sec/hold.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#define HOLD "asyncio.openssl.Hold"

Hold *asy_hold_new(lua_State *L, void (*release)(void *what)) {
  Hold *hold = lua_newuserdatauv(L, sizeof *hold, 0);
  *hold = (Hold){NULL, release};
  luaL_setmetatable(L, HOLD);
  return hold;
}

void hold_release(Hold *hold) {
  if (hold->what) hold->release(hold->what);
  hold->what = NULL;
}

static int hold__gc(lua_State *L) {
  hold_release(luaL_checkudata(L, 1, HOLD));
  return 0;
}

void asy_hold_open(lua_State *L) {
  luaL_newmetatable(L, HOLD);
  lua_pushcfunction(L, hold__gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

void sec_begin(void) {
  if (ERR_peek_error()) ERR_clear_error();
  errno = 0;
}

const char *sec_reason(void) {
  unsigned long error = ERR_peek_error();
  if (ERR_SYSTEM_ERROR(error)) return strerror(ERR_GET_REASON(error));
  return ERR_reason_error_string(error);
}

void asy_sec_check_memory(lua_State *L) {
  unsigned long error = ERR_peek_last_error();
  bool ours = error && !ERR_SYSTEM_ERROR(error) && ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
  if (ours || errno == ENOMEM) luaL_error(L, "not enough memory");
}

int asy_sec_fail(lua_State *L, const char *format) {
  asy_sec_check_memory(L);
  lua_pushboolean(L, 0);
  const char *reason = sec_reason();
  lua_pushfstring(L, format, reason ? reason : "it is of no use here");
  return 2;
}
