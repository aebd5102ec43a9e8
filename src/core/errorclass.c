/*
** errorclass.c - the error classes.
**
** Those of a Lua state stand in one registry table, by their number in ErrorClass, and never change.
*/
#include "core/argument.h"
#include "core/error.h"
#include "core/words.h"
#include "open.h"

#include <string.h>

#include <uv.h>

static const char classes_key = 0; /* address = registry key of the table of classes */

/* Registry: weak, from each class to its id and from the id to the class. A built-in class's id is one
** byte, its ErrorClass; those of `subclass` are theirs in the whole process. */
static const char ids_key = 0;
enum { IDS_OPENED = 1, IDS_LAST = 2 }; /* in it: when this state opened; how many ids it has made */

static const char left_key = 0; /* registry: an error that has left `run` → the way it came, with weak keys */

typedef struct ClassInfo {
  const char *name, *text; /* text: what tostring says when there is no message */
  ErrorClass super;
} ClassInfo;

static const ClassInfo CLASSES[ASY_NCLASSES] = {
    [ASY_ERROR] = {"Error", "error", 0},
    [ASY_CANCELLED] = {"CancelledError", "the task was cancelled", 0},
    [ASY_KEYBOARD_INTERRUPT] = {"KeyboardInterrupt", "interrupted by Ctrl-C", 0},
    [ASY_TIMEOUT] = {"TimeoutError", "timed out", ASY_ERROR},
    [ASY_INVALID_STATE] = {"InvalidStateError", "invalid state", ASY_ERROR},
    [ASY_QUEUE_EMPTY] = {"QueueEmpty", "the queue is empty", ASY_ERROR},
    [ASY_QUEUE_FULL] = {"QueueFull", "the queue is full", ASY_ERROR},
    [ASY_QUEUE_SHUTDOWN] = {"QueueShutDown", "the queue has been shut down", ASY_ERROR},
    [ASY_INCOMPLETE_READ] = {"IncompleteReadError", "the stream ended too early", ASY_ERROR},
    [ASY_LIMIT_OVERRUN] = {"LimitOverrunError", "no separator within the limit", ASY_ERROR},
    [ASY_BROKEN_BARRIER] = {"BrokenBarrierError", "the barrier is broken", ASY_ERROR},
    [ASY_BROKEN_EXECUTOR] = {"BrokenExecutorError", "the executor is broken", ASY_ERROR},
    [ASY_BUSY] = {"BusyError", "in use by another task", ASY_ERROR},
    [ASY_CLOSED] = {"ClosedError", "closed", ASY_ERROR},
    [ASY_EXCEPTION_GROUP] = {"ExceptionGroup", "several errors", ASY_ERROR},
    [ASY_OSERROR] = {"OSError", "operating system error", ASY_ERROR},
    [ASY_CONNECTION] = {"ConnectionError", "the connection failed", ASY_OSERROR},
    [ASY_CONNECTION_REFUSED] = {"ConnectionRefusedError", "connection refused", ASY_CONNECTION},
    [ASY_CONNECTION_RESET] = {"ConnectionResetError", "connection reset by peer", ASY_CONNECTION},
    [ASY_BROKEN_PIPE] = {"BrokenPipeError", "broken pipe", ASY_CONNECTION},
    [ASY_ADDRESS_IN_USE] = {"AddressInUseError", "address already in use", ASY_OSERROR},
    [ASY_FILE_NOT_FOUND] = {"FileNotFoundError", "no such file or directory", ASY_OSERROR},
    [ASY_PERMISSION] = {"PermissionError", "permission denied", ASY_OSERROR},
    [ASY_GAI] = {"GaiError", "name resolution failed", ASY_OSERROR},
    [ASY_SSL] = {"SSLError", "TLS failed", ASY_OSERROR},
    [ASY_SSL_CERT_VERIFICATION] = {"SSLCertVerificationError", "certificate verify failed", ASY_SSL},
    [ASY_SSL_EOF] = {"SSLEOFError", "the TLS connection was cut", ASY_SSL},
    [ASY_FILE_EXISTS] = {"FileExistsError", "file already exists", ASY_OSERROR},
    [ASY_IS_A_DIRECTORY] = {"IsADirectoryError", "is a directory", ASY_OSERROR},
    [ASY_NOT_A_DIRECTORY] = {"NotADirectoryError", "not a directory", ASY_OSERROR},
    [ASY_PROCESS_LOOKUP] = {"ProcessLookupError", "no such process", ASY_OSERROR},
    [ASY_CHILD_PROCESS] = {"ChildProcessError", "no such child process", ASY_OSERROR},
    [ASY_CALLED_PROCESS] = {"CalledProcessError", "the program failed", ASY_ERROR},
    [ASY_DEADLOCK] = {"DeadlockError", "every task waits, and there is nothing that could wake one", ASY_ERROR},
};

