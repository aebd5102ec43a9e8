/*
** module.c - the C module asyncio.grammar: what the grammars are to Lua. asyncio.parsers loads it, and who speaks them.
**
** It needs nothing of asyncio.core, and holds nothing that outlives a Lua state.
*/
#include "open.h"

ASY_EXPORT int luaopen_asyncio_grammar(lua_State *L);

int luaopen_asyncio_grammar(lua_State *L) {
  lua_newtable(L);
  asy_open_resp(L);
  return 1;
}
