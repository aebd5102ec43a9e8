/*
** shield.c - futures that stand for another one: asyncio.shield's ends as that does, but to cancel it cancels nothing else.
**
** It has a Waiter in the line of the future that it shields, whose extras anchor it meanwhile, under its address. When
** that one ends, the loop holds it until its turn, in which it ends, too.
*/
#include "core/error.h"
#include "core/future.h"
#include "open.h"

/* It waits for nothing any more. loop: NULL where that is gone */
static void leave(lua_State *L, Loop *loop, Shield *s, int idx) {
  if (!list_linked(&s->waiter.link) && !s->slot) return;
  list_remove(&s->waiter.link);
  list_remove(&s->ready.link);
  if (s->slot && loop) asy_release(L, loop, s->slot);
  s->slot = 0;
  lua_getiuservalue(L, idx, FUTURE_UV_SHIELDED);
  asy_future_extras(L, -1, false);
  lua_pushnil(L);
  lua_rawsetp(L, -2, s);
  lua_pop(L, 2);
}

/* What it shields has ended, and so does it, unless somebody has ended it before. idx: its userdata */
static void end(lua_State *L, Loop *loop, Shield *s, int idx) {
  lua_getiuservalue(L, idx, FUTURE_UV_SHIELDED);
  Future *f = &s->hooked.future, *inner = lua_touserdata(L, -1);
  if (f->state == FUTURE_PENDING) {
    if (inner->state == FUTURE_CANCELLED)
      asy_cancelled_push(L, 0);
    else
      lua_getiuservalue(L, -1, FUTURE_UV_VALUE);
    asy_future_settle(L, loop->rt, f, idx, (FutureState)inner->state, inner->packed);
    inner->looked = true;
  }
  lua_pop(L, 1);
  leave(L, loop, s, idx);
}

static void on_turn(lua_State *L, Loop *loop, Ready *self) {
  Shield *s = asy_container(self, Shield, ready);
  list_prepend(&loop->ready, &s->ready.link); /* should memory run out, this is tried again */
  asy_held_push(L, loop, s->slot);
  end(L, loop, s, lua_gettop(L));
  lua_pop(L, 1);
}

static void on_ended(Waiter *w, int code) {
  Shield *s = asy_container(w, Shield, waiter);
  (void)code;
  list_remove(&w->link);
  if (s->slot) loop_ready(s->loop, &s->ready);
}

static void on_cancelled(lua_State *L, HookedFuture *f) {
  leave(L, loop_find(asy_runtime(L), f->future.loop_id), (Shield *)f, 1);
}

static bool on_late(lua_State *L, Loop *loop, HookedFuture *f) {
  Shield *s = (Shield *)f;
  if (!list_linked(&s->ready.link)) return false;
  end(L, loop, s, 1);
  return true;
}

/* For the Lua layer */

static Future *check_future(lua_State *L) {
  Future *f = asy_tofuture(L, ASY_RUNTIME(L), 1);
  if (!f) asy_typeerror(L, 1, 1, "asyncio.Future", "");
  return f;
}

/* stack: future → future, its loop, one that stands for it and waits for nothing */
static Shield *new_shield(lua_State *L, const Future *f) {
  Loop *loop = loop_find(ASY_RUNTIME(L), f->loop_id);
  lua_settop(L, 1);
  if (!loop) asy_error(L, ASY_CLOSED, "the event loop of the future is closed");
  asy_loop_checkopen(L, loop);
  asy_loop_push(L, loop);
  Shield *s = (Shield *)asy_future_hooked(L, loop, sizeof *s, FUTURE_UV_SHIELDED, on_cancelled);
  s->hooked.future.shields = true;
  s->hooked.late = on_late;
  s->waiter = (Waiter){.wake = on_ended, .blind = true, .shields = true};
  s->ready.run = on_turn;
  list_init(&s->waiter.link);
  list_init(&s->ready.link);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 3, FUTURE_UV_SHIELDED);
  if (loop->debug) asy_debug_note(L, 3, "made_at", 1);
  return s;
}

/* shield(future) → one that ends as it does; itself, when it has ended */
static int shield(lua_State *L) {
  Future *f = check_future(L);
  lua_settop(L, 1);
  if (f->state != FUTURE_PENDING) return 1;
  Shield *s = new_shield(L, f);
  asy_future_extras(L, 1, true);
  if (f->state != FUTURE_PENDING) { /* a finaliser has ended it meanwhile */
    lua_settop(L, 1);
    return 1;
  }
  lua_pushvalue(L, 3);
  lua_rawsetp(L, 4, s);
  f->shielded = true;
  list_append(&f->waiters, &s->waiter.link);
  lua_settop(L, 3);
  return 1;
}

/* stand_in(future) → one that is to be ended by hand, for who looks whether tasks wait for each other */
static int stand_in(lua_State *L) {
  new_shield(L, check_future(L));
  return 1;
}

static const luaL_Reg functions[] = {{"shield", shield}, {"stand_in", stand_in}, {NULL, NULL}};

/* stack: module */
void asy_open_shield(lua_State *L) { asy_setfuncs(L, functions); }