void asy_class_push(lua_State *L, ErrorClass cls) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &classes_key);
  lua_rawgeti(L, -1, cls);
  lua_remove(L, -2);
}

/* stack: ..., class wanted; whether the value's metatable is that class or has it above it.
** Pops the class. Only raw reads: it also runs in message handlers and finalisers. */
static bool instance_of_top(lua_State *L, int idx) {
  const void *want = lua_topointer(L, -1);
  bool found = false;
  if (!lua_istable(L, idx) || !lua_getmetatable(L, idx)) {
    lua_pop(L, 1);
    return false;
  }
  for (int depth = 0; lua_istable(L, -1) && depth < 100; depth++) {
    if ((found = lua_topointer(L, -1) == want)) break;
    lua_pushliteral(L, "super");
    lua_rawget(L, -2);
    lua_remove(L, -2);
  }
  lua_pop(L, 2);
  return found;
}

bool asy_isinstance(lua_State *L, int idx, ErrorClass cls) {
  idx = lua_absindex(L, idx);
  if (!lua_istable(L, idx)) return false;
  luaL_checkstack(L, 5, NULL);
  asy_class_push(L, cls);
  return instance_of_top(L, idx);
}

bool asy_isinterruption(lua_State *L, int idx) {
  return asy_isinstance(L, idx, ASY_CANCELLED) || asy_isinstance(L, idx, ASY_KEYBOARD_INTERRUPT);
}

/* Classes, as Lua sees them */

/* stack: ..., text → ..., text and, when the error at 1 has left `run`, how it came there: plain lua shows no more */
static void add_way(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &left_key);
  lua_pushvalue(L, 1);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  if (lua_isstring(L, -1)) {
    lua_pushliteral(L, "\n");
    lua_insert(L, -2);
    lua_concat(L, 3);
  } else
    lua_pop(L, 1);
}

/* tostring(error): "Class: message"; OSErrors "[CODE] message"; a bare Error its message alone. */
static int error__tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_getfield(L, 1, "message");
  if (lua_isnil(L, 2)) {
    lua_getfield(L, 1, "text");
    lua_replace(L, 2);
  }
  if (asy_isinstance(L, 1, ASY_OSERROR) && lua_getfield(L, 1, "code") == LUA_TSTRING) {
    lua_pushliteral(L, "[");
    lua_insert(L, -2);
    lua_pushliteral(L, "] ");
    asy_words(L, 2);
    lua_concat(L, 4);
  } else {
    lua_settop(L, 2);
    lua_getmetatable(L, 1);
    asy_class_push(L, ASY_ERROR);
    if (lua_rawequal(L, -1, -2))
      asy_words(L, 2);
    else {
      lua_getfield(L, 3, "name");
      asy_words(L, -1);
      lua_pushliteral(L, ": ");
      asy_words(L, 2);
      lua_concat(L, 3);
    }
  }
  add_way(L);
  return 1;
}

