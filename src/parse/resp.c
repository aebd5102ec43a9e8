/*
** resp.c - Redis' protocol to Lua: a parser that is fed strings and gives whole values, and commands as strings.
**
** What was fed is looked at in place; only what begins in one string and ends in another is copied. Containers that are
** under way stand in a table (OPEN) by their depth, and there, too, the keys that wait for their values, by the depth
** below zero. A call that runs out of memory leaves half a value, so the parser is of no use any more, and says so.
*/
#include "base/alloc.h"
#include "resp/resp.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "open.h"

#define CLASS "asyncio.resp"
#define FAILURE "asyncio.resp.error"

#define UV_FED 1 /* the string that is looked at, if `block` isn't */
#define UV_OPEN 2
#define UV_ERROR 3 /* the metatable of error replies */

#define KEPT ((size_t)65536) /* a larger block is given back once it has been read */
#define ROOM 1024            /* values that a new list has room for at most; more comes with them */

typedef struct Resp {
  RespParser parser;
  const char *bytes; /* not used yet: in the fed string or in the block */
  size_t n;
  char *block; /* NULL: none */
  size_t size;
  uint64_t used; /* bytes, of all that were fed */
  int skipping;  /* the depth of the attribute that is passed over; -1: none is */
  bool broken;   /* by an error of Lua's, while it was at work */
} Resp;

typedef enum Got { GOT_NOTHING, GOT_REPLY, GOT_PUSH, GOT_WRONG } Got;

static Resp *check_resp(lua_State *L) { return luaL_checkudata(L, 1, CLASS); }

/* Feeding */

static bool in_block(const Resp *r) {
  return r->block && r->bytes >= r->block && r->bytes <= r->block + r->size;
}

/* Room for so many bytes behind those that are not used, which are moved into the block. */
static int reserve(lua_State *L, Resp *r, size_t more) {
  size_t need = r->n + more, size = r->size;
  if (size < need || !r->block) {
    size = size * 2 > need ? size * 2 : need;
    char *block = mem_alloc(size);
    if (!block) return luaL_error(L, "not enough memory");
    if (r->n) memcpy(block, r->bytes, r->n);
    mem_free(r->block);
    r->block = block;
    r->size = size;
  } else if (!in_block(r) || (size_t)(r->block + size - r->bytes) < need)
    memmove(r->block, r->bytes, r->n);
  else
    return 0;
  r->bytes = r->block;
  return 0;
}

static void drop_block(Resp *r) {
  mem_free(r->block);
  r->block = NULL;
  r->size = 0;
}

/* parser:feed(bytes) */
static int resp_feed(lua_State *L) {
  Resp *r = check_resp(L);
  size_t n;
  const char *bytes = luaL_checklstring(L, 2, &n);
  if (n == 0 || r->broken) return 0; /* a finaliser may feed it while it is at work */
  if (r->n == 0) {
    if (r->size > KEPT) drop_block(r);
    lua_settop(L, 2);
    lua_setiuservalue(L, 1, UV_FED);
    r->bytes = bytes;
    r->n = n;
    return 0;
  }
  reserve(L, r, n);
  memcpy(r->block + (r->bytes - r->block) + r->n, bytes, n);
  r->n += n;
  lua_pushnil(L);
  lua_setiuservalue(L, 1, UV_FED);
  return 0;
}

/* Values */

/* What an error reply says first, in capitals: "WRONGTYPE Operation against ..." */
static size_t code_length(const char *text, size_t n) {
  size_t i = 0;
  while (i < n &&
         ((text[i] >= 'A' && text[i] <= 'Z') ||
          (i > 0 && ((text[i] >= '0' && text[i] <= '9') || text[i] == '_' || text[i] == '-'))))
    i++;
  return i == n || text[i] == ' ' ? i : 0;
}

static void push_error(lua_State *L, const char *text, size_t n) {
  size_t code = code_length(text, n);
  lua_createtable(L, 0, 3);
  lua_pushlstring(L, text, n);
  lua_setfield(L, -2, "message");
  lua_pushlstring(L, code ? text : "ERR", code ? code : 3);
  lua_setfield(L, -2, "code");
  lua_getiuservalue(L, 1, UV_ERROR);
  lua_setmetatable(L, -2);
}

static void push_double(lua_State *L, const char *text, size_t n) {
  bool minus = *text == '-';
  char last = text[n - 1];
  if (last == 'f')
    lua_pushnumber(L, minus ? -HUGE_VAL : HUGE_VAL);
  else if (last == 'n')
    lua_pushnumber(L, (lua_Number)NAN);
  else {
    lua_pushlstring(L, text, n);
    lua_pushnumber(L, lua_tonumber(L, -1));
    lua_remove(L, -2);
  }
}

