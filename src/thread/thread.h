/*
** thread.h - opens what has to do with other threads: executors, what their jobs see, channels, remotes.
*/
#ifndef ASY_THREAD_H
#define ASY_THREAD_H

#include "base/asy.h"

ASY_HIDDEN

/* stack: module */
void asy_open_executor(lua_State *L);
void asy_open_inside(lua_State *L);
void asy_open_channel(lua_State *L);
void asy_open_remote(lua_State *L);

ASY_HIDDEN_END

#endif
