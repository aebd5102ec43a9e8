/*
** trace.c - tracebacks that go on where an error crosses from one stack to the next.
*/
#include "core/trace.h"

#include <ctype.h>
#include <string.h>

#include "core/error.h"
#include "core/task.h"
#include "open.h"

/* The fields of a record. */
enum {
  FRAMES = 1, /* "\n\tfile:line: in ...", as luaL_traceback has them */
  HEADING,    /* whose stack it is */
  ID,         /* the task's number; 0: a thread's, CALLBACK_ID: a callback's */
  INNER,      /* the record of the level within, or nil */
  STACK,      /* the coroutine, by its address */
  AGAIN,      /* true: it was caught on this very stack before, and raised again */
  WHOLE       /* true: where it is raised again on this stack is no news */
};

enum { FIRST_LEVELS = 16, LAST_LEVELS = 6 }; /* what is told of a longer chain */

#define HEAD "stack traceback:"
#define CALLBACK_ID UINT64_MAX

static const char noted_key = 0; /* registry: what is noted while a callback runs */

/* Notes */

/* Pushes the table where things are noted now; nil when nothing runs. */
static bool push_notes(lua_State *L, Runtime *rt) {
  if (rt->current) {
    asy_task_push(L, rt->current);
    asy_future_extras(L, -1, true);
    lua_remove(L, -2);
  } else if (rt->running) {
    rt->noted = true;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &noted_key);
  } else
    lua_pushnil(L);
  return lua_istable(L, -1);
}

/* Pushes the record that was noted for the error at `err`, or nil. */
static bool push_noted(lua_State *L, Runtime *rt, int err) {
  int top = lua_gettop(L);
  bool found = push_notes(L, rt);
  if (found) {
    lua_getfield(L, top + 1, "noted_error");
    found = lua_rawequal(L, err, -1) && lua_getfield(L, top + 1, "noted_trace") == LUA_TTABLE;
  }
  if (!found) lua_pushnil(L);
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
  return found;
}

void asy_trace_note(lua_State *L, int err, bool whole) {
  int record = lua_gettop(L);
  if (whole) {
    lua_pushboolean(L, 1);
    lua_rawseti(L, record, WHOLE);
  }
  if (push_notes(L, asy_runtime(L))) {
    lua_pushvalue(L, err);
    lua_setfield(L, -2, "noted_error");
    lua_pushvalue(L, record);
    lua_setfield(L, -2, "noted_trace");
  }
  lua_settop(L, record - 1);
}

/* Records */

/* Where an argument error was raised is of no interest: the frames at the head that belong to asyncio.check, and
** a table of options that was called. */
static const char *skip_check(const char *frames) {
  static const char OPTIONS[] = "\n\t[C]: in upvalue '";
  if (!strncmp(frames, OPTIONS, sizeof OPTIONS - 1) && isupper((unsigned char)frames[sizeof OPTIONS - 1]) &&
      strchr(frames + 1, '\n'))
    frames = strchr(frames + 1, '\n');
  const char *from = frames;
  if (!strncmp(from, "\n\t[C]: ", 7)) from = strchr(from + 1, '\n');
  while (from) {
    const char *end = strchr(from + 1, '\n'), *check = strstr(from, "asyncio/check.lua:");
    if (!check || !end || check > end) break;
    frames = from = end;
  }
  return frames;
}

/* stack: ..., text of a traceback → ..., its frames, less what calls a task's function or a callback */
static void strip(lua_State *L) {
  static const char TAIL[] = "\n\t[C]: in ?";
  static const char RUNNER[] = "\n\t[C]: in ?\n\t[C]: in ?\n\t[C]: in function 'pcall'\n";
  asy_name_publicly(L);
  const char *from = lua_tostring(L, -1), *runner = strstr(from, RUNNER);
  if (!strncmp(from, HEAD, sizeof HEAD - 1)) from = skip_check(from + sizeof HEAD - 1);
  size_t n = runner > from ? (size_t)(runner - from) : strlen(from);
  if (n > sizeof TAIL && !memcmp(from + n - (sizeof TAIL - 1), TAIL, sizeof TAIL - 1)) n -= sizeof TAIL - 1;
  lua_pushstring(L, *from == '\n' ? "" : "\n");
  lua_pushlstring(L, from, n);
  lua_concat(L, 2);
  lua_replace(L, -2);
}

