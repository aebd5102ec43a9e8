/*
** trace.h - where an error comes from: through coroutines, tasks and threads, innermost first.
**
** A record is a table: where the stack stood at one level, whose that is, and the record of the level within. Each
** costs the same, however deep; `asy_trace_text` puts a chain of them into words. The record of an error that leaves
** a task is the task's, in its extras; what is caught on its way and may be raised again is noted: error and record,
** in the extras of the task that runs, or, in a callback, in the registry.
*/
#ifndef ASY_TRACE_H
#define ASY_TRACE_H

#include "core/future.h"

ASY_HIDDEN

/* Whether the error at 1 is a scope's own request: another will take its place. */
bool asy_trace_is_request(lua_State *L);

/* For message handlers. stack: error → error, the record of where it was raised, from `level` of the stack on. False: the error goes without
** one, as cancellations do, but for those that a scope asked for and those of main; the stack is as it was, or shorter. */
bool asy_trace_take(lua_State *L, int level);

/* Should this error be raised again in what runs now, this is what goes before. `whole`: where it is raised again on
** the same stack is no news. err: its index. stack: ..., record → ... */
void asy_trace_note(lua_State *L, int err, bool whole);

/* The same for the error of the failed future at idx, which is about to be seen. */
void asy_trace_pass(lua_State *L, const Future *f, int idx);

/* The future at idx has failed with this. stack: ..., record → ... */
void asy_trace_keep(lua_State *L, int idx);
/* The same with the text of a traceback from another thread. */
void asy_trace_keep_foreign(lua_State *L, int idx);

/* Pushes the traceback of the failed future at idx, or nil; NULL then. `named`: with its task's name in any case. */
const char *asy_trace_push(lua_State *L, int idx, bool named);

/* The failed future at idx is what the loop was run for: should its error be an Error, its tostring tells the way. */
void asy_trace_leave(lua_State *L, int idx);

/* The error at `by`, which is raised in the other's place, comes from where that came. */
void asy_trace_replace(lua_State *L, int err, int by);

/* Gives the Error at `err` its traceback, unless it has one. stack: ..., record → ... */
void asy_trace_fill(lua_State *L, int err);

/* The message handler of callbacks; what it kept is pushed by asy_trace_pop, or nil. What was noted in a callback
** (rt->noted) is forgotten after it. */
int asy_trace_handler(lua_State *L);
void asy_trace_pop(lua_State *L);
void asy_trace_forget(lua_State *L, Runtime *rt);

/* The message handler of who raises again at once what it caught. */
int asy_trace_rethrown(lua_State *L);

/* What asyncio.traceback does with the error at 1, the only value on the stack, and pushes the traceback. False: it is
** an interruption, nothing is pushed. And whether the function at idx is asyncio.traceback. */
bool asy_trace_catch(lua_State *L);
bool asy_trace_catches(lua_State *L, int idx);

ASY_HIDDEN_END

#endif
