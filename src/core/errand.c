/*
** errand.c - a task waits for one chore.
*/
#include "core/errand.h"

#include "core/error.h"
#include "core/observer.h"

static Errand *errand_of(Chore *chore) { return asy_container(chore, Errand, chore); }

static void free_chore(Chore *chore) { errand_of(chore)->free(errand_of(chore)); }

/* On the loop's thread, which is not to hang. */
static void drop(Errand *e) {
  ErrandRest rest = e->loop && e->rest ? e->rest(e) : ERRAND_NO_REST;
  if (rest != ERRAND_NO_REST) {
    e->chore.work = e->give_back;
    e->chore.done = e->chore.lost = free_chore;
    if (!loop_add_forsaken(e->loop, e->crew, &e->chore, rest == ERRAND_OWED_REST)) return;
  }
  e->free(e);
}

static void on_done(Chore *chore) {
  Errand *e = errand_of(chore);
  if (e->task && e->loop->watched) observers_handed(e->loop, e);
  if (e->task)
    task_wake(e->task, 0);
  else
    drop(e);
}

/* args: errand (light), what is named in an error */
static int push_results(lua_State *L) {
  Errand *e = lua_touserdata(L, 1);
  lua_remove(L, 1);
  if (e->chore.no_thread) return asy_oserror(L, -e->chore.no_thread, "thread", lua_tostring(L, 1));
  return e->results(L, e);
}

int asy_errand_results(lua_State *L, Errand *e) {
  int top = lua_gettop(L);
  lua_pushcfunction(L, push_results);
  lua_pushlightuserdata(L, e);
  lua_pushvalue(L, top);
  int status = lua_pcall(L, 2, LUA_MULTRET, 0);
  drop(e);
  return status ? lua_error(L) : lua_gettop(L) - top;
}

int asy_errand_finish(lua_State *L, Task *t) { return asy_errand_results(L, t->on); }

Abort asy_errand_abort(lua_State *L, Task *t) {
  Errand *e = t->on;
  (void)L;
  if (e->loop->watched) observers_handed(e->loop, e);
  e->task = NULL;
  if (crew_leave(&e->chore)) drop(e);
  return ASY_DETACHED;
}

void asy_errand_giveback(lua_State *L, Task *t) {
  (void)L;
  drop(t->on);
}

int asy_errand_run(lua_State *L, Task *t, Errand *e, LoopCrew crew, const WaitKind *kind) {
  e->task = t;
  e->loop = t->loop;
  e->crew = crew;
  e->chore.done = on_done;
  e->chore.lost = free_chore;
  e->chore.no_thread = loop_add_chore(t->loop, crew, &e->chore);
  if (e->chore.no_thread) return asy_errand_results(L, e);
  if (e->loop->watched) observers_hands(e->loop, e, kind->name);
  return asy_park(L, t, kind, e);
}
