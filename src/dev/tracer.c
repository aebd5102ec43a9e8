/*
** tracer.c - what is seen, as events. Nothing here makes anything in Lua, which could run finalisers, or raises: what
** there is no memory for is counted, and lost.
*/
#include "dev/tracer.h"

#include <stdio.h>

#include "base/alloc.h"
#include "core/error.h"
#include "sync/lock.h"

#define MEMORY_NS 200000 /* the memory in use is noted so often */
#define PLACE_LEVELS 20  /* so far up is looked for a function that is not the Lua layer's */

static Tracer *tracer_of(Observer *o) { return (Tracer *)o; }

_Static_assert(offsetof(Tracer, observer) == 0, "an observer is the first part of it");

/* The trace's clock: real time, and how far a virtual clock has gone without taking any. */
static uint64_t now_in(Tracer *t, const Loop *loop) {
  uint64_t now = uv_hrtime() - t->start;
  if (ASY_LIKELY(!loop->clock.is_virtual)) return now + t->skipped;
  uint64_t virtual_now = loop->clock.virtual_now;
  if (t->virtual_loop == loop->id && virtual_now > t->virtual_last)
    t->skipped += virtual_now - t->virtual_last;
  t->virtual_loop = loop->id;
  t->virtual_last = virtual_now;
  return now + t->skipped;
}

static Event *add(Tracer *t, EventKind kind, uint64_t at, uint64_t task) {
  Event *e = reel_add(&t->reel);
  *e = (Event){.kind = (uint8_t)kind, .at = at, .task = task};
  return e;
}

/* Texts */

static uint32_t say(Tracer *t, const char *text, size_t n) {
  return n ? phrases_add(&t->phrases, text, n, t->reel.n, reel_first(&t->reel)) : 0;
}

static uint32_t say_text(Tracer *t, const char *text) { return say(t, text, strlen(text)); }

/* Where L stands: the innermost function that is none of the Lua layer. */
static uint32_t say_place(Tracer *t, lua_State *L) {
  lua_Debug ar;
  for (int level = 0; level < PLACE_LEVELS && lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline <= 0 || (t->nhome && !strncmp(ar.source, t->home, t->nhome))) continue;
    return phrases_add_place(&t->phrases, ar.source, ar.short_src, ar.currentline, t->reel.n,
                             reel_first(&t->reel));
  }
  return 0;
}

/* Where a task's function stands in its source. idx: its userdata */
static uint32_t say_function(Tracer *t, lua_State *L, int idx) {
  lua_Debug ar;
  if (lua_getiuservalue(L, idx, TASK_UV_FUNCTION) != LUA_TFUNCTION) {
    lua_pop(L, 1);
    return 0;
  }
  lua_getinfo(L, ">S", &ar);
  if (ar.linedefined < 0) return 0;
  return phrases_add_place(&t->phrases, ar.source, ar.short_src, ar.linedefined, t->reel.n,
                           reel_first(&t->reel));
}

size_t asy_tracer_name(lua_State *L, const Tracer *t, const Task *task, int idx, char *text) {
  int top = lua_gettop(L);
  size_t n = 0;
  const char *name = NULL;
  if (lua_getiuservalue(L, idx, FUTURE_UV_EXTRAS) == LUA_TTABLE) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->name_ref);
    if (lua_rawget(L, -2) == LUA_TSTRING) name = lua_tolstring(L, -1, &n);
  }
  if (name) {
    if (n > PHRASE_MOST) n = PHRASE_MOST;
    memcpy(text, name, n);
  } else if (task->role && task->role->name) {
    task_default_name(task, text);
    n = strlen(text);
  }
  lua_settop(L, top);
  return n;
}

static uint32_t say_name(Tracer *t, lua_State *L, const Task *task, int idx) {
  char text[PHRASE_MOST];
  return say(t, text, asy_tracer_name(L, t, task, idx, text));
}

/* The error that a task failed with, if that has words at hand. idx: its userdata */
static uint32_t say_error(Tracer *t, lua_State *L, int idx) {
  uint32_t said = 0;
  size_t n;
  int top = lua_gettop(L);
  if (lua_getiuservalue(L, idx, FUTURE_UV_VALUE) == LUA_TTABLE) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->message_ref);
    lua_rawget(L, -2);
  }
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
  said = text ? say(t, text, n) : say_text(t, luaL_typename(L, -1));
  lua_settop(L, top);
  return said;
}

/* Tasks */