void asy_error_mark_left(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &left_key);
  lua_insert(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

/* mark_left(err, traceback): the error leaves `run`, and came from there */
static int error_mark_left(lua_State *L) {
  lua_settop(L, 2);
  asy_error_mark_left(L);
  return 0;
}

/* left_from(err) → where it came from, when it has left `run` */
static int error_left_from(lua_State *L) {
  lua_settop(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &left_key);
  lua_insert(L, 1);
  lua_rawget(L, 1);
  return 1;
}

static int class__tostring(lua_State *L) {
  lua_getfield(L, 1, "name");
  lua_pushliteral(L, "class asyncio.");
  asy_words(L, -2);
  lua_concat(L, 2);
  return 1;
}

/* Class(message) or Class{message=, field=...}; a class may say more in `init(err, ...)`. */
static int class__call(lua_State *L) {
  int n = lua_gettop(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkstack(L, n + 10, "too many arguments");
  lua_createtable(L, 0, 2);
  if (lua_istable(L, 2) && !lua_getmetatable(L, 2)) {
    for (lua_pushnil(L); lua_next(L, 2);) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_rawset(L, n + 1);
    }
  } else {
    lua_settop(L, n + 1);
    lua_pushvalue(L, 2);
    lua_setfield(L, n + 1, "message");
  }
  lua_pushvalue(L, 1);
  lua_setmetatable(L, n + 1);
  if (lua_getfield(L, 1, "init") == LUA_TFUNCTION) {
    lua_pushvalue(L, n + 1);
    for (int i = 2; i <= n; i++) lua_pushvalue(L, i);
    lua_call(L, n, 0);
  }
  lua_settop(L, n + 1);
  if (asy_isinstance(L, n + 1, ASY_ERROR)) asy_made_note(L, 1);
  return 1;
}

static int class_subclass(lua_State *L);

void asy_class_begin(lua_State *L) {
  luaL_checkstack(L, 6, NULL);
  lua_createtable(L, 0, 8);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_createtable(L, 0, 4); /* the class's own metatable */
  lua_pushcfunction(L, class__call);
  lua_setfield(L, -2, "__call");
  lua_pushcfunction(L, class__tostring);
  lua_setfield(L, -2, "__tostring");
  lua_setmetatable(L, -2);
}

/* stack: ..., class, parent or nil → the same */
static void link_parent(lua_State *L) {
  bool root = lua_isnil(L, -1);
  lua_getmetatable(L, -2);
  if (root) {
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, class_subclass);
    lua_setfield(L, -2, "subclass");
  } else {
    lua_pushvalue(L, -2);
  }
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

/* What a class inherits. stack: ..., class, parent or nil → ..., class */
static void set_parent(lua_State *L) {
  link_parent(L);
  if (lua_isnil(L, -1))
    lua_pushcfunction(L, error__tostring);
  else
    lua_getfield(L, -1, "__tostring");
  lua_setfield(L, -3, "__tostring");
  lua_setfield(L, -2, "super");
}

/* stack: ..., parent or nil → ..., class */
static void new_class(lua_State *L, const char *name) {
  asy_class_begin(L);
  lua_insert(L, -2);
  set_parent(L);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "name");
  lua_pushfstring(L, "asyncio.%s", name);
  lua_setfield(L, -2, "__name");
}

/* The class is one, and knows its id. stack: ..., class, id → ..., class */
static void give_id(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ids_key);
  lua_pushvalue(L, -3);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 2);
}

/* It can be found by its id. stack: ..., class, id → ..., class */
static void publish(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ids_key);
  lua_insert(L, -2);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

/* stack: ..., class, id → ..., class */
static void register_class(lua_State *L) {
  lua_pushvalue(L, -1);
  lua_rotate(L, -3, 1); /* id, class, id */
  give_id(L);
  lua_insert(L, -2);
  publish(L);
}

/* Pushes an id that no class of this process has or will have: no two states are at one address at
** one time, and none counts to the same number twice. */
static void push_new_id(lua_State *L) {
  struct {
    const void *state;
    uint64_t opened;
    lua_Integer number;
  } id;
  memset(&id, 0, sizeof id); /* the padding, too */
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ids_key);
  lua_rawgeti(L, -1, IDS_OPENED);
  lua_rawgeti(L, -2, IDS_LAST);
  id.state = lua_topointer(L, LUA_REGISTRYINDEX);
  id.opened = (uint64_t)lua_tointeger(L, -2);
  id.number = lua_tointeger(L, -1) + 1;
  lua_pushinteger(L, id.number);
  lua_rawseti(L, -4, IDS_LAST);
  lua_pop(L, 3);
  lua_pushlstring(L, (const char *)&id, sizeof id);
}

