/*
** decode.c - bytes to Lua values.
**
** Owns no memory but Lua's, and may raise anywhere. Nothing in the bytes is believed: what they claim is
** checked against what is left of them before it is allocated.
*/
#include "thread/message.h"

#include <limits.h>
#include <string.h>

#include "core/error.h"
#include "thread/names.h"

typedef struct Decoder {
  lua_State *L;
  const char *start, *at, *end;
  size_t elements; /* how many there can still be: each is a byte at least */
  int refs;        /* stack index: nil, or a table of shared objects by their offsets */
  bool trusted;
} Decoder;

static void decode_value(Decoder *d, int depth);

static ASY_NORETURN void malformed(Decoder *d) {
  luaL_error(d->L, "malformed message");
  for (;;) continue;
}

static const char *take(Decoder *d, size_t n) {
  const char *p = d->at;
  if ((size_t)(d->end - p) < n) malformed(d);
  d->at += n;
  return p;
}

static size_t take_word(Decoder *d) {
  size_t n;
  memcpy(&n, take(d, sizeof n), sizeof n);
  return n;
}

static size_t take_size(Decoder *d) {
  size_t n = 0;
  for (unsigned shift = 0; shift < sizeof n * CHAR_BIT; shift += 7) {
    unsigned char c = (unsigned char)*take(d, 1);
    n |= (size_t)(c & 0x7F) << shift;
    if (c < 0x80) return n;
  }
  malformed(d);
}

/* n elements more; so many bytes are there, or it is no message. */
static void claim(Decoder *d, size_t n) {
  if (n > d->elements) malformed(d);
  d->elements -= n;
}

static Counts take_counts(Decoder *d) {
  Counts counts = {take_word(d), 0};
  counts.hash = take_word(d);
  claim(d, counts.array);
  if (counts.hash > d->elements / 2) malformed(d);
  claim(d, counts.hash * 2);
  return counts;
}

static void push_string(Decoder *d) {
  size_t length = take_size(d);
  const char *s = take(d, length);
  lua_pushlstring(d->L, s, length);
}

/* The value at the top may be asked for by this key, the offset of its tag. */
static void keep(Decoder *d, lua_Integer key) {
  lua_State *L = d->L;
  if (lua_isnil(L, d->refs)) {
    lua_newtable(L);
    lua_replace(L, d->refs);
  }
  lua_pushvalue(L, -1);
  lua_rawseti(L, d->refs, key);
}

static void keep_if(Decoder *d, int shared, size_t offset) {
  if (shared) keep(d, (lua_Integer)offset);
}

static void push_ref(Decoder *d) {
  size_t offset = take_word(d);
  if (!lua_istable(d->L, d->refs)) malformed(d);
  if (lua_rawgeti(d->L, d->refs, (lua_Integer)offset) == LUA_TNIL) malformed(d);
}

/* n pairs into the table at `table`; read and dropped when it is 0. */
static void decode_pairs(Decoder *d, int table, size_t n, int depth) {
  lua_State *L = d->L;
  for (; n; n--) {
    decode_value(d, depth);
    decode_value(d, depth);
    if (!table) {
      lua_pop(L, 2);
      continue;
    }
    lua_rawset(L, table); /* raises for nil and nan */
  }
}

static const char *take_id(Decoder *d, size_t *length) {
  *length = take_size(d);
  return take(d, *length);
}

/* The id that stands at a place. */
static const char *id_at(const Decoder *d, lua_Integer place, size_t *length) {
  Decoder there = *d;
  there.at = d->start + place;
  return take_id(&there, length);
}