static int room_for(const Resp *r, int64_t values) {
  size_t most = r->n / 4 < ROOM ? r->n / 4 : ROOM;
  return values < (int64_t)most ? (int)values : (int)most;
}

static void push_value(lua_State *L, const Resp *r, const RespEvent *e) {
  const char *bytes = r->bytes + e->at;
  switch (e->kind) {
  case RESP_STRING:
  case RESP_BIG: lua_pushlstring(L, bytes, e->length); break;
  case RESP_ERROR: push_error(L, bytes, e->length); break;
  case RESP_INTEGER: lua_pushinteger(L, (lua_Integer)e->integer); break;
  case RESP_DOUBLE: push_double(L, bytes, e->length); break;
  case RESP_BOOLEAN: lua_pushboolean(L, (int)e->integer); break;
  case RESP_MAP: lua_createtable(L, 0, room_for(r, e->integer / 2)); break;
  case RESP_LIST:
  case RESP_SET:
  case RESP_PUSH:
    lua_createtable(L, room_for(r, e->integer), 1);
    lua_pushinteger(L, (lua_Integer)e->integer);
    lua_setfield(L, -2, "n");
    break;
  default: lua_pushnil(L); break;
  }
}

/* Building. Stack, from `at` on: OPEN, the innermost container. */

/* No table has such a key. stack: ..., value */
static bool is_no_key(lua_State *L) {
  return lua_isnil(L, -1) ||
         (lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) != lua_tonumber(L, -1));
}

/* The value on the top, which goes, is put where it belongs. False: it can't be a key. */
static bool store(lua_State *L, const RespEvent *e, int at) {
  if (e->parent != RESP_MAP)
    lua_rawseti(L, at + 1, (lua_Integer)e->index);
  else if (e->index % 2) {
    if (is_no_key(L)) return false;
    lua_rawseti(L, at, -e->depth);
  } else {
    lua_rawgeti(L, at, -e->depth);
    lua_insert(L, -2);
    lua_rawset(L, at + 1);
  }
  return true;
}

/* stack: ..., value → ...; a container is the innermost now */
static bool add(lua_State *L, const RespEvent *e, int at) {
  bool container = e->kind >= RESP_LIST;
  if (container) {
    lua_pushvalue(L, -1);
    lua_rawseti(L, at, e->depth + 1);
  }
  if (e->depth > 0) {
    if (container) lua_pushvalue(L, -1);
    if (!store(L, e, at)) return false;
  }
  if (container) lua_replace(L, at + 1);
  return true;
}

/* The innermost container is whole: the one around it is the innermost now, unless it is the reply. */
static void leave(lua_State *L, const RespEvent *e, int at) {
  lua_pushnil(L);
  lua_rawseti(L, at, e->depth + 1);
  if (e->depth == 0) return;
  lua_rawgeti(L, at, e->depth);
  lua_replace(L, at + 1);
}

/* Whether the event is part of an attribute, which says nothing that is needed here. */
static bool is_skipped(Resp *r, const RespEvent *e) {
  if (r->skipping < 0 && e->kind == RESP_ATTRIBUTE && !e->end) r->skipping = e->depth;
  if (r->skipping < 0) return false;
  if (e->end && e->depth == r->skipping) r->skipping = -1;
  return true;
}

/* Until a reply is whole, which then stands at `at` + 1 (a container), or on the top. */
static Got build(lua_State *L, Resp *r, int at) {
  RespEvent e;
  size_t used;
  for (;;) {
    RespStatus status = resp_next(&r->parser, r->bytes, r->n, &used, &e);
    if (status != RESP_EVENT) return status == RESP_MORE ? GOT_NOTHING : GOT_WRONG;
    if (is_skipped(r, &e)) {
    } else if (e.end) {
      leave(L, &e, at);
      if (e.depth == 0) return e.kind == RESP_PUSH ? GOT_PUSH : GOT_REPLY;
    } else {
      push_value(L, r, &e);
      if (e.depth == 0 && e.kind < RESP_LIST) {
        lua_replace(L, at + 1);
        r->bytes += used, r->n -= used, r->used += used;
        return GOT_REPLY;
      }
      if (!add(L, &e, at)) {
        r->parser.why = "a map with a key that is null or no number";
        return GOT_WRONG;
      }
    }
    r->bytes += used, r->n -= used, r->used += used;
  }
}