/// A class below this one: `local MyError = asyncio.Error:subclass("MyError")`.
// @function Error:subclass
// @string name shown by tostring
// @treturn table the class: call it to make an error
static int class_subclass(lua_State *L) {
  size_t length;
  if (!asy_class_id(L, 1, &length)) asy_badself(L, "error class");
  const char *name = luaL_checkstring(L, 2);
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  new_class(L, name);
  push_new_id(L);
  register_class(L);
  return 1;
}

const char *asy_class_id(lua_State *L, int idx, size_t *length) {
  const char *id;
  idx = lua_absindex(L, idx);
  if (!lua_istable(L, idx)) return NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ids_key);
  lua_pushvalue(L, idx);
  id = lua_rawget(L, -2) == LUA_TSTRING ? lua_tolstring(L, -1, length) : NULL;
  lua_pop(L, 2);
  return id;
}

bool asy_class_find(lua_State *L, const char *id, size_t length) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ids_key);
  lua_pushlstring(L, id, length);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  return lua_istable(L, -1);
}

void asy_class_inherit(lua_State *L, const char *id, size_t length) {
  link_parent(L);
  lua_pushcfunction(L, error__tostring);
  lua_setfield(L, -3, "__tostring");
  lua_setfield(L, -2, "super");
  lua_pushlstring(L, id, length);
  give_id(L);
}

void asy_class_publish(lua_State *L, const char *id, size_t length) {
  lua_pushlstring(L, id, length);
  publish(L);
}

bool asy_class_tells(lua_State *L, int idx) { return lua_tocfunction(L, idx) == error__tostring; }

#define OF_THE_LIBRARY "a class of the library, by its name: " /* longer than any of push_new_id's */

/* library_class(parent, name) → a class of the library's that is made in Lua, where it is wanted: the same in all
** states of the process, so that its errors are known again when they have crossed. It may have come in a message. */
static int error_library_class(lua_State *L) {
  size_t length;
  const char *name = luaL_checkstring(L, 2);
  const char *id = lua_pushfstring(L, OF_THE_LIBRARY "%s", name);
  if (asy_class_find(L, id, strlen(id))) return 1;
  if (!asy_class_id(L, 1, &length)) asy_badself(L, "error class");
  lua_settop(L, 3);
  lua_pushvalue(L, 1);
  new_class(L, name);
  lua_pushvalue(L, 3);
  register_class(L);
  return 1;
}

/// Whether `value` is an error of `class`, or of a class below it.
// False for values of every other kind; never raises for them.
// @function isinstance
// @param value anything
// @tparam table class one of the error classes
// @treturn boolean
// @usage
// local ok, err = pcall(asyncio.open_connection, "127.0.0.1", 1) -- where nobody listens
// print(asyncio.isinstance(err, asyncio.OSError), err.code) --> true  ECONNREFUSED
static int error_isinstance(lua_State *L) {
  luaL_checkany(L, 1);
  if (!lua_istable(L, 2)) /* a field of asyncio that isn't there, mostly */
    asy_typeerror(L, 2, 2, "class", lua_isnil(L, 2) ? ": is its name misspelt?" : "");
  lua_settop(L, 2);
  lua_pushboolean(L, instance_of_top(L, 1));
  return 1;
}

/* Before the first class. */
static void open_ids(lua_State *L) {
  lua_createtable(L, 2, 2 * ASY_NCLASSES);
  lua_pushinteger(L, (lua_Integer)uv_hrtime());
  lua_rawseti(L, -2, IDS_OPENED);
  lua_pushinteger(L, 0);
  lua_rawseti(L, -2, IDS_LAST);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "kv");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &ids_key);
}

/* new_id() → a string that nothing in this process has as an id, or will have */
static int error_new_id(lua_State *L) {
  push_new_id(L);
  return 1;
}

