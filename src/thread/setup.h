/*
** setup.h - where a worker's state finds its modules: package.path, package.cpath, package.preload and arg, as its
** parent has them; given when it is made, and again when they have changed.
*/
#ifndef ASY_SETUP_H
#define ASY_SETUP_H

#include "base/asy.h"

#include <stdatomic.h>

#include "base/buffer.h"

ASY_HIDDEN

/* What one state has; counted, and immutable. */
typedef struct Setup {
  atomic_int refs;
  Buffer message; /* of the codec */
} Setup;

/* What this state has. Raises. */
Setup *asy_setup_new(lua_State *L);
Setup *setup_ref(Setup *setup);
void setup_unref(Setup *setup); /* of NULL: nothing */

/* Differs when this state has something else than before: other paths, entries of preload, another table arg. It goes
** by addresses; asy_setup_anchor pushes a table that keeps them from being used again. */
uint64_t asy_setup_fingerprint(lua_State *L);
void asy_setup_anchor(lua_State *L);

/* Gives it to a worker's state: all for the first time, later where there is still what was given before. */
void asy_setup_apply(lua_State *L, const Setup *setup);

ASY_HIDDEN_END

#endif
