/*
** box.h - asyncio.SSLContext as Lua has it: a userdata that holds a Context.
*/
#ifndef ASY_TLS_BOX_H
#define ASY_TLS_BOX_H

#include "tls/context.h"

ASY_HIDDEN

#define SSL_CONTEXT "asyncio.SSLContext" /* the class */
#define BOX_SNI 1                        /* user value: the table or function that chooses by name */

/* Makes a box; its context is still to come. */
Context **asy_box_new(lua_State *L);
/* The context is its box's from now on, and the box is found by it. stack: box */
void asy_box_fill(lua_State *L, Context **box, Context *context);
/* NULL: it isn't one. */
Context *asy_box_test(lua_State *L, int idx);
/* Pushes a context's box. One that has been collected is made anew. */
void asy_box_push(lua_State *L, Context *context);

/* Makes the class; `methods` stand in its field of that name. */
void asy_box_class(lua_State *L, const luaL_Reg *methods);

ASY_HIDDEN_END

#endif
