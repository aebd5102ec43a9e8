/*
** shielded.h - which requests are due: asyncio.shielded holds the others back.
*/
#ifndef ASY_SHIELDED_H
#define ASY_SHIELDED_H

#include "core/task.h"

ASY_HIDDEN

/* The place in the queue of the first request that no shield holds back; 0: there is none. Never raises. */
uint32_t asy_shield_due(lua_State *L, Task *t);

/* A request is made by a scope with that mark. stack: ..., task, request */
void asy_shield_mark(lua_State *L, uint64_t mark);

/* The scope has ended that made the request at `request`. idx: the task's userdata */
void asy_shield_unmark(lua_State *L, int idx, int request);

/* Opens a shield; its number. idx: the task's userdata */
uint64_t asy_shield_open(lua_State *L, Task *t, int idx);

/* Closes the one with that number; what is due now has not been told to anybody. */
void asy_shield_close(lua_State *L, Task *t, int idx, lua_Integer number);

ASY_HIDDEN_END

#endif
