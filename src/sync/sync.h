/*
** sync.h - opens the nouns that stand on a waiting line.
*/
#ifndef ASY_SYNC_H
#define ASY_SYNC_H

#include "base/asy.h"

ASY_HIDDEN

void asy_open_event(lua_State *L);
void asy_open_condition(lua_State *L);
void asy_open_semaphore(lua_State *L);
void asy_open_barrier(lua_State *L);
void asy_open_queue(lua_State *L);

ASY_HIDDEN_END

#endif
