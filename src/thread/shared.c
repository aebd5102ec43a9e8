/*
** shared.c - counted records that cross from state to state.
*/
#include "thread/shared.h"

#include "core/error.h"
#include "thread/codec.h"

void shared_init(Shared *record, const SharedClass *cls) {
  atomic_store(&record->refs, 1);
  record->cls = cls;
  list_init(&record->link);
}

void shared_ref(Shared *record) { atomic_fetch_add(&record->refs, 1); }

/* A channel may hold a channel, and so on, some 100,000 of them: that would be too deep for the stack. */
void shared_unref(Shared *record) {
  if (atomic_fetch_sub(&record->refs, 1) != 1) return;
  ListNode dead;
  list_init(&dead);
  record->cls->destroy(record, &dead);
  for (ListNode *node; (node = list_take(&dead));) {
    record = asy_container(node, Shared, link);
    record->cls->destroy(record, &dead);
  }
}

Shared **asy_shared_newbox(lua_State *L, const SharedClass *cls) {
  Shared **box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = NULL;
  asy_pushmeta(L, asy_runtime(L), cls->kind);
  lua_setmetatable(L, -2);
  return box;
}

void *asy_shared_check(lua_State *L, int idx, const SharedClass *cls) {
  Shared **box = asy_check(L, ASY_RUNTIME(L), idx, cls->kind, cls->name);
  if (!*box) asy_error(L, ASY_CLOSED, "the %s has been collected", cls->noun);
  return *box;
}

int asy_shared_gc(lua_State *L, const SharedClass *cls) {
  Shared **box = asy_test(L, ASY_RUNTIME(L), 1, cls->kind);
  if (!box || !*box) return 0;
  shared_unref(*box);
  *box = NULL;
  return 0;
}

/* Crossing */

static void *hold(void *userdata) {
  Shared *record = *(Shared **)userdata;
  if (record) shared_ref(record);
  return record;
}

static void drop(void *arg, ListNode *dead) {
  Shared *record = arg;
  if (!dead)
    shared_unref(record);
  else if (atomic_fetch_sub(&record->refs, 1) == 1)
    list_append(dead, &record->link);
}

static void arrive(lua_State *L, void *arg) {
  Shared *record = arg, **box = asy_shared_newbox(L, record->cls);
  shared_ref(record);
  *box = record;
}

static const CodecShared CROSSING = {hold, drop, arrive};

void asy_shared_newclass(lua_State *L, const SharedClass *cls, const luaL_Reg *methods,
                         const luaL_Reg *metamethods) {
  asy_newclass(L, cls->kind, cls->name, methods, metamethods);
  asy_pushmeta(L, asy_runtime(L), cls->kind);
  asy_codec_share(L, &CROSSING);
  lua_pop(L, 1);
}
