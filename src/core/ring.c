/*
** ring.c - the search for rings. It goes from what a task would wait for to what that waits for, and so on: from
** each task once, however many lead to it, in a list that runs through the tasks. Waits that end without what
** they wait for (some of several, those with a time limit) are no way to go.
*/
#include "core/ring.h"

#include "core/error.h"
#include "core/group.h"
#include "open.h"

typedef struct Search {
  uint64_t number;
  Task *of;
  Task *next; /* found, and not gone on from yet */
} Search;

static void find_task(Search *s, Task *t) {
  if (t->seen == s->number) return;
  t->seen = s->number;
  t->found = s->next;
  s->next = t;
}

/* stack: ..., future → ... */
static void find_future(lua_State *L, Search *s) {
  Future *f;
  while ((f = lua_touserdata(L, -1)) && !f->task && f->shields && f->state == FUTURE_PENDING) {
    lua_getiuservalue(L, -1, FUTURE_UV_SHIELDED);
    lua_replace(L, -2);
  }
  if (f && f->task) find_task(s, (Task *)f);
  lua_pop(L, 1);
}

/* Those that a task waits for while it leaves a group. */
static void find_members(Search *s, const Group *g) {
  list_each(node, &g->members) find_task(s, &asy_container(node, Member, link)->task);
}

static bool search(lua_State *L, Search *s) {
  for (Task *t; (t = s->next);) {
    Future *f;
    s->next = t->found;
    if (t == s->of) return true;
    if (t->phase == TASK_ENDED) continue;
    if (t->leaving) find_members(s, t->leaving);
    if (t->phase != TASK_PARKED || !t->kind->awaited) continue;
    for (int i = 0; (f = t->kind->awaited(t, i)); i++) {
      if (f->state != FUTURE_PENDING) continue;
      if (f->task)
        find_task(s, (Task *)f);
      else if (f->shields) {
        asy_awaited_push(L, t, i);
        find_future(L, s);
      }
    }
  }
  return false;
}

/* Nearly always nobody waits for the task; then there can be no ring. */
static bool is_awaited(const Task *t) {
  return !list_empty(&t->future.waiters) || t->future.callbacks || (t->owner && t->role->awaited);
}

bool asy_ring_closes(lua_State *L, Task *t, int idx) {
  if (lua_touserdata(L, idx) == t) return true;
  if (!is_awaited(t)) return false;
  Search s = {.number = ++t->loop->rt->last_walk, .of = t};
  luaL_checkstack(L, 10, NULL);
  lua_pushvalue(L, idx);
  find_future(L, &s);
  return search(L, &s);
}

bool asy_ring_closes_by(lua_State *L, Task *t, Task *other) {
  Search s = {.number = ++t->loop->rt->last_walk, .of = t};
  luaL_checkstack(L, 10, NULL);
  find_task(&s, other);
  return search(L, &s);
}

bool asy_ring_leave(lua_State *L, Group *g) {
  Task *t = g->owner;
  t->leaving = g;
  if (!is_awaited(t)) return false;
  Search s = {.number = ++t->loop->rt->last_walk, .of = t};
  luaL_checkstack(L, 10, NULL);
  find_members(&s, g);
  return search(L, &s);
}

void asy_awaited_push(lua_State *L, Task *t, int i) {
  asy_task_push(L, t);
  lua_getiuservalue(L, -1, FUTURE_UV_VALUE);
  lua_replace(L, -2);
  if (!t->kind->several) return;
  lua_getiuservalue(L, -1, 1);
  lua_rawgeti(L, -1, i + 1);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

int asy_ring_error(lua_State *L) {
  asy_error(L, ASY_ERROR, "cannot await a task that waits for this one");
}

/* For the Lua layer */

/* closes_ring(future) → whether waiting for it, the current task would wait for itself */
static int closes_ring(lua_State *L) {
  Task *t = ASY_RUNTIME(L)->current;
  lua_pushboolean(L, t && asy_tofuture(L, t->loop->rt, 1) && asy_ring_closes(L, t, 1));
  return 1;
}

static const luaL_Reg functions[] = {{"closes_ring", closes_ring}, {NULL, NULL}};

/* stack: module */
void asy_open_ring(lua_State *L) { asy_setfuncs(L, functions); }
