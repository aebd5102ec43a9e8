/*
** names.h - what crosses between Lua states by name: modules, and the functions found in them.
**
** A state learns the names when package.loaded has changed since it last did. A function that is put
** into a module later has no name then, and crosses by value: the other state's module would lack it.
*/
#ifndef ASY_NAMES_H
#define ASY_NAMES_H

#include "base/asy.h"

ASY_HIDDEN

enum { ASY_NAMES_SLOTS = 3 }; /* stack slots that asy_names_push fills */

/* Pushes what the lookups need. Learns the names anew if package.loaded has changed, or if `anew`. */
void asy_names_push(lua_State *L, bool anew);

/* With those slots from `names` on: whether the value at `idx` has a name, which still leads to it.
** Pushes the module's name and the function's, nil for the module itself; nothing when there is none.
** Allocates nothing. */
bool asy_name_find(lua_State *L, int names, int idx);

/* The module in place of its name at the top of the stack. `load`: requires it when the state lacks
** it. Raises when there is none. */
void asy_module_push(lua_State *L, bool load);

ASY_HIDDEN_END

#endif