/* stack: ..., text of a traceback, heading → ..., record */
static void new_record(lua_State *L, uint64_t id) {
  lua_createtable(L, STACK, 0);
  lua_insert(L, -3);
  lua_rawseti(L, -3, HEADING);
  strip(L);
  lua_rawseti(L, -2, FRAMES);
  lua_pushinteger(L, (lua_Integer)id);
  lua_rawseti(L, -2, ID);
}

static bool same_field(lua_State *L, int a, int b, int field) {
  lua_rawgeti(L, a, field);
  lua_rawgeti(L, b, field);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

/* stack: ..., inner record, record; the second goes on from the first. False: it says nothing that the first doesn't. */
static bool join(lua_State *L) {
  int record = lua_gettop(L), inner = record - 1;
  bool again = same_field(L, record, inner, STACK) && same_field(L, record, inner, ID);
  if (again) {
    bool whole = lua_rawgeti(L, inner, WHOLE) == LUA_TBOOLEAN;
    lua_pop(L, 1);
    if (whole) return false;
    lua_pushboolean(L, 1);
    lua_rawseti(L, record, AGAIN);
  }
  lua_pushvalue(L, inner);
  lua_rawseti(L, record, INNER);
  return true;
}

/* Whether the CancelledError at 1 is a scope's own request: another error will take its place. */
static bool is_request(lua_State *L) {
  if (!lua_istable(L, 1)) return false;
  lua_pushliteral(L, "scope");
  bool yes = lua_rawget(L, 1) == LUA_TBOOLEAN;
  lua_pop(L, 1);
  return yes;
}

bool asy_trace_is_request(lua_State *L) { return asy_isinterruption(L, 1) && is_request(L); }

/* Whether the frames on the top, where an error was made, are elsewhere than those of the record, where it is raised: not
** just another line of the same function, nor of one of ours that it calls. */
static bool is_elsewhere(lua_State *L, int record) {
  const char *frame = lua_tostring(L, -1), *next, *layer, *end;
  for (bool own = false; frame; frame = next) {
    next = strchr(frame + 1, '\n');
    layer = strstr(frame, "/asyncio/");
    if (!strncmp(frame, "\n\t[C]: ", 7) || (layer && (!next || layer < next))) continue;
    if (own) break; /* who called the function that made it */
    own = true;
  }
  end = frame ? strstr(frame, ": in ") : NULL;
  if (!end) return false;
  lua_rawgeti(L, record, FRAMES);
  lua_pushlstring(L, frame, (size_t)(end - frame) + 1);
  bool elsewhere = !strstr(lua_tostring(L, -2), lua_tostring(L, -1));
  lua_pop(L, 2);
  return elsewhere;
}

/* stack: error, nil, record. Whether the error was made on this stack, was caught, and is raised again: then its record
** of that stands in the place of nil. */
static bool push_made(lua_State *L, const Task *t) {
  if (asy_made_on(L, 1) != L) return false;
  lua_pushliteral(L, "traceback");
  if (lua_rawget(L, 1) == LUA_TSTRING) {
    lua_pushliteral(L, "");
    new_record(L, t->number);
    lua_rawgeti(L, 4, FRAMES);
    bool elsewhere = is_elsewhere(L, 3);
    lua_pop(L, 1);
    if (elsewhere) {
      lua_rawgeti(L, 3, STACK);
      lua_rawseti(L, 4, STACK);
      lua_rawgeti(L, 3, HEADING);
      lua_rawseti(L, 4, HEADING);
      lua_replace(L, 2);
      return true;
    }
  }
  lua_settop(L, 3);
  return false;
}

bool asy_trace_take(lua_State *L, int level) {
  Runtime *rt = asy_runtime(L);
  Task *t = rt->current;
  if (!t || (asy_isinterruption(L, 1) && !t->traced && !is_request(L))) return false;
  lua_settop(L, 1);
  bool noted = push_noted(L, rt, 1);
  luaL_traceback(L, L, NULL, level);
  asy_task_push(L, t);
  asy_task_name(L, t, -1);
  lua_pushfstring(L, "in task '%s'", lua_tostring(L, -1));
  lua_replace(L, -3);
  lua_pop(L, 1);
  new_record(L, t->number); /* err, noted, record */
  lua_pushlightuserdata(L, L);
  lua_rawseti(L, 3, STACK);
  if (!(noted || push_made(L, t)) || join(L)) lua_replace(L, 2);
  lua_settop(L, 2);
  return true;
}

/* Futures */

void asy_trace_keep(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  asy_future_extras(L, idx, true);
  lua_insert(L, -2);
  lua_setfield(L, -2, "trace");
  lua_pop(L, 1);
}

void asy_trace_keep_foreign(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  lua_pushliteral(L, "in a worker thread");
  new_record(L, 0);
  asy_trace_keep(L, idx);
}

/* stack: ..., future → ..., the one that it shields; false, and the same, when that hasn't failed with its error */
static bool go_inwards(lua_State *L) {
  const Future *f = lua_touserdata(L, -1);
  if (f->task || !f->shields) return false;
  lua_getiuservalue(L, -1, FUTURE_UV_SHIELDED);
  f = lua_touserdata(L, -1);
  lua_getiuservalue(L, -2, FUTURE_UV_VALUE);
  lua_getiuservalue(L, -2, FUTURE_UV_VALUE);
  bool same = f->state == FUTURE_ERROR && lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  lua_remove(L, same ? -2 : -1);
  return same;
}

/* Pushes the record of the failed future at idx, or of one that it shields. */
static bool push_record(lua_State *L, int idx) {
  luaL_checkstack(L, 8, NULL);
  lua_pushvalue(L, idx);
  bool found;
  do {
    found = asy_future_extra(L, -1, "trace") == LUA_TTABLE;
    if (!found) lua_pop(L, 1);
  } while (!found && go_inwards(L));
  if (!found) lua_pushnil(L);
  lua_replace(L, -2);
  return found;
}

/* An Error that brings its traceback, as from somebody's set_exception. */
static bool push_brought(lua_State *L, int err) {
  if (!asy_isinstance(L, err, ASY_ERROR)) return false;
  lua_pushliteral(L, "traceback");
  if (lua_rawget(L, err) != LUA_TSTRING) {
    lua_pop(L, 1);
    return false;
  }
  lua_pushstring(L, asy_made_on(L, err) ? "where it was made" : "where it was raised");
  new_record(L, 0);
  return true;
}

void asy_trace_pass(lua_State *L, const Future *f, int idx) {
  Runtime *rt = asy_runtime(L);
  if (f->state != FUTURE_ERROR || !rt->running) return;
  int top = lua_gettop(L);
  luaL_checkstack(L, 12, NULL);
  lua_getiuservalue(L, idx, FUTURE_UV_VALUE);
  if (push_record(L, idx) || (lua_pop(L, 1), push_brought(L, top + 1)))
    asy_trace_note(L, top + 1, false);
  lua_settop(L, top);
}

/* Words */

/* stack: ..., record → ..., list of the records from it inwards; how many, and whether of several stacks */
static int unroll(lua_State *L, bool *several) {
  int list = lua_gettop(L) + 1, n = 0;
  lua_newtable(L);
  lua_insert(L, -2);
  list--;
  while (lua_istable(L, -1)) {
    if (n) {
      lua_rawgeti(L, list, n);
      if (!same_field(L, list + 1, list + 2, ID)) *several = true;
      lua_pop(L, 1);
    }
    lua_pushvalue(L, -1);
    lua_rawseti(L, list, ++n);
    lua_rawgeti(L, -1, INNER);
    lua_remove(L, -2);
  }
  lua_pop(L, 1);
  return n;
}

/* Adds a field of the list's i-th record. */
static void add_field(lua_State *L, luaL_Buffer *b, int list, int i, int field) {
  lua_rawgeti(L, list, i);
  lua_rawgeti(L, -1, field);
  lua_remove(L, -2);
  luaL_addvalue(b);
}

/* Adds the list's i-th record, and above it whose it is, if that is another than the one before. */
static void add_record(lua_State *L, luaL_Buffer *b, int list, int i, int n, bool named) {
  lua_rawgeti(L, list, i);
  bool other = i == n, again = lua_rawgeti(L, -1, AGAIN) == LUA_TBOOLEAN;
  lua_pop(L, 1);
  if (!other) {
    lua_rawgeti(L, list, i + 1);
    other = !same_field(L, lua_gettop(L), lua_gettop(L) - 1, ID);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  if (again)
    luaL_addstring(b, "\nraised again:");
  else if (other && named) {
    luaL_addchar(b, '\n');
    add_field(L, b, list, i, HEADING);
    luaL_addchar(b, ':');
  }
  add_field(L, b, list, i, FRAMES);
}

/* stack: ..., record → ..., text */
static void put_into_words(lua_State *L, bool named) {
  luaL_Buffer b;
  int list = lua_gettop(L), n = unroll(L, &named);
  bool shorten = n > FIRST_LEVELS + LAST_LEVELS;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, HEAD);
  for (int i = n; i >= 1; i--) {
    if (shorten && i == n - FIRST_LEVELS) {
      i = LAST_LEVELS;
      lua_pushfstring(L, "\n...\t(skipping %d tasks)", n - FIRST_LEVELS - LAST_LEVELS);
      luaL_addvalue(&b);
    }
    add_record(L, &b, list, i, n, named);
  }
  luaL_pushresult(&b);
  lua_replace(L, list);
}

void asy_trace_fill(lua_State *L, int err) {
  if (asy_isinstance(L, err, ASY_ERROR)) {
    lua_pushliteral(L, "traceback");
    if (lua_rawget(L, err) == LUA_TNIL || asy_made_on(L, err)) {
      lua_pushvalue(L, -2);
      put_into_words(L, false);
      asy_error_keep(L, err);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

const char *asy_trace_push(lua_State *L, int idx, bool named) {
  luaL_checkstack(L, 12, NULL);
  if (!push_record(L, idx)) return NULL;
  put_into_words(L, named);
  return lua_tostring(L, -1);
}

void asy_trace_leave(lua_State *L, int idx) {
  int top = lua_gettop(L);
  luaL_checkstack(L, 12, NULL);
  lua_getiuservalue(L, idx, FUTURE_UV_VALUE);
  if (asy_isinstance(L, -1, ASY_ERROR) && asy_trace_push(L, idx, false)) asy_error_mark_left(L);
  lua_settop(L, top);
}

/* Message handlers */

int asy_trace_handler(lua_State *L) {
  Runtime *rt = asy_runtime(L);
  if (asy_isinterruption(L, 1)) return 1;
  lua_settop(L, 1);
  bool noted = push_noted(L, rt, 1);
  luaL_traceback(L, L, NULL, 1);
  lua_pushliteral(L, "in a callback");
  new_record(L, CALLBACK_ID);
  if (noted) join(L);
  put_into_words(L, false);
  asy_error_keep(L, 1);
  rt->noted = true;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &noted_key);
  lua_insert(L, -2);
  lua_setfield(L, -2, "text");
  lua_settop(L, 1);
  return 1;
}

void asy_trace_pop(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &noted_key);
  lua_getfield(L, -1, "text");
  lua_remove(L, -2);
}

void asy_trace_forget(lua_State *L, Runtime *rt) {
  static const char *const FIELDS[] = {"noted_error", "noted_trace", "text"};
  rt->noted = false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &noted_key);
  for (int i = 0; i < 3; i++) {
    lua_pushnil(L);
    lua_setfield(L, -2, FIELDS[i]);
  }
  lua_pop(L, 1);
}

bool asy_trace_catch(lua_State *L) {
  if (asy_isinterruption(L, 1)) {
    if (asy_trace_take(L, 1)) asy_trace_note(L, 1, true);
    return false;
  }
  if (asy_trace_take(L, 1)) {
    lua_pushvalue(L, 2);
    asy_trace_note(L, 1, false);
    put_into_words(L, false);
  } else
    asy_traceback(L, L, 1);
  asy_error_keep(L, 1);
  return true;
}

/// A message handler for `asyncio.xpcall` that keeps the error as it is, and its traceback.
// `asyncio.xpcall` then returns the traceback after the error. An `Error` has it in its field `traceback` also; and
// should the error be raised again, whoever tells of it in the end tells also where it was raised first.
// @function traceback
// @param err the error
// @return the same
// @usage
// local function length(answer) return answer.header.length end
// local ok, err, traceback = asyncio.xpcall(length, asyncio.traceback, {})
// print(ok, err:match "nil value", traceback:match "^stack traceback:") --> false  nil value  stack traceback:
static int error_traceback(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  asy_trace_catch(L);
  lua_settop(L, 1);
  return 1;
}

bool asy_trace_catches(lua_State *L, int idx) { return lua_tocfunction(L, idx) == error_traceback; }

int asy_trace_rethrown(lua_State *L) {
  if (asy_trace_take(L, 1)) asy_trace_note(L, 1, true);
  lua_settop(L, 1);
  return 1;
}

void asy_trace_replace(lua_State *L, int err, int by) {
  luaL_checkstack(L, 12, NULL);
  if (push_noted(L, asy_runtime(L), err)) asy_trace_note(L, by, false); else lua_pop(L, 1);
}

/* replace_error(err, by) */
static int replace_error(lua_State *L) {
  lua_settop(L, 2);
  asy_trace_replace(L, 1, 2);
  return 0;
}

static const luaL_Reg functions[] = {{"traceback", error_traceback},
                                     {"note_traceback", asy_trace_rethrown},
                                     {"replace_error", replace_error},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_trace(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  lua_createtable(L, 0, 3);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &noted_key);
}