static void on_made(Observer *o, lua_State *L, Task *task) {
  Tracer *t = tracer_of(o);
  const Task *by = t->rt->current;
  if (!lua_checkstack(L, 5)) return;
  uint32_t function = say_function(t, L, -1), place = say_place(t, L);
  Event *e = add(t, EVENT_MADE, now_in(t, task->loop), task->number);
  e->other = by ? by->number : 0;
  e->on = (uint32_t)task->loop->id;
  e->text = function;
  e->place = place;
}

static Event *add_step(Tracer *t, uint64_t task, uint64_t now) {
  Event *e = add(t, EVENT_STEP, t->began, task);
  e->other = now;
  return e;
}

/* The last step of a task that ends goes on while it wakes others. Now it is over, in any case: something else begins. */
static void begin(Tracer *t, const Loop *loop) {
  uint64_t now = now_in(t, loop);
  if (t->ending) add_step(t, t->ending, now);
  t->ending = 0;
  t->began = now;
}

static void on_begins(Observer *o, Task *task) { begin(tracer_of(o), task->loop); }

static void note_memory(Tracer *t, const Loop *loop, uint64_t now) {
  int kib = lua_gc(t->L, LUA_GCCOUNT); /* -1 in a finaliser */
  t->remembered = now;
  if (kib >= 0) add(t, EVENT_MEMORY, now, loop->id)->other = (uint64_t)kib;
}

/* What a parked task waits for: a task by its number, all else by a phrase. */
static uint32_t say_what(Tracer *t, const Task *task, uint8_t *flags) {
  const WaitKind *kind = task->kind;
  const Future *f = kind->awaited && !kind->several ? kind->awaited(task, 0) : NULL;
  uint64_t number = f && f->task ? ((const Task *)f)->number : lock_waited_for(task);
  char text[ASY_WAIT_TEXT] = "";
  if (number) {
    *flags |= EVENT_ON_TASK;
    return (uint32_t)number;
  }
  if (!kind->describe) return 0;
  kind->describe(task, text);
  return say_text(t, text);
}

static void on_stops(Observer *o, lua_State *L, Task *task, StepEnd how) {
  Tracer *t = tracer_of(o);
  uint64_t now = now_in(t, task->loop);
  (void)L;
  if (how == STEP_ENDED) {
    t->ending = task->number;
    return;
  }
  bool gave_way = list_linked(&task->ready.link) && task->phase == TASK_PARKED;
  uint8_t flags = EVENT_PARKS | (gave_way ? EVENT_READY : 0);
  uint32_t text = say_text(t, task->kind->name);
  uint32_t place = task->parked ? say_place(t, task->parked) : 0;
  uint32_t on = say_what(t, task, &flags);
  Event *e = add_step(t, task->number, now);
  e->flags = flags;
  e->text = text;
  e->place = place;
  e->on = on;
  if (!t->remembered || now - t->remembered > MEMORY_NS) note_memory(t, task->loop, now);
}

static void note_end(Tracer *t, lua_State *L, Task *task, int idx, EventKind kind, uint8_t how) {
  if (!lua_checkstack(L, 5)) return;
  bool failed = kind == EVENT_ENDED && how == FUTURE_ERROR;
  uint32_t name = say_name(t, L, task, idx), function = say_function(t, L, idx),
           error = failed ? say_error(t, L, idx) : 0;
  Event *e = add(t, kind, now_in(t, task->loop), task->number);
  e->other = task->loop->id;
  e->flags = how;
  e->text = name;
  e->place = error;
  e->on = function;
}

static void on_ended(Observer *o, lua_State *L, Task *task) {
  Tracer *t = tracer_of(o);
  if (t->ending == task->number) add_step(t, task->number, now_in(t, task->loop));
  t->ending = 0;
  note_end(t, L, task, -1, EVENT_ENDED, task->future.state);
}

static void on_woken(Observer *o, Task *task) {
  Tracer *t = tracer_of(o);
  const Task *by = t->rt->current;
  Event *e = add(t, EVENT_WOKEN, now_in(t, task->loop), task->number);
  e->other = by ? by->number : t->ending;
  e->flags = task->code == ASY_WOKEN_CANCELLED ? EVENT_CANCELS : 0;
}

/* The loop */

static void on_begins_work(Observer *o, Loop *loop) { begin(tracer_of(o), loop); }

static void end_work(Tracer *t, const Loop *loop, EventKind kind) {
  uint64_t now = now_in(t, loop);
  add(t, kind, t->began, loop->id)->other = now;
  t->began = now;
}

static void on_polled(Observer *o, Loop *loop) { end_work(tracer_of(o), loop, EVENT_POLL); }

