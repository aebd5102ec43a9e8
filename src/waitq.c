/*
** waitq.c - the parts of a waiting line that every kind of waiting shares.
*/
#include "waitq.h"

Abort waitq_abort(lua_State *L, Task *t) {
  (void)L;
  list_remove(&t->waiter.link);
  return ASY_DETACHED;
}

int waitq_finish(lua_State *L, Task *t) {
  (void)L;
  (void)t;
  return 0;
}
