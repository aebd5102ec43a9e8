/*
** survey.c - what is told of a loop to those who look on from outside: its numbers, its busiest tasks, all of them.
**
** A question comes by the inbox and is answered by a node on the ready list, between two steps; where there are many
** tasks, in slices: a few hundred microseconds in each turn, so that nobody else is late. So an answer is no
** photograph: tasks begin and end while it is written.
**
** An answer is lines of fields with tabs between them; bytes below 32, 127 and "\" are "\ddd". The numbers:
** KEY, VALUE (seconds with a fraction). A task: "task", number, state, name, what it waits for, the number of the task
** that holds the lock; then its places, "at", file:line, function, the innermost first; and tasks that it awaits,
** "for", numbers. Of the busiest: "busy", ns busy, scheduled, idle, steps since the last answer, then the task's
** lines.
*/
#include "dev/survey.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "core/error.h"
#include "dev/graph.h"
#include "dev/meter.h"
#include "dev/monitor.h"
#include "sync/lock.h"

#define SLICE_NS 200000 /* what an answer takes of each turn */
#define MOST_BUSIEST 100
#define MOST_FRAMES 8
#define MOST_LEVELS 100               /* of which these are looked for */
#define MOST_BYTES ((size_t)64 << 20) /* of an answer */
#define AWAITED_AT_ONCE 64

typedef struct Busiest {
  uint32_t slot;
  uint64_t number;
  TaskTimes times; /* since the last answer */
} Busiest;

typedef struct Survey {
  Desk desk; /* first */
  Ready ready;
  Loop *loop;
  bool runs;   /* a slice is under way ... */
  bool doomed; /* ... in which it was ended */
  bool measures;
  uint32_t slot;    /* where the answer goes on; 0: it begins */
  uint64_t awaiter; /* the number of the task whose awaited ones are being listed; 0: none */
  bool goes_on;     /* from a key that may have gone meanwhile, which is an error of lua_next's */
  uint64_t left_out;
  uint64_t asked_at; /* when the busiest were asked for last, by uv_hrtime */
  Busiest busiest[MOST_BUSIEST];
  uint32_t nbusiest;
  Buffer out;
  bool failed;
} Survey;

static const char list_key = 0; /* registry: the list of a group's tasks that is being told; nil */
static const char key_key = 0;  /* registry: where the list of awaited tasks goes on */

/* Writing */

static void put(Survey *s, const char *text, size_t n) {
  if (!s->failed && !buffer_append(&s->out, text, n)) s->failed = true;
}

static void put_text(Survey *s, const char *text) { put(s, text, strlen(text)); }

static void put_number(Survey *s, const char *before, uint64_t n) {
  char text[24], *at = text + sizeof text;
  do *--at = (char)('0' + n % 10);
  while (n /= 10);
  put_text(s, before);
  put(s, at, (size_t)(text + sizeof text - at));
}

/* Without what would be taken for a separator, or do something to a terminal. */
static void put_escaped(Survey *s, const char *text, size_t n) {
  char escape[8];
  size_t from = 0;
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c >= 32 && c != 127 && c != '\\') continue;
    put(s, text + from, i - from);
    snprintf(escape, sizeof escape, "\\%03d", c);
    put_text(s, escape);
    from = i + 1;
  }
  put(s, text + from, n - from);
}

/* The string on the top, which goes; anything else as nothing. */
static void put_top(lua_State *L, Survey *s) {
  size_t n = 0;
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
  put_text(s, "\t");
  if (text) put_escaped(s, text, n > 200 ? 200 : n);
  lua_pop(L, 1);
}

/* The loop's numbers */

static void put_count(Survey *s, const char *key, uint64_t n) {
  put_text(s, key);
  put_number(s, "\t", n);
  put_text(s, "\n");
}

static void put_seconds(Survey *s, const char *key, uint64_t ns) {
  char text[64];
  snprintf(text, sizeof text, "%s\t%.9f\n", key, (double)ns / NS_PER_S);
  put_text(s, text);
}

static void put_numbers(lua_State *L, Survey *s) {
  Stat stats[LOOP_STATS];
  int n = asy_loop_stats(L, s->loop, stats);
  for (int i = 0; i < n; i++) {
    if (stats[i].seconds)
      put_seconds(s, stats[i].key, stats[i].value);
    else
      put_count(s, stats[i].key, stats[i].value);
  }
}

/* A task */

static const char *phase_word(const Task *t) {
  switch ((TaskPhase)t->phase) {
  case TASK_NEW: return "new";
  case TASK_PARKED: return list_linked(&t->ready.link) ? "ready" : "waits";
  case TASK_WOKEN: return "ready";
  default: return "running";
  }
}