static void on_calls(Observer *o, lua_State *L, Loop *loop) {
  (void)L;
  on_begins_work(o, loop);
}

static void on_called(Observer *o, lua_State *L, Loop *loop) {
  (void)L;
  end_work(tracer_of(o), loop, EVENT_CALL);
}

static void on_collected(Observer *o, Loop *loop, uint64_t start, uint64_t end) {
  Tracer *t = tracer_of(o);
  uint64_t now = now_in(t, loop), took = end - start;
  add(t, EVENT_SWEPT, now > took ? now - took : 0, loop->id)->other = now;
  note_memory(t, loop, now);
}

static void on_hands(Observer *o, Loop *loop, const void *job, const char *what) {
  Tracer *t = tracer_of(o);
  uint32_t text = say_text(t, what);
  const Task *by = t->rt->current;
  Event *e = add(t, EVENT_HANDED, now_in(t, loop), by ? by->number : 0);
  e->other = (uint64_t)(uintptr_t)job;
  e->on = (uint32_t)loop->id;
  e->text = text;
}

static void on_handed(Observer *o, Loop *loop, const void *job) {
  Tracer *t = tracer_of(o);
  add(t, EVENT_BACK, now_in(t, loop), 0)->other = (uint64_t)(uintptr_t)job;
}

void tracer_cycle(Tracer *t) {
  if (t->rt && t->rt->running) add(t, EVENT_CYCLE, now_in(t, t->rt->running), t->rt->running->id);
}

/* Those that are left when a loop closes */

void asy_tracer_each(lua_State *L, Loop *loop, void (*visit)(lua_State *L, Task *task, void *arg),
                     void *arg) {
  if (!lua_checkstack(L, 10)) return;
  asy_held_table(L, loop);
  for (uint32_t i = ASY_SLOT_FIRST; lua_istable(L, -1) && i <= loop->held.n; i++) {
    lua_rawgeti(L, -1, i);
    Task *task = asy_test(L, loop->rt, -1, ASY_TASK);
    if (task && task->slot == i && task->phase != TASK_ENDED) visit(L, task, arg);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static void note_left(lua_State *L, Task *task, void *arg) {
  note_end(arg, L, task, lua_gettop(L), EVENT_LEFT, task->phase);
}

static void on_closes(Observer *o, lua_State *L, Loop *loop) {
  asy_tracer_each(L, loop, note_left, o);
}

/* The observer's own life */

static const Observer OBSERVER = {.made = on_made,
                                  .begins = on_begins,
                                  .stops = on_stops,
                                  .ended = on_ended,
                                  .woken = on_woken,
                                  .polls = on_begins_work,
                                  .polled = on_polled,
                                  .calls = on_calls,
                                  .called = on_called,
                                  .collected = on_collected,
                                  .hands = on_hands,
                                  .handed = on_handed,
                                  .closes = on_closes};

static int ref_of(lua_State *L, const char *text) {
  lua_pushstring(L, text);
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

void asy_tracer_begin(lua_State *L, Tracer *t, Runtime *rt, uint64_t most) {
  size_t n;
  const char *home = asy_home(L, &n);
  t->message_ref = ref_of(L, "message");
  t->name_ref = ref_of(L, "name");
  if (home && n < TRACER_HOME) memcpy(t->home, home, t->nhome = n);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  t->L = lua_tothread(L, -1);
  lua_pop(L, 1);
  if (rt->observers[0]) asy_error(L, ASY_BUSY, "a trace is on already: close that first");
  if (!reel_init(&t->reel, most)) asy_nomemory(L);
  t->observer = OBSERVER;
  t->rt = rt;
  t->start = uv_hrtime();
  observer_set(rt, WATCHED_TRACED, &t->observer);
}

void tracer_end(Tracer *t) {
  Runtime *rt = t->rt;
  if (!rt) return;
  Loop *loop = rt->running;
  t->end = loop ? now_in(t, loop) : uv_hrtime() - t->start + t->skipped;
  if (rt->current && loop) add_step(t, rt->current->number, t->end);
  if (rt->observers[0] == &t->observer) observer_set(rt, WATCHED_TRACED, NULL);
  t->rt = NULL;
}

void asy_tracer_free(lua_State *L, Tracer *t) {
  luaL_unref(L, LUA_REGISTRYINDEX, t->name_ref);
  luaL_unref(L, LUA_REGISTRYINDEX, t->message_ref);
  t->message_ref = t->name_ref = LUA_NOREF;
  reel_free(&t->reel);
  phrases_free(&t->phrases);
}
