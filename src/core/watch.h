/*
** watch.h - debug mode: where a step is slow. Knows no task.
*/
#ifndef ASY_WATCH_H
#define ASY_WATCH_H

#include "core/loop.h"

ASY_HIDDEN

/* Around what may be slow: a task's step in its coroutine, a callback in L. A hook looks at the clock
** meanwhile; a hook of the user's there stays, and then nothing is known of the place. `returning` is
** called when a function of co, or of what it drives, returns; or NULL. */
void asy_watch_begin(Loop *loop, lua_State *co, lua_Hook returning);
/* A coroutine that such a step drives. */
void asy_watch_inner(lua_State *co);
void asy_watch_end(Loop *loop, lua_State *co);

/* Pushes where the code was when it had taken too long, or nil; it is forgotten. */
void asy_watch_push(lua_State *L, const Loop *loop);

ASY_HIDDEN_END

#endif