static void put_place(lua_State *L, Survey *s, lua_Debug *ar, int line) {
  put_text(s, "at\t");
  put_escaped(s, ar->short_src, strlen(ar->short_src));
  put_number(s, ":", (uint64_t)(line > 0 ? line : 0));
  lua_pushstring(L, ar->name ? ar->name : "");
  put_top(L, s);
  put_text(s, "\n");
}

/* The user's functions in a coroutine, the innermost first. */
static int put_frames(lua_State *L, Survey *s, lua_State *co, int most) {
  lua_Debug ar;
  int n = 0;
  for (int level = 0; n < most && level < MOST_LEVELS && lua_getstack(co, level, &ar); level++) {
    lua_getinfo(co, "S", &ar);
    if (*ar.what == 'C' || asy_is_home(L, ar.source)) continue;
    lua_getinfo(co, "nl", &ar);
    put_place(L, s, &ar, ar.currentline);
    n++;
  }
  return n;
}

/* idx: its userdata */
static void put_places(lua_State *L, Survey *s, const Task *t, int idx) {
  lua_Debug ar;
  if (t->phase == TASK_NEW) {
    if (lua_getiuservalue(L, idx, TASK_UV_FUNCTION) == LUA_TFUNCTION) {
      lua_getinfo(L, ">S", &ar);
      ar.name = NULL;
      put_place(L, s, &ar, ar.linedefined);
    } else
      lua_pop(L, 1);
    return;
  }
  if (!t->parked) return;
  int n = put_frames(L, s, t->parked, MOST_FRAMES);
  if (t->parked != t->co && n < MOST_FRAMES) put_frames(L, s, t->co, MOST_FRAMES - n);
}

static void put_task(lua_State *L, Survey *s, Task *t, int idx) {
  put_number(s, "task\t", t->number);
  put_text(s, "\t");
  put_text(s, phase_word(t));
  asy_task_name(L, t, idx);
  put_top(L, s);
  if (t->phase == TASK_PARKED && !list_linked(&t->ready.link))
    asy_task_push_wait(L, t);
  else
    lua_pushliteral(L, "");
  put_top(L, s);
  put_number(s, "\t", lock_waited_for(t));
  put_text(s, "\n");
  put_places(L, s, t, idx);
}

/* The tasks that it awaits */

static void put_awaited(lua_State *L, Survey *s, int idx) {
  const Task *t = asy_test(L, s->loop->rt, idx, ASY_TASK);
  if (t && t->phase != TASK_ENDED) put_number(s, "\t", t->number);
}

/* Some of a list, from a key on. The next key, nil after the last, takes the place of both. stack: ..., list, key → ...,
** key */
static void put_some(lua_State *L, Survey *s) {
  put_text(s, "for");
  for (int i = 0; i < AWAITED_AT_ONCE; i++) {
    if (!lua_next(L, -2)) {
      lua_pushnil(L);
      break;
    }
    put_awaited(L, s, -1);
    lua_pop(L, 1);
  }
  put_text(s, "\n");
  lua_remove(L, -2);
}

/* As asy_graph_awaited; but a group's list is made once for all its parts. */
static void push_awaited(lua_State *L, const Survey *s, Task *t, int idx, bool begins) {
  if (t->leaving && !begins) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &list_key) == LUA_TTABLE) return;
    lua_pop(L, 1);
  }
  asy_graph_awaited(L, s->loop->rt, t, idx);
  if (!t->leaving) return;
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &list_key);
}

/* Goes on with the tasks that the one at idx awaits. False: there are more. */
static bool list_awaited(lua_State *L, Survey *s, Task *t, int idx) {
  bool begins = s->awaiter != t->number;
  s->awaiter = 0;
  if (t->phase != TASK_PARKED) return true;
  int top = lua_gettop(L);
  push_awaited(L, s, t, idx, begins);
  if (!lua_istable(L, -1)) {
    if (!lua_isnil(L, -1)) {
      put_text(s, "for");
      put_awaited(L, s, -1);
      put_text(s, "\n");
    }
    lua_settop(L, top);
    return true;
  }
  if (begins)
    lua_pushnil(L);
  else
    lua_rawgetp(L, LUA_REGISTRYINDEX, &key_key);
  s->goes_on = !begins;
  put_some(L, s);
  s->goes_on = false;
  bool more = !lua_isnil(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key_key);
  if (!more && t->leaving) {
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &list_key);
  }
  lua_settop(L, top);
  if (more) s->awaiter = t->number;
  return !more;
}