/* Pushes a class whose tag has been taken, and the place of its id where it is new, or false: a built-in class is always
** there, one of a user was perhaps here before. → whether its parent follows */
static bool begin_class(Decoder *d, int shared, size_t offset) {
  lua_State *L = d->L;
  lua_Integer place = d->at - d->start;
  size_t length;
  luaL_checkstack(L, 12, "a message nested too deep");
  const char *id = take_id(d, &length);
  bool here = asy_class_find(L, id, length);
  if (!here) {
    if (length <= 1) malformed(d);
    lua_pop(L, 1);
    asy_class_begin(L);
  }
  keep_if(d, shared, offset);
  if (here)
    lua_pushboolean(L, 0);
  else
    lua_pushinteger(L, place);
  return length > 1;
}

/* The same with its parent, and so on, as far as they follow one another. → how many of them have fields: all but the
** last. */
static int begin_lineage(Decoder *d, int shared, size_t offset, int depth) {
  size_t length;
  int n = 0;
  while (begin_class(d, shared, offset)) {
    if (depth + ++n > MAX_DEPTH) malformed(d);
    offset = (size_t)(d->at - d->start);
    int byte = d->at < d->end ? (unsigned char)*d->at : 0;
    shared = byte & SHARED;
    if ((byte & ~SHARED) != T_CLASS) {
      decode_value(d, depth + n);
      if (!asy_class_id(d->L, -1, &length)) malformed(d);
      lua_pushboolean(d->L, 0);
      break;
    }
    take(d, 1);
  }
  return n;
}

/* All of a lineage are classes before the fields of the first one come: these may hold errors of theirs, and classes
** below them. */
static void decode_class(Decoder *d, int shared, size_t offset, int depth) {
  lua_State *L = d->L;
  int first = lua_gettop(L) + 1, n = begin_lineage(d, shared, offset, depth);
  size_t length;
  for (int at = first + 2 * (n - 1); at >= first; at -= 2) {
    if (!lua_isinteger(L, at + 1)) continue;
    const char *id = id_at(d, lua_tointeger(L, at + 1), &length);
    lua_pushvalue(L, at);
    lua_pushvalue(L, at + 2);
    asy_class_inherit(L, id, length);
    lua_pop(L, 1);
  }
  for (int at = first + 2 * (n - 1); at >= first; at -= 2) {
    bool fresh = lua_isinteger(L, at + 1);
    decode_pairs(d, fresh ? at : 0, take_counts(d).hash, depth + (at - first) / 2);
    if (!fresh) continue;
    const char *id = id_at(d, lua_tointeger(L, at + 1), &length);
    lua_pushvalue(L, at);
    asy_class_publish(L, id, length);
    lua_pop(L, 1);
  }
  lua_settop(L, first);
}

static void decode_table(Decoder *d, int tag, int shared, size_t offset, int depth) {
  lua_State *L = d->L;
  Counts counts = take_counts(d);
  size_t length;
  lua_createtable(L, counts.array < INT_MAX ? (int)counts.array : INT_MAX,
                  counts.hash < INT_MAX ? (int)counts.hash : INT_MAX);
  int table = lua_gettop(L);
  keep_if(d, shared, offset);
  if (tag == T_ERROR) {
    decode_value(d, depth);
    if (!asy_class_id(L, -1, &length)) malformed(d);
    lua_setmetatable(L, table);
  }
  for (size_t i = 1; i <= counts.array; i++) {
    decode_value(d, depth);
    lua_rawseti(L, table, (lua_Integer)i);
  }
  decode_pairs(d, table, counts.hash, depth);
}

typedef struct Dump {
  const char *bytes;
  size_t length;
} Dump;

static const char *read_dump(lua_State *L, void *ud, size_t *length) {
  Dump *dump = ud;
  (void)L;
  *length = dump->length;
  dump->length = 0;
  return *length ? dump->bytes : NULL;
}