/// The errors of this library: tables whose metatable is their class. `asyncio.isinstance` asks for
// it. A class is called to make an error: `asyncio.Error "a message"`, also with fields:
// `asyncio.Error { message = "...", field = 1 }`. All have `message`, and `traceback` where it is known; `tostring` is a
// sentence for people.
//
// - `Error`: the root
//   - `TimeoutError`: the time is up; `phase`, of a stream: `"lookup"`, `"connect"`, `"read"` or `"write"`, and what HTTP adds
//   - `InvalidStateError`: a future has a result already, or none yet; what was called is not due
//   - `QueueEmpty`: nothing to get, and it would not wait
//   - `QueueFull`: no free place, and it would not wait
//   - `QueueShutDown`: nothing more comes, or may be put
//   - `IncompleteReadError`: the stream ended before all was there; `partial`, `expected`
//   - `LimitOverrunError`: no separator within the limit; `consumed`
//   - `BrokenBarrierError`: the barrier was broken, or reset, while a task waited there
//   - `BrokenExecutorError`: a thread of the pool could not begin
//   - `BusyError`: another task uses it
//   - `ClosedError`: it is closed
//   - `ExceptionGroup`: several errors, from a task group
//   - `CalledProcessError`: a program that was run failed; `returncode`, `stdout`, `stderr`, `args`
//   - `DeadlockError`: every task waits, and nothing can come that would wake one. Raised where the task waits that
//     `run` was called for; it says what each waits for
//   - `OSError`: `code` (such as "ECONNREFUSED"), `errno`, `syscall`; `address`, or `path` and, where there are two,
//     `path2`
//     - `ConnectionError`: the peer is not there, or gone
//       - `ConnectionRefusedError`: nobody listens there
//       - `ConnectionResetError`: the peer has cut it
//       - `BrokenPipeError`: the peer reads no more
//     - `AddressInUseError`: somebody listens there already
//     - `FileNotFoundError`: no such file, folder or program
//     - `FileExistsError`: there is one already
//     - `IsADirectoryError`: a folder, where a file is wanted
//     - `NotADirectoryError`: a file, where a folder is wanted
//     - `PermissionError`: not allowed
//     - `ProcessLookupError`: there is no such process
//     - `ChildProcessError`: a child's status was taken by somebody else
//     - `GaiError`: a name could not be resolved
//     - `SSLError`: TLS failed; `reason`, `library`
//       - `SSLCertVerificationError`: the peer's certificate is not accepted; `verify_code`, `verify_message`
//       - `SSLEOFError`: the connection was cut without TLS' goodbye
// - `CancelledError`: no `Error`, so that who catches those lets it pass: the task is to end
// - `KeyboardInterrupt`: no `Error` either: Ctrl-C; `signal`, of one that does the same
// @type Error
// @usage
// local NoTea = asyncio.Error:subclass "NoTea"
// local ok, err = pcall(function() error(NoTea { message = "the pot is empty", pot = 3 }) end)
// print(ok, asyncio.isinstance(err, asyncio.Error), err.pot) --> false  true  3
// print(err) --> NoTea: the pot is empty

static const luaL_Reg functions[] = {{"isinstance", error_isinstance},
                                     {"new_id", error_new_id},
                                     {"library_class", error_library_class},
                                     {"mark_left", error_mark_left},
                                     {"left_from", error_left_from},
                                     {NULL, NULL}};

void asy_open_error(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  open_ids(L);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &left_key);
  asy_made_begin(L);
  lua_createtable(L, ASY_NCLASSES, 0);
  for (int i = 1; i < ASY_NCLASSES; i++) {
    if (CLASSES[i].super)
      lua_rawgeti(L, -1, CLASSES[i].super);
    else
      lua_pushnil(L);
    new_class(L, CLASSES[i].name);
    lua_pushstring(L, CLASSES[i].text);
    lua_setfield(L, -2, "text");
    lua_pushlstring(L, &(const char){(char)i}, 1);
    register_class(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, CLASSES[i].name);
    lua_rawseti(L, -2, i);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &classes_key);
}
