/*
** module.c - the C module asyncio.grammar: what the grammars are to Lua. asyncio.parsers loads it, and who speaks them.
**
** It needs nothing of asyncio.core, and holds nothing that outlives a Lua state.
*/
#include "open.h"
#include "parse/connection.h"
#include "parse/fields.h"
#include "parse/headers.h"
#include "parse/text.h"

ASY_EXPORT int luaopen_asyncio_grammar(lua_State *L);

int luaopen_asyncio_grammar(lua_State *L) {
  lua_createtable(L, 0, 22);
  asy_headers_open(L);
  asy_connection_open(L);
  asy_form_open(L);
  asy_url_open(L);
  asy_words_open(L);
  asy_frames_open(L);
  asy_fields_open(L);
  asy_pack_open(L);
  asy_unpack_open(L);
  asy_open_resp(L);
  return 1;
}