/* Walking over the tasks */

/* What is done with each, which is at the top. False: it is not done with it. */
typedef bool Visit(lua_State *L, Survey *s, Task *t, int idx);

/* Goes on until its time is up. True: that was the last. */
static bool walk(lua_State *L, Survey *s, Visit *visit) {
  Loop *loop = s->loop;
  uint64_t end = uv_hrtime() + SLICE_NS;
  asy_held_table(L, loop);
  int held = lua_gettop(L);
  if (s->slot < ASY_SLOT_FIRST) s->slot = ASY_SLOT_FIRST;
  for (int n = 1; s->slot <= loop->held.n && lua_istable(L, held); n++) {
    lua_rawgeti(L, held, s->slot);
    Task *t = asy_test(L, loop->rt, -1, ASY_TASK);
    bool there = t && t->slot == s->slot && t->phase != TASK_ENDED;
    if (!there || visit(L, s, t, held + 1) || !loop->open) s->slot++;
    lua_settop(L, held);
    if (s->doomed) return true;
    if ((there || n % 64 == 0) && uv_hrtime() > end) return s->slot > loop->held.n;
  }
  return true;
}

static bool tell_whole(lua_State *L, Survey *s, Task *t, int idx) {
  if (buffer_length(&s->out) > MOST_BYTES) {
    s->left_out++;
    return true;
  }
  if (s->awaiter != t->number) put_task(L, s, t, idx);
  return list_awaited(L, s, t, idx);
}

static uint64_t moved(const TaskTimes *times) { return times->busy + times->scheduled; }

/* Kept sorted, the busiest first. */
static bool note_busiest(lua_State *L, Survey *s, Task *t, int idx) {
  (void)L;
  (void)idx;
  Busiest b = {.slot = t->slot, .number = t->number};
  uint32_t most = s->desk.argument < MOST_BUSIEST ? s->desk.argument : MOST_BUSIEST;
  if (!meter_take(s->loop->rt, t, s->asked_at, &b.times)) return true;
  uint32_t i = s->nbusiest < most ? s->nbusiest : most;
  while (i > 0 && moved(&s->busiest[i - 1].times) < moved(&b.times)) i--;
  if (i == most) return true;
  if (s->nbusiest < most) s->nbusiest++;
  memmove(&s->busiest[i + 1], &s->busiest[i], (s->nbusiest - 1 - i) * sizeof b);
  s->busiest[i] = b;
  return true;
}

static void put_busiest(lua_State *L, Survey *s) {
  asy_held_table(L, s->loop);
  int held = lua_gettop(L);
  for (uint32_t i = 0; i < s->nbusiest && lua_istable(L, held) && !s->doomed; i++) {
    const Busiest *b = &s->busiest[i];
    lua_rawgeti(L, held, b->slot);
    Task *t = asy_test(L, s->loop->rt, -1, ASY_TASK);
    if (t && t->number == b->number && t->phase != TASK_ENDED) {
      put_number(s, "busy\t", b->times.busy);
      put_number(s, "\t", b->times.scheduled);
      put_number(s, "\t", b->times.idle);
      put_number(s, "\t", b->times.steps);
      put_text(s, "\n");
      put_task(L, s, t, held + 1);
    }
    lua_settop(L, held);
  }
  lua_settop(L, held - 1);
}

/* Answers */

static void measure(Survey *s, bool on) {
  if (on == s->measures) return;
  if (!on)
    meter_leave(s->loop->rt);
  else if (!meter_want(s->loop->rt))
    return;
  else
    s->asked_at = uv_hrtime();
  s->measures = on;
}

/* Of an error, which goes, the first line. */
static void put_error(lua_State *L, Survey *s) {
  size_t n = 0;
  const char *text = luaL_tolstring(L, -1, &n), *end = memchr(text, '\n', n);
  buffer_free(&s->out);
  put_escaped(s, text, end ? (size_t)(end - text) : n);
  s->failed = true;
  lua_pop(L, 2);
}

/* What the Lua layer answers: nothing, or a list of tasks, or nil and why. */
static void answer_in_lua(lua_State *L, Survey *s, const char *word) {
  int top = lua_gettop(L);
  asy_loop_getfield(L, s->loop, "answerer");
  asy_loop_push(L, s->loop);
  lua_pushstring(L, word);
  lua_pushstring(L, s->desk.path);
  if (lua_pcall(L, 3, 2, 0) != LUA_OK || !lua_isnil(L, -1)) put_error(L, s);
  for (lua_Integer i = 1; lua_istable(L, top + 1) && lua_rawgeti(L, top + 1, i) != LUA_TNIL; i++) {
    Task *t = asy_test(L, s->loop->rt, -1, ASY_TASK);
    if (t && t->phase != TASK_ENDED) put_task(L, s, t, lua_gettop(L));
    lua_settop(L, top + 1);
  }
  lua_settop(L, top);
}

