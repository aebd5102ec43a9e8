/*
** answer.c - what asyncio.await_callback waits for: the one call of a callback that others were given. Who waits for
** the end of a pool does so, too.
**
** An Answer's user value 1 is what the callback was called with, packed. The callback is a closure over the Answer, so
** it keeps no task alive; a task that waits holds the Answer. Who is called a second time, or when nobody waits any
** more, does nothing; debug mode reports it.
*/
#include "core/error.h"
#include "core/process.h"
#include "core/report.h"
#include "core/task.h"
#include "open.h"

typedef enum AnswerState {
  ANSWER_OPEN,  /* not called yet */
  ANSWER_GIVEN, /* called */
  ANSWER_LEFT   /* the task was cancelled first */
} AnswerState;

typedef struct Answer {
  ListNode waiters; /* the task that waits, which holds the Answer meanwhile */
  uint64_t loop_id;
  uint8_t state;
  bool packed;
} Answer;

#define CALLBACK_ANSWER lua_upvalueindex(2)

/* The callback is of no use any more. */
static void report_late(lua_State *L, const Answer *a) {
  Loop *loop = loop_find(ASY_RUNTIME(L), a->loop_id);
  if (!loop || !loop->debug) return;
  luaL_checkstack(L, 10, NULL);
  asy_traceback(L, L, 1);
  asy_report(L, loop, (Report){.message = a->state == ANSWER_GIVEN
                                              ? "the callback of an await_callback was called again: ignored"
                                              : "the callback of an await_callback was called after its task had "
                                                "been cancelled: ignored",
                               .source = lua_tostring(L, -1)});
  lua_pop(L, 1);
}

/* The value on the top is the answer, and whoever waits is woken. */
static void give(lua_State *L, Answer *a, int answer, bool packed) {
  lua_setiuservalue(L, answer, 1);
  a->packed = packed;
  a->state = ANSWER_GIVEN;
  waiter_wake_all(&a->waiters, 0);
}

/* The callback, with any arguments. */
static int answer_call(lua_State *L) {
  Answer *a = lua_touserdata(L, CALLBACK_ANSWER);
  const Loop *running = ASY_RUNTIME(L)->running;
  if (running && running->writing != process_writing())
    return asy_error(L, ASY_ERROR, "the callback of an await_callback was called on another thread");
  bool packed = a->state == ANSWER_OPEN && asy_pack(L, lua_gettop(L)); /* a finaliser may call it meanwhile */
  if (a->state == ANSWER_OPEN)
    give(L, a, CALLBACK_ANSWER, packed);
  else
    report_late(L, a);
  return 0;
}

/* stack: answer, ... → ..., results */
static int push_results(lua_State *L, const Answer *a) {
  lua_getiuservalue(L, 1, 1);
  if (!a->packed) return 1;
  int table = lua_gettop(L);
  lua_getfield(L, table, "n");
  int n = (int)lua_tointeger(L, -1);
  luaL_checkstack(L, n, "too many results");
  for (int i = 1; i <= n; i++) lua_rawgeti(L, table, i);
  return n;
}

static int answer_finish(lua_State *L, Task *t) { return push_results(L, t->on); }

static Abort answer_abort(lua_State *L, Task *t) {
  Answer *a = t->on;
  (void)L;
  list_remove(&t->waiter.link);
  a->state = ANSWER_LEFT;
  return ASY_DETACHED;
}

static const WaitKind CALLBACK = {.name = "callback", .finish = answer_finish, .abort = answer_abort,
                                  .woken_by = task_woken_by_on};
static const WaitKind POOL = {.name = "pool's end", .finish = answer_finish, .abort = answer_abort,
                              .may_come = task_waits_for_us, .woken_by = task_woken_by_on};

static Answer *check_answer(lua_State *L) {
  return asy_check(L, ASY_RUNTIME(L), 1, ASY_ANSWER, "asyncio.Answer");
}

/* → what a task waits for */
static int answer_new(lua_State *L) {
  Task *t = asy_current(L);
  Answer *a = lua_newuserdatauv(L, sizeof *a, 1);
  *a = (Answer){.loop_id = t->loop->id};
  list_init(&a->waiters);
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_ANSWER);
  lua_setmetatable(L, -2);
  return 1;
}

/* answer → its callback */
static int answer_callback(lua_State *L) {
  check_answer(L);
  lua_settop(L, 1);
  asy_pushclosure(L, answer_call, 1);
  return 1;
}

/* answer, value → whether that will be taken: not where it was given before, or whoever waited was cancelled */
static int answer_give(lua_State *L) {
  Answer *a = check_answer(L);
  bool wanted = a->state == ANSWER_OPEN;
  lua_settop(L, 2);
  if (wanted) give(L, a, 1, false);
  lua_pushboolean(L, wanted);
  return 1;
}

/* answer, whether a pool's → what the callback is called with, once it has been */
static int answer_await(lua_State *L) {
  Answer *a = check_answer(L);
  Task *t = asy_current(L);
  const WaitKind *kind = lua_toboolean(L, 2) ? &POOL : &CALLBACK;
  lua_settop(L, 1);
  if (a->state == ANSWER_GIVEN) return push_results(L, a);
  list_append(&a->waiters, &t->waiter.link);
  return asy_park_on(L, t, kind, a, 1);
}

static const luaL_Reg functions[] = {{"new_answer", answer_new},
                                     {"answer_callback", answer_callback},
                                     {"give_answer", answer_give},
                                     {"await_answer", answer_await},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_answer(lua_State *L) {
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_ANSWER, "asyncio.Answer", NULL, NULL);
}
