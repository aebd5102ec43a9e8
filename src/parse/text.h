/*
** text.h - what else adds to the module: URLs, forms, dates, WebSocket's frames, MessagePack.
*/
#ifndef ASY_PARSE_TEXT_H
#define ASY_PARSE_TEXT_H

#include "base/asy.h"

ASY_HIDDEN

/* Each adds its functions to the module's table at the top. */
void asy_form_open(lua_State *L);
void asy_url_open(lua_State *L);
void asy_words_open(lua_State *L);
void asy_frames_open(lua_State *L);
void asy_pack_open(lua_State *L);
void asy_unpack_open(lua_State *L);

ASY_HIDDEN_END

#endif