/* The variable i of the function at the top is the one that came before at an offset. */
static void join_upvalue(Decoder *d, int i) {
  lua_State *L = d->L;
  int function = lua_gettop(L);
  size_t offset = take_word(d);
  if (!lua_istable(L, d->refs)) malformed(d);
  lua_rawgeti(L, d->refs, (lua_Integer)offset);
  lua_rawgeti(L, d->refs, -(lua_Integer)offset);
  int j = (int)lua_tointeger(L, -1);
  if (!lua_isfunction(L, -2) || lua_iscfunction(L, -2) || !lua_upvalueid(L, -2, j) ||
      !lua_upvalueid(L, function, i))
    malformed(d);
  lua_upvaluejoin(L, function, i, function + 1, j);
  lua_pop(L, 2);
}

/* For the function at the top. */
static void decode_upvalue(Decoder *d, int i, int depth) {
  lua_State *L = d->L;
  size_t offset = (size_t)(d->at - d->start);
  int byte = (unsigned char)*take(d, 1), function = lua_gettop(L);
  if ((byte & ~SHARED) == T_JOIN) {
    join_upvalue(d, i);
    return;
  }
  if ((byte & ~SHARED) != T_UPVALUE) malformed(d);
  if (byte & SHARED) {
    keep(d, (lua_Integer)offset);
    lua_pushinteger(L, i);
    keep(d, -(lua_Integer)offset);
    lua_pop(L, 1);
  }
  decode_value(d, depth);
  if (!lua_setupvalue(L, function, i)) malformed(d);
}

static void decode_function(Decoder *d, int shared, size_t offset, int depth) {
  lua_State *L = d->L;
  if (!d->trusted) luaL_error(L, "a function in a message that is not trusted");
  Dump dump = {NULL, take_word(d)};
  dump.bytes = take(d, dump.length);
  if (lua_load(L, read_dump, &dump, "=message", "b") != LUA_OK) lua_error(L);
  lua_pushliteral(L, ""); /* lua_load lets the collector do nothing, this does */
  lua_pop(L, 1);
  keep_if(d, shared, offset);
  int n = (unsigned char)*take(d, 1);
  for (int i = 1; i <= n; i++) decode_upvalue(d, i, depth);
}

/* The value under the name at the top in the module below it; whether it is a function. Where a module has parts that
** are loaded when they are first used (__index), this is such a use. */
static bool push_member(Decoder *d) {
  lua_State *L = d->L;
  if (!lua_istable(L, -2)) return false;
  lua_pushvalue(L, -1);
  if (lua_rawget(L, -3) == LUA_TFUNCTION || !d->trusted) return lua_isfunction(L, -1);
  lua_pop(L, 1);
  lua_pushvalue(L, -1);
  return lua_gettable(L, -3) == LUA_TFUNCTION;
}

/* A module, or a function in it. */
static void decode_named(Decoder *d, bool member, int shared, size_t offset) {
  lua_State *L = d->L;
  push_string(d);
  if (member) {
    lua_pushvalue(L, -1);
    asy_module_push(L, d->trusted);
    push_string(d);
    int name = lua_gettop(L);
    if (!push_member(d))
      luaL_error(L, "the module '%s' has no function '%s' here", lua_tostring(L, name - 2), lua_tostring(L, name));
    lua_replace(L, -4);
    lua_pop(L, 2);
  } else {
    asy_module_push(L, d->trusted);
  }
  keep_if(d, shared, offset);
}

static void decode_made(Decoder *d, int shared, size_t offset, int depth) {
  if (!d->trusted) luaL_error(d->L, "a call in a message that is not trusted");
  decode_value(d, depth);
  decode_value(d, depth);
  lua_call(d->L, 1, 1);
  keep_if(d, shared, offset);
}

static void decode_record(Decoder *d, int shared, size_t offset) {
  Record r;
  if (!d->trusted) luaL_error(d->L, "a reference in a message that is not trusted");
  memcpy(&r, take(d, sizeof r), sizeof r);
  r.kind->push(d->L, r.record);
  keep_if(d, shared, offset);
}

