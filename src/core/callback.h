/*
** callback.h - asyncio.Handle: one call of a Lua function that the loop will make.
*/
#ifndef ASY_CALLBACK_H
#define ASY_CALLBACK_H

#include "core/loop.h"

ASY_HIDDEN

typedef struct Callback {
  Ready ready;
  Timer timer;
  uint64_t loop_id;
  uint32_t slot;  /* where the loop holds it; 0: it isn't held */
  uint64_t when;  /* deadline in ns */
  Loop *loop;     /* valid while it is held */
  int nargs;
  bool timed;     /* it waits for `when`; else for the next turn */
  bool cancelled;
  bool context;   /* user value nargs + 2 is the context to run in */
  bool vital;     /* somebody waits for what it does: an error in it ends the run */
} Callback;

/* stack: ..., fn, n arguments → ..., callback. Not scheduled yet. */
Callback *asy_callback_new(lua_State *L, Loop *loop, int n);

/* Makes the loop hold the callback at idx; the only step that can raise for memory. */
void asy_callback_hold(lua_State *L, Loop *loop, Callback *cb, int idx);

/* Runs a held one at the next turn. */
void callback_schedule(Loop *loop, Callback *cb);

/* Whether the function of the callback at idx is the value at fn. */
bool asy_callback_is(lua_State *L, int idx, int fn);

/* Calls the function of the callback at idx now; reports what fails. Raises when nobody can be told: an
** error in a vital callback, or no memory for the report. The run ends then, instead of waiting for what
** the callback should have done. */
void asy_callback_call(lua_State *L, Loop *loop, int idx);

ASY_HIDDEN_END

#endif