/* Pushes OPEN and what has come of the next reply: whole if it says so. */
static Got advance(lua_State *L, Resp *r) {
  int at = lua_gettop(L) + 1;
  if (r->broken) {
    r->parser.why = "the parser ran out of memory";
    return GOT_WRONG;
  }
  r->broken = true;
  lua_getiuservalue(L, 1, UV_OPEN);
  int depth = r->skipping < 0 ? r->parser.depth : r->skipping;
  if (depth > 0)
    lua_rawgeti(L, at, depth);
  else
    lua_pushnil(L);
  Got got = build(L, r, at);
  r->broken = false;
  lua_settop(L, at + 1);
  lua_remove(L, at);
  return got;
}

static int push_wrong(lua_State *L, const Resp *r) {
  lua_pushstring(L, r->parser.why);
  lua_pushinteger(L, (lua_Integer)r->used);
  return 2;
}

/* parser:next() → "reply", value; "push", list; nothing: more is needed; "error", what, where: this is not the
** protocol, and it comes again with each call */
static int resp_next_value(lua_State *L) {
  static const char *const NAMES[] = {NULL, "reply", "push", "error"};
  Resp *r = check_resp(L);
  lua_settop(L, 1);
  Got got = advance(L, r);
  if (got == GOT_NOTHING) return 0;
  lua_pushstring(L, NAMES[got]);
  if (got == GOT_WRONG) return 1 + push_wrong(L, r);
  lua_insert(L, -2);
  return 2;
}

/* parser:fill(list, i, n) puts replies into the list, from i to n → the first index that has none yet; and, where
** that is not for want of bytes, what `next` would return of a push or an error */
static int resp_fill(lua_State *L) {
  Resp *r = check_resp(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_Integer i = luaL_checkinteger(L, 3), n = luaL_checkinteger(L, 4);
  Got got = GOT_NOTHING;
  lua_settop(L, 2);
  while (i <= n && (got = advance(L, r)) == GOT_REPLY) lua_rawseti(L, 2, i++);
  bool pushed = got == GOT_PUSH;
  lua_pushinteger(L, i);
  if (i > n || got == GOT_NOTHING) return 1;
  lua_pushstring(L, pushed ? "push" : "error");
  if (!pushed) return 2 + push_wrong(L, r);
  lua_pushvalue(L, 3);
  return 3;
}

/* parser:pending() → bytes that were fed and not used; whether all that was used are whole replies */
static int resp_pending(lua_State *L) {
  const Resp *r = check_resp(L);
  lua_pushinteger(L, (lua_Integer)r->n);
  lua_pushboolean(L, resp_between(&r->parser));
  return 2;
}

static int resp__gc(lua_State *L) {
  Resp *r = check_resp(L);
  drop_block(r);
  r->bytes = "";
  r->n = 0;
  return 0;
}

static int resp__tostring(lua_State *L) {
  const Resp *r = check_resp(L);
  lua_pushfstring(L, CLASS ": %s, %I bytes not used (%p)", r->parser.why ? "broken" : "open",
                  (LUAI_UACINT)r->n, (const void *)r);
  return 1;
}

/* Without a metatable of the caller's. */
static int failure__tostring(lua_State *L) {
  lua_getfield(L, 1, "message");
  return 1;
}

/* resp([metatable of error replies]) → a parser */
static int resp_new(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) {
    luaL_getmetatable(L, FAILURE);
    lua_replace(L, 1);
  }
  Resp *r = lua_newuserdatauv(L, sizeof *r, 3);
  memset(r, 0, sizeof *r); /* its padding, too: see asy_headers_new */
  resp_init(&r->parser);
  r->bytes = "";
  r->n = r->size = 0;
  r->block = NULL;
  r->used = 0;
  r->skipping = -1;
  r->broken = false;
  luaL_setmetatable(L, CLASS);
  lua_newtable(L);
  lua_setiuservalue(L, 2, UV_OPEN);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 2, UV_ERROR);
  return 1;
}

/* Commands */

/* The text of an argument, NULL where it can't be one. */
static const char *argument(lua_State *L, int idx, char number[RESP_NUMBER + 8], size_t *n) {
  if (lua_type(L, idx) == LUA_TSTRING) return lua_tolstring(L, idx, n);
  if (lua_type(L, idx) != LUA_TNUMBER) return NULL;
  lua_Number value = lua_tonumber(L, idx);
  if (lua_isinteger(L, idx))
    *n = (size_t)snprintf(number, RESP_NUMBER, LUA_INTEGER_FMT, (LUAI_UACINT)lua_tointeger(L, idx));
  else if (value != value)
    return NULL;
  else
    *n = (size_t)resp_double((double)value, number);
  return number;
}