static void decode_object(Decoder *d, int byte, size_t offset, int depth) {
  int tag = byte & ~SHARED, shared = byte & SHARED;
  if (depth > MAX_DEPTH) malformed(d);
  luaL_checkstack(d->L, 12, "a message nested too deep");
  switch (tag) {
  case T_TABLE:
  case T_ERROR: decode_table(d, tag, shared, offset, depth + 1); break;
  case T_CLASS: decode_class(d, shared, offset, depth + 1); break;
  case T_FUNCTION: decode_function(d, shared, offset, depth + 1); break;
  case T_GLOBALS: lua_pushglobaltable(d->L); break;
  case T_RECORD: decode_record(d, shared, offset); break;
  case T_MADE: decode_made(d, shared, offset, depth + 1); break;
  case T_MODULE:
  case T_MEMBER: decode_named(d, tag == T_MEMBER, shared, offset); break;
  default: malformed(d);
  }
}

/* Pushes a scalar and returns where it ends; NULL: it is another, or the message ends within it. */
static const char *decode_plain_value(lua_State *L, const char *p, const char *end) {
  lua_Integer i;
  lua_Number x;
  if (p == end) return NULL;
  switch ((unsigned char)*p++ & ~SHARED) {
  case T_NIL: lua_pushnil(L); return p;
  case T_FALSE: lua_pushboolean(L, 0); return p;
  case T_TRUE: lua_pushboolean(L, 1); return p;
  case T_INTEGER:
    if (end - p < (ptrdiff_t)sizeof i) return NULL;
    memcpy(&i, p, sizeof i);
    lua_pushinteger(L, i);
    return p + sizeof i;
  case T_FLOAT:
    if (end - p < (ptrdiff_t)sizeof x) return NULL;
    memcpy(&x, p, sizeof x);
    lua_pushnumber(L, x);
    return p + sizeof x;
  default: return NULL;
  }
}

static void decode_value(Decoder *d, int depth) {
  lua_State *L = d->L;
  const char *end = decode_plain_value(L, d->at, d->end);
  if (end) {
    d->at = end;
    return;
  }
  size_t offset = (size_t)(d->at - d->start);
  int byte = (unsigned char)*take(d, 1);
  switch (byte & ~SHARED) {
  case T_NULL: lua_pushlightuserdata(L, NULL); break;
  case T_STRING:
    push_string(d);
    keep_if(d, byte & SHARED, offset);
    break;
  case T_REF: push_ref(d); break;
  default: decode_object(d, byte, offset, depth);
  }
}

int asy_codec_decode_plain(lua_State *L, const char *bytes, size_t length) {
  const char *p = bytes, *end = bytes + length;
  unsigned char head = length ? (unsigned char)*p++ : 1;
  int n = head / 2, pushed = 0;
  if (head & 1 || n > CODEC_PLAIN) return -1;
  while (pushed < n && (p = decode_plain_value(L, p, end))) pushed++;
  if (p == end) return n;
  lua_pop(L, pushed);
  return -1;
}

int asy_codec_decode(lua_State *L, const char *bytes, size_t length, bool trusted) {
  luaL_checkstack(L, CODEC_PLAIN, NULL);
  int plain = asy_codec_decode_plain(L, bytes, length);
  if (plain >= 0) return plain;
  Decoder d = {L, bytes, bytes, bytes + length, length, lua_gettop(L) + 1, trusted};
  size_t size = take_size(&d), n = size / 2;
  if (size & 1) { /* the offset of the last record */
    if ((size_t)(d.end - d.at) < sizeof size) malformed(&d);
    d.end -= sizeof size;
  }
  claim(&d, n);
  if (n > INT_MAX / 2) malformed(&d);
  luaL_checkstack(L, (int)n + 12, "too many values in a message");
  lua_pushnil(L);
  for (size_t i = 0; i < n; i++) decode_value(&d, 0);
  if (d.at != d.end) malformed(&d);
  lua_remove(L, d.refs);
  return (int)n;
}
