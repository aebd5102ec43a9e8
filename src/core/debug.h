/*
** debug.h - debug mode: where a step is slow, where things were made, where a cancellation was lost.
**
** Everything here costs only while `loop->debug` is set.
*/
#ifndef ASY_DEBUG_H
#define ASY_DEBUG_H

#include "core/task.h"

ASY_HIDDEN

/* Around what may be slow: a task's step in its coroutine, a callback in L. A hook looks at the clock
** meanwhile; a hook of the user's there stays, and then nothing is known of the place. */
void asy_watch_begin(Loop *loop, lua_State *co);
/* A coroutine that such a step drives. */
void asy_watch_inner(lua_State *co);
void asy_watch_end(Loop *loop, lua_State *co);

/* Pushes where the code was when it had taken too long, or nil; it is forgotten. */
void asy_watch_push(lua_State *L, const Loop *loop);

/* Notes in the extras of the future at idx, under `key`, where L stands from `level` on. */
void asy_debug_note(lua_State *L, int idx, const char *key, int level);

/* Where L stands, in memory of malloc; NULL when debug mode is off (or memory has run out). */
char *asy_debug_site(lua_State *L, const Loop *loop);

/* Pushes traceback + heading + where something was made; without a `made` traceback alone, or nil. */
const char *asy_debug_join(lua_State *L, const char *traceback, const char *heading, const char *made);

/* A task returned. Reports when it had caught a cancellation. idx: its userdata */
void asy_debug_returned(lua_State *L, Loop *loop, Task *t, int idx);

/* Pushes the traceback of a live task, its inner coroutines first. */
void asy_debug_traceback(lua_State *L, Task *t);

void asy_open_debug(lua_State *L);

ASY_HIDDEN_END

#endif
