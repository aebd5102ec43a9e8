/*
** kinds.h - each kind of socket adds its functions to LuaSocket's module, the table on the top.
*/
#ifndef ASY_FACE_KINDS_H
#define ASY_FACE_KINDS_H

#include "base/asy.h"

ASY_HIDDEN

void asy_kinds_tcp(lua_State *L);  /* tcp.c */
void asy_kinds_udp(lua_State *L);  /* udp.c */
void asy_kinds_unix(lua_State *L); /* unix.c; another table */
void asy_kinds_select(lua_State *L); /* select.c */

int asy_kinds_secure(lua_State *L); /* secure.c; a function of the module's by itself */

ASY_HIDDEN_END

#endif
