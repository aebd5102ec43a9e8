/*
** shared.h - a counted record that several Lua states have, each through a userdata of its own: what is in
** common to all that cross as a reference.
**
** The userdata is a Shared *, NULL before there is a record and after its collection: a finaliser may
** use it then.
*/
#ifndef ASY_SHARED_H
#define ASY_SHARED_H

#include "base/asy.h"

#include <stdatomic.h>

#include "core/loop.h"

ASY_HIDDEN

struct Shared;

typedef struct SharedClass {
  Kind kind;
  const char *name;                 /* "asyncio.Channel" */
  const char *noun;                 /* "channel" */
  /* Nobody has it any more; from any thread. What it was the last to hold goes into the list. */
  void (*destroy)(struct Shared *, ListNode *dead);
} SharedClass;

/* First in the record. */
typedef struct Shared {
  atomic_int refs;
  const SharedClass *cls;
  ListNode link; /* among those that are to be destroyed */
} Shared;

/* A record's reference, the first or one more; lets go of one, from any thread. */
void shared_init(Shared *record, const SharedClass *cls);
void shared_ref(Shared *record);
void shared_unref(Shared *record);

/* Pushes a userdata without a record and says where that goes, with a reference. */
Shared **asy_shared_newbox(lua_State *L, const SharedClass *cls);

/* The record of the userdata at idx; raises when it is another, or has been collected. */
void *asy_shared_check(lua_State *L, int idx, const SharedClass *cls);

/* For the metamethod __gc. */
int asy_shared_gc(lua_State *L, const SharedClass *cls);

/* Makes the class and has its userdata cross from now on. */
void asy_shared_newclass(lua_State *L, const SharedClass *cls, const luaL_Reg *methods,
                         const luaL_Reg *metamethods);

ASY_HIDDEN_END

#endif