/* How much room the arguments from `first` to `last` need at most; 0 where *bad can't be one. */
static size_t size_of(lua_State *L, int first, int last, int *bad) {
  char number[RESP_NUMBER + 8];
  size_t size = RESP_HEAD_ROOM, n = 0;
  for (int i = first; i <= last; i++) {
    if (!argument(L, i, number, &n)) {
      *bad = i;
      return 0;
    }
    size += RESP_ARGUMENT_ROOM(n);
  }
  return size;
}

static char *put(lua_State *L, int first, int last, char *to) {
  char number[RESP_NUMBER + 8];
  to = resp_put_head(to, (size_t)last - (size_t)first + 1);
  for (int i = first; i <= last; i++) {
    size_t n = 0;
    const char *text = argument(L, i, number, &n);
    to = resp_put_argument(to, text, n);
  }
  return to;
}

/* resp_encode(...) → the command as bytes; or nil and which value is neither a string nor a number */
static int resp_encode(lua_State *L) {
  char small[512];
  int n = lua_gettop(L), bad = 0;
  if (n == 0) return luaL_error(L, "a command has at least a name");
  size_t size = size_of(L, 1, n, &bad);
  if (!size) {
    lua_pushnil(L);
    lua_pushinteger(L, bad);
    return 2;
  }
  if (size <= sizeof small) {
    lua_pushlstring(L, small, (size_t)(put(L, 1, n, small) - small));
    return 1;
  }
  luaL_Buffer buffer;
  char *to = luaL_buffinitsize(L, &buffer, size); /* stands above the arguments */
  luaL_pushresultsize(&buffer, (size_t)(put(L, 1, n, to) - to));
  return 1;
}

/* A command of a list, on the stack. How many values it has; 0: it is none. */
static int push_command(lua_State *L, lua_Integer i) {
  if (lua_rawgeti(L, 1, i) != LUA_TTABLE) return 0;
  int list = lua_gettop(L);
  lua_Integer n = lua_getfield(L, list, "n") == LUA_TNIL ? (lua_Integer)lua_rawlen(L, list)
                                                         : lua_tointeger(L, -1);
  lua_settop(L, list);
  if (n < 1 || n > 1000000) return 0;
  luaL_checkstack(L, (int)n + 4, "too many arguments");
  for (lua_Integer k = 1; k <= n; k++) lua_rawgeti(L, list, k);
  return (int)n;
}

/* resp_encode_all({{...}, ...}) → all of these commands as bytes; or nil, which one and which of its values is wrong */
static int resp_encode_all(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_Integer commands = (lua_Integer)lua_rawlen(L, 1);
  size_t size = 0;
  for (lua_Integer i = 1; i <= commands; i++) {
    int bad = 3, n = push_command(L, i);
    size_t more = n ? size_of(L, 3, n + 2, &bad) : 0;
    if (!more) {
      lua_pushnil(L);
      lua_pushinteger(L, i);
      lua_pushinteger(L, bad - 2);
      return 3;
    }
    size += more;
    lua_settop(L, 1);
  }
  char *from = lua_newuserdatauv(L, size + 1, 0),
       *to = from; /* a finaliser may change the lists now */
  for (lua_Integer i = 1; i <= commands; i++) {
    int bad = 0, n = push_command(L, i);
    size_t more = n ? size_of(L, 4, n + 3, &bad) : 0;
    if (!more || more > size)
      return luaL_error(L, "the commands were changed while they were written");
    size -= more;
    to = put(L, 4, n + 3, to);
    lua_settop(L, 2);
  }
  lua_pushlstring(L, from, (size_t)(to - from));
  return 1;
}

static const luaL_Reg methods[] = {{"feed", resp_feed},
                                   {"next", resp_next_value},
                                   {"fill", resp_fill},
                                   {"pending", resp_pending},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {
    {"__gc", resp__gc}, {"__tostring", resp__tostring}, {NULL, NULL}};

static const luaL_Reg failure_metamethods[] = {{"__tostring", failure__tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"resp", resp_new},
                                     {"resp_encode", resp_encode},
                                     {"resp_encode_all", resp_encode_all},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_resp(lua_State *L) {
  luaL_newmetatable(L, FAILURE);
  luaL_setfuncs(L, failure_metamethods, 0);
  luaL_newmetatable(L, CLASS);
  luaL_setfuncs(L, metamethods, 0);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 2);
  luaL_setfuncs(L, functions, 0);
}