/* True: the answer is complete. */
static bool answer_some(lua_State *L, Survey *s) {
  bool begins = s->slot == 0;
  switch (s->desk.ask) {
  case ASK_REST: measure(s, false); return true;
  case ASK_STATS: put_numbers(L, s); return true;
  case ASK_LEAKS: answer_in_lua(L, s, "leaks"); return true;
  case ASK_TRACE_HTML:
  case ASK_TRACE_JSON: answer_in_lua(L, s, "trace"); return true;
  case ASK_TRACED: answer_in_lua(L, s, "traced"); return true;
  case ASK_TOP:
    if (begins) {
      measure(s, true);
      s->nbusiest = 0;
    }
    if (!walk(L, s, note_busiest)) return false;
    put_numbers(L, s);
    put_seconds(s, "interval", uv_hrtime() - s->asked_at);
    s->asked_at = uv_hrtime();
    put_busiest(L, s);
    return true;
  default:
    if (!walk(L, s, tell_whole)) return false;
    if (s->left_out) put_count(s, "more", s->left_out);
    return true;
  }
}

/* args: survey (light); → whether the answer is complete */
static int slice(lua_State *L) {
  Survey *s = lua_touserdata(L, 1);
  luaL_checkstack(L, 20, NULL);
  lua_pushboolean(L, answer_some(L, s));
  return 1;
}

static void free_survey(Survey *s) {
  buffer_free(&s->out);
  inbox_unref(s->desk.inbox);
  mem_free(s);
}

static void survey_run(lua_State *L, Loop *loop, Ready *self) {
  Survey *s = asy_container(self, Survey, ready);
  atomic_fetch_add(&s->desk.progress, 1);
  lua_pushcfunction(L, slice);
  lua_pushlightuserdata(L, s);
  s->runs = true;
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    s->failed = !s->goes_on; /* out of memory; or the rest of the list is not told */
    s->slot++;
    s->awaiter = 0;
    s->goes_on = false;
    lua_pop(L, 1);
    lua_pushboolean(L, 0);
  }
  s->runs = false;
  bool complete = lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (s->doomed)
    free_survey(s);
  else if (complete || s->failed)
    monitor_answer(&s->desk, &s->out, !s->failed);
  else
    loop_ready(loop, &s->ready);
}

/* A question has come. C only. */
static void on_asked(Desk *desk) {
  Survey *s = (Survey *)desk;
  s->slot = 0;
  s->awaiter = s->left_out = 0;
  s->failed = s->goes_on = false;
  buffer_free(&s->out);
  if (!list_linked(&s->ready.link)) loop_ready(s->loop, &s->ready);
}

static void on_left(Desk *desk) {
  Survey *s = (Survey *)desk;
  if (s->runs)
    s->doomed = true;
  else
    free_survey(s);
}

/* Begun and ended */

static Survey *new_survey(Loop *loop) {
  Survey *s = mem_calloc(1, sizeof *s);
  if (!s) return NULL;
  s->loop = loop;
  s->ready.run = survey_run;
  list_init(&s->ready.link);
  list_init(&s->desk.link);
  s->desk.inbox = inbox_ref(loop->inbox);
  s->desk.asked = on_asked;
  s->desk.destroy = on_left;
  return s;
}

void asy_survey_begin(lua_State *L, Loop *loop, const char *path) {
  char why[MONITOR_WHY];
  if (loop->survey) asy_error(L, ASY_BUSY, "the loop has a monitor already");
  asy_checkalive(L);
  Survey *s = new_survey(loop);
  if (!s) asy_nomemory(L);
  int status = monitor_join(&s->desk, path, why);
  if (!status) {
    loop->survey = s;
    return;
  }
  free_survey(s);
  if (status == EBUSY) asy_error(L, ASY_BUSY, why);
  asy_oserror(L, -status, why, NULL);
}

void survey_end(Loop *loop) {
  Survey *s = loop->survey;
  if (!s) return;
  loop->survey = NULL;
  list_remove(&s->ready.link);
  measure(s, false);
  monitor_leave(&s->desk);
}

void survey_in_child(Loop *loop, bool live) {
  Survey *s = loop->survey;
  monitor_in_child();
  loop->survey = NULL;
  if (live && s && !s->desk.posted && !s->runs) free_survey(s);
}
