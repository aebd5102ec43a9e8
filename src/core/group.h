/*
** group.h - asyncio.TaskGroup: tasks that end before its owner leaves the block in which they were started.
**
** The loop holds a group from its making until it is closed, or its owner has ended. So neither its owner's guards nor
** its members point to what has been collected.
*/
#ifndef ASY_GROUP_H
#define ASY_GROUP_H

#include "core/task.h"

ASY_HIDDEN

typedef struct Group {
  Guard guard;      /* among its owner's, until its block is left */
  Ready ready;      /* has the Lua layer told of members that have failed */
  ListNode members; /* that haven't ended, in the order of their start */
  Task *owner;      /* user value 1 */
  uint64_t mark;    /* of its requests to the owner: see shielded.c */
  uint32_t slot;    /* where the loop holds it */
  uint32_t n;       /* its members, and those that have failed and have not been taken */
  uint32_t failed;  /* these, in the list that is user value 3, ... */
  uint32_t taken;   /* ... and how many of that list have been */
  bool closed;
  bool aborting;    /* its members have been cancelled: there will be no more */
  bool leaving;     /* its owner leaves the block */
  bool quick;       /* it waits for them without the Lua layer, ... */
  bool interrupted; /* ... which has to see why that has ended */
  bool quiet;       /* that it was never closed is reported no more */
  int line;         /* where it was made; 0: that is not known */
  char source[LUA_IDSIZE];
} Group;

/* A task that is in a group, its owner. */
typedef struct Member {
  Task task;
  ListNode link; /* in the group's */
  bool quiet;    /* its failing is nothing to the group */
} Member;

/* Pushes a list of its members. */
void asy_group_push_members(lua_State *L, const Group *g);

ASY_HIDDEN_END

#endif
