/*
** tracer.h - an observer that notes what it sees: steps, waits and who ended them, polls, jobs, memory.
*/
#ifndef ASY_TRACER_H
#define ASY_TRACER_H

#include "core/observer.h"
#include "dev/phrases.h"
#include "dev/reel.h"

ASY_HIDDEN

#define TRACER_HOME 256

typedef struct Tracer {
  Observer observer; /* first */
  Runtime *rt;       /* NULL: it notes nothing (any more) */
  lua_State *L;      /* the state's main thread */
  Reel reel;
  Phrases phrases;
  uint64_t start;      /* uv_hrtime */
  uint64_t end;        /* ns; 0: it has not ended */
  uint64_t began;      /* the step, poll or call under way */
  uint64_t remembered; /* when the memory was noted last */
  uint64_t
      ending; /* the task that has stopped for good, and has not ended yet; 0: none. Its last step lasts until then */
  uint64_t virtual_loop, virtual_last,
      skipped; /* a virtual clock: whose, where it stood, how far it has gone in all */
  int name_ref, message_ref; /* registry: two strings, as to make one may run finalisers */
  char home[TRACER_HOME];    /* how the sources of the Lua layer begin */
  size_t nhome;
} Tracer;

/* A zeroed one, before all else. */
static inline void tracer_init(Tracer *t) { t->name_ref = t->message_ref = LUA_NOREF; }
/* Begins to look on. May raise: BusyError, if another does. */
void asy_tracer_begin(lua_State *L, Tracer *t, Runtime *rt, uint64_t most);
/* Looks on no more, if it does. C only. */
void tracer_end(Tracer *t);
/* A cycle of the collector is over. C only. */
void tracer_cycle(Tracer *t);
/* Frees what it has noted, and gives back what is the registry's. */
void asy_tracer_free(lua_State *L, Tracer *t);

/* The name of a task that hasn't ended: its length. text: room for PHRASE_MOST; idx: its userdata. Makes nothing in Lua. */
size_t asy_tracer_name(lua_State *L, const Tracer *t, const Task *task, int idx, char *text);

/* Calls a function with each task of the loop that has not ended, and nothing else on the stack than before; the task's
** userdata is on the top. Makes nothing in Lua. */
void asy_tracer_each(lua_State *L, Loop *loop, void (*visit)(lua_State *L, Task *task, void *arg),
                     void *arg);

ASY_HIDDEN_END

#endif
