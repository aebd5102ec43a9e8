/*
** lifetime.c - a loop is made, and closed: the steps of closing, in the order that matters.
*/
#include "core/loop.h"

#include <string.h>

#include "base/alloc.h"
#include "core/error.h"
#include "core/handle.h"
#include "core/observer.h"
#include "core/process.h"

static void on_walk(uv_handle_t *h, void *arg) {
  (void)arg;
  if (uv_is_closing(h)) return;
  if (h->data)
    ((Shutter *)h->data)->shut(h->data);
  else
    uv_close(h, NULL);
}

static void forget_nodes(ListNode *list) {
  while (list_take(list)) continue;
}

/* The part that may fail: lost errors are reported. args: loop (light), its userdata */
static int close_lua_part(lua_State *L) {
  Loop *loop = lua_touserdata(L, 1);
  asy_loop_enrol(L, loop, 2); /* it is lost there when it is being collected */
  for (int i = loop->rt->nhooks; i-- > 0;)
    if (loop->rt->hooks[i]->report) loop->rt->hooks[i]->report(L, loop);
  return 0;
}

void asy_loop_close(lua_State *L, Loop *loop, int idx) {
  Runtime *rt = loop->rt;
  Loop *outer = rt->closing;
  fork_unwatch(&loop->fork);
  if (loop->watched) asy_observers_closes(L, loop);
  if (loop->copied) rt->forked = NULL, rt->forked_co = NULL;
  loop->open = false;
  if (rt->running == loop) rt->running = NULL, rt->current = NULL;
  rt->closing = loop;
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->closing_ref); /* of the outer one */
  lua_getiuservalue(L, idx, ASY_UV_HELD);
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->closing_ref);
  asy_held_table(L, loop);
  for (int i = rt->nhooks, held = lua_gettop(L); i-- > 0;)
    if (rt->hooks[i]->leave) rt->hooks[i]->leave(L, loop, held);
  lua_pop(L, 1);
  lua_pushcfunction(L, close_lua_part);
  lua_pushlightuserdata(L, loop);
  lua_pushvalue(L, idx);
  if (loop->copied)
    lua_pop(L, 3); /* to report is the parent's */
  else if (lua_pcall(L, 2, 0, 0) != LUA_OK)
    lua_pop(L, 1); /* out of memory */
  lua_rawseti(L, LUA_REGISTRYINDEX, rt->closing_ref);
  rt->closing = outer;
  asy_assert(!loop->open && loop->rt->running != loop);
  list_remove(&loop->link);
  for (int i = rt->nhooks; i-- > 0;)
    if (rt->hooks[i]->part) rt->hooks[i]->part(loop);
  inbox_close(loop->inbox); /* what has arrived by now are guests */
  loop_close_crews(loop);
  for (ListNode *node; (node = list_take(&loop->guests));) {
    Guest *guest = asy_container(node, Guest, link);
    guest->drop(guest);
  }
  inbox_unref(loop->inbox);
  loop->writing = process_writing();
  do uv_walk(&loop->uv, on_walk, NULL);
  while (loop_run_uv(loop, UV_RUN_NOWAIT));
  handles_shut(loop);
  uv_loop_close(&loop->uv);
  timer_heap_free(&loop->timers);
  mem_free(loop->held.free);
  loop->held = (Held){0};
  block_pool_free(&loop->blocks);
  for (int i = rt->nhooks; i-- > 0;)
    if (rt->hooks[i]->forget) rt->hooks[i]->forget(loop);
  handles_forget(loop);
  loop->copied = false;
  forget_nodes(&loop->ready); /* their owners may outlive the loop */
  forget_nodes(&loop->batch);
  forget_nodes(&loop->turn_end);
  forget_nodes(&loop->idle);
  for (int i = ASY_UV_HELD; i <= ASY_UV_FIELDS; i++) {
    lua_pushnil(L);
    lua_setiuservalue(L, idx, i);
  }
}

/* Opens the parts of libuv's loop that need no Lua. On failure what was opened is closed. */
static int open_uv(Loop *loop) {
  int status = uv_loop_init(&loop->uv);
  if (status) return status;
  uv_timer_init(&loop->uv, &loop->tick);
  uv_timer_init(&loop->uv, &loop->alarm);
  if ((status = uv_async_init(&loop->uv, &loop->wakeup, loop_on_wakeup)) == 0 &&
      !(loop->inbox = inbox_new(&loop->wakeup)))
    status = UV_ENOMEM;
  if (!status) return 0;
  uv_walk(&loop->uv, on_walk, NULL);
  uv_run(&loop->uv, UV_RUN_NOWAIT);
  uv_loop_close(&loop->uv);
  return status;
}

/// A new loop that doesn't run yet.
// @function new_event_loop
// @treturn Loop
int asy_loop_new(lua_State *L) {
  Runtime *rt = ASY_RUNTIME(L);
  Loop *loop = lua_newuserdatauv(L, sizeof *loop, 2);
  memset(loop, 0, sizeof *loop);
  loop->rt = rt;
  loop->tick_at = loop->limit = TIMER_NEVER;
  loop->counts.began = uv_hrtime();
  loop_set_slow(loop, NS_PER_S / 10);
  loop->clock.steps = STEPS_PER_POLL;
  list_init(&loop->ready);
  list_init(&loop->batch);
  list_init(&loop->turn_end);
  list_init(&loop->idle);
  list_init(&loop->alarmed.link);
  list_init(&loop->guests);
  list_init(&loop->handles);
  list_init(&loop->link);
  asy_pushmeta(L, rt, ASY_LOOP);
  lua_setmetatable(L, -2);
  lua_createtable(L, ASY_SLOT_FIRST, 0);
  for (int i = 0, held = lua_gettop(L); i < rt->nhooks; i++)
    if (rt->hooks[i]->made) rt->hooks[i]->made(L, held);
  loop->held.n = ASY_SLOT_FIRST - 1;
  lua_setiuservalue(L, -2, ASY_UV_HELD);
  lua_createtable(L, 0, 4);
  lua_setiuservalue(L, -2, ASY_UV_FIELDS);
  loop->id = ++rt->last_loop_id;
  asy_loop_enrol(L, loop, -1);
  process_survive_sigpipe();
  rt->plugged |= process_plug_standard();
  int status = open_uv(loop);
  if (status) asy_oserror(L, status, "new_event_loop", NULL);
  loop->open = true;
  loop_watch_forks(loop);
  list_append(&rt->loops, &loop->link);
  observers_join(loop);
  return 1;
}
