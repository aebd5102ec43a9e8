/*
** waitq.c - the waiting line, and what the kinds that wait in one have in common.
*/
#include "core/waitq.h"

#include "core/error.h"

void waitq_init(Waitq *q) {
  list_init(&q->line);
  list_init(&q->handed);
}

static Task *task_of(ListNode *link) { return asy_container(link, Task, waiter.link); }

Task *waitq_first(const Waitq *q) { return waitq_empty(q) ? NULL : task_of(q->line.next); }

int waitq_length(const Waitq *q) {
  int n = 0;
  list_each(node, &q->line) n++;
  return n;
}

void waitq_hand(Waitq *q, Task *t, int code) {
  asy_assert(waitq_first(q) == t); /* nobody overtakes */
  task_ready(t, code);
  list_append(&q->handed, &t->waiter.link);
  task_tell(t);
}

Abort asy_waitq_abort(lua_State *L, Task *t) {
  (void)L;
  list_remove(&t->waiter.link);
  return ASY_DETACHED;
}

int asy_waitq_finish(lua_State *L, Task *t) {
  (void)L;
  (void)t;
  return 0;
}

void asy_waitq_destroy(lua_State *L, Waitq *q) {
  lua_pushnil(L);
  lua_setmetatable(L, 1);
  while (!list_empty(&q->handed)) {
    task_of(q->handed.next)->on = NULL;
    list_remove(q->handed.next);
  }
  for (Task *t; (t = waitq_first(q));) {
    t->on = NULL;
    task_wake(t, 0);
  }
}

bool asy_waitq_bind_anew(lua_State *L, const Task *t, uint64_t *id, const char *what) {
  uint64_t former = *id;
  if (former && loop_find(t->loop->rt, former))
    asy_error(L, ASY_ERROR, "the %s is in use in another event loop", what);
  *id = t->loop->id;
  return former != 0;
}
