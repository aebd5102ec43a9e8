/*
** encode.c - Lua values to bytes.
**
** Allocates nothing in Lua and calls nothing that raises: no collector step and no finaliser runs
** meanwhile, so nothing changes, addresses stay, and there is one place where memory is freed.
*/
#include "thread/message.h"

#include <string.h>

#include "base/alloc.h"
#include "base/saying.h"
#include "core/error.h"
#include "thread/names.h"

enum {
  LONG_STRING = 64, /* bytes from which on a string that is met again is not sent again */
  FEW = 32,         /* objects for which a hash table is at hand; clearing it takes time ... */
  SMALL = 2,        /* ... so this is it where long strings are all that it may get */
  PLAIN = 1 + LONG_STRING, /* bytes that a scalar or a short string takes at most */
  HOLES = 8,        /* nils that the array part may have, beyond one for each value */
};

/* Where a value stands in its message: for errors, read from the inside out. */
typedef struct Path {
  const struct Path *up; /* NULL: one of the values sent */
  enum { AT_TOP, AT_FUNCTION, AT_FIELD, AT_KEY, AT_UPVALUE, AT_CLASS } kind; /* AT_FUNCTION: a call's */
  int index; /* AT_TOP, AT_UPVALUE: its number; AT_FIELD: stack index of the key */
  int depth;
  const char *name; /* AT_UPVALUE; AT_TOP: what it is */
} Path;

static const char *const NOUNS[] = {
    [CODEC_ARGUMENT] = "argument", [CODEC_CALL] = "argument", [CODEC_ERROR] = "error",
    [CODEC_ITEM] = "item",         [CODEC_RESULT] = "result", [CODEC_VALUE] = "value",
};

typedef struct Seen {
  const void *object; /* NULL: the slot is free */
  size_t offset;
} Seen;

typedef struct Encoder {
  lua_State *L;
  Buffer *out;
  const void *globals;
  int names;              /* stack index: what asy_name_find needs, then what prepare() pushes */
  Seen *seen;             /* a hash table of what was sent; its size is a power of two */
  size_t nseen, seen_size;
  size_t last_record;     /* offset of its tag, or 0 */
  bool refused;           /* failed because of a value, not of memory */
  Seen few[FEW];          /* the hash table at first, or the beginning of it */
  Saying why;             /* it was refused, and where */
} Encoder;

static bool encode_value(Encoder *e, int idx, const Path *at);

static void say_path(Encoder *e, const Path *at) {
  if (at->up) say_path(e, at->up);
  switch (at->kind) {
  case AT_TOP: say(&e->why, "%s %d", at->name, at->index); break;
  case AT_FUNCTION: break; /* what is in it says enough */
  case AT_FIELD: asy_say_key(&e->why, e->L, at->index); break;
  case AT_KEY: say(&e->why, " key"); break;
  case AT_CLASS: say(&e->why, " class"); break;
  case AT_UPVALUE:
    say(&e->why, "%supvalue \"%s\"", e->why.text[e->why.length - 1] == ' ' ? "" : " ", at->name);
    break;
  }
}

/* "cannot send a coroutine at argument 1.cb.x" */
static bool refuse(Encoder *e, const Path *at, const char *noun) {
  e->refused = true;
  say(&e->why, "cannot send %s %s at ", say_article(noun), noun);
  say_path(e, at);
  if (at->kind == AT_FUNCTION) say(&e->why, "the call's function");
  return false;
}

/* Room for n bytes; NULL without memory. */
static inline char *room_for(Encoder *e, size_t n) {
  Buffer *b = e->out;
  return ASY_LIKELY(b->size - b->end >= n) ? b->data + b->end : buffer_reserve(b, n);
}

static inline bool put_tag(Encoder *e, Tag tag) {
  char *p = room_for(e, 1);
  if (!p) return false;
  *p = (char)tag;
  buffer_added(e->out, 1);
  return true;
}

/* A tag and n bytes, at most 16. */
static inline bool put(Encoder *e, Tag tag, const void *bytes, size_t n) {
  char *p = room_for(e, 1 + n);
  if (!p) return false;
  *p = (char)tag;
  memcpy(p + 1, bytes, n);
  buffer_added(e->out, 1 + n);
  return true;
}

/* Seven bits a byte, the lowest first. */
static bool put_size(Encoder *e, size_t n) {
  char *p = room_for(e, 10);
  if (!p) return false;
  size_t used = 0;
  for (; n >= 0x80; n >>= 7) p[used++] = (char)(n | 0x80);
  p[used++] = (char)n;
  buffer_added(e->out, used);
  return true;
}

static bool put_string(Encoder *e, int idx) {
  size_t length;
  const char *s = lua_tolstring(e->L, idx, &length);
  return put_size(e, length) && buffer_append(e->out, s, length);
}

static Seen *seen_slot(const Encoder *e, const void *object) {
  size_t i = (size_t)(((uintptr_t)object >> 3) * 0x9E3779B97F4A7C15u >> 20) & (e->seen_size - 1);
  while (e->seen[i].object && e->seen[i].object != object) i = (i + 1) & (e->seen_size - 1);
  return &e->seen[i];
}

static bool grow_seen(Encoder *e) {
  size_t size = e->seen_size;
  Seen *old = e->seen, *new = mem_calloc(size * 4, sizeof *new);
  if (!new) return false;
  e->seen = new;
  e->seen_size = size * 4;
  for (size_t i = 0; i < size; i++)
    if (old[i].object) *seen_slot(e, old[i].object) = old[i];
  if (old != e->few) mem_free(old);
  return true;
}

typedef enum First { FIRST, AGAIN, FAILED } First;

/* What is sent next is this object: FIRST. Or it was sent before, and now refers to that: AGAIN. */
static First meet(Encoder *e, const void *object, Tag again) {
  Seen *s = seen_slot(e, object);
  if (s->object) {
    e->out->data[s->offset] |= (char)SHARED;
    return put(e, again, &s->offset, sizeof s->offset) ? AGAIN : FAILED;
  }
  if ((e->nseen + 1) * 2 > e->seen_size) {
    if (!grow_seen(e)) return FAILED;
    s = seen_slot(e, object);
  }
  *s = (Seen){object, e->out->end};
  e->nseen++;
  return FIRST;
}

/* One level deeper: the stack has room, and it is not too deep. */
static bool descend(Encoder *e, const Path *at, const char *noun) {
  if (at->depth < MAX_DEPTH && lua_checkstack(e->L, 12)) return true;
  e->refused = true;
  say(&e->why, "cannot send a %s nested more than %d deep at ", noun, MAX_DEPTH);
  say_path(e, at);
  return false;
}

/* A scalar or a short string at p; where it ends, or NULL: it is another, or there is no room. */
static char *encode_plain_value(lua_State *L, int idx, char *p, const char *end) {
  size_t length;
  if (end - p < 1 + (ptrdiff_t)sizeof(lua_Integer)) return NULL;
  switch (lua_type(L, idx)) {
  case LUA_TNIL: *p = T_NIL; return p + 1;
  case LUA_TBOOLEAN: *p = lua_toboolean(L, idx) ? T_TRUE : T_FALSE; return p + 1;
  case LUA_TNUMBER:
    if (lua_isinteger(L, idx)) {
      lua_Integer i = lua_tointeger(L, idx);
      *p = T_INTEGER;
      return (char *)memcpy(p + 1, &i, sizeof i) + sizeof i;
    } else {
      lua_Number x = lua_tonumber(L, idx);
      *p = T_FLOAT;
      return (char *)memcpy(p + 1, &x, sizeof x) + sizeof x;
    }
  case LUA_TSTRING: {
    const char *s = lua_tolstring(L, idx, &length);
    if (length >= LONG_STRING || (size_t)(end - p) < length + 2) return NULL;
    p[0] = T_STRING;
    p[1] = (char)length;
    return (char *)memcpy(p + 2, s, length) + length;
  }
  default: return NULL;
  }
}

/* The same in the encoder's buffer. */
static bool put_plain(Encoder *e, int idx) {
  char *p = room_for(e, PLAIN);
  if (!p) return false;
  buffer_added(e->out, (size_t)(encode_plain_value(e->L, idx, p, p + PLAIN) - p));
  return true;
}

static bool encode_string(Encoder *e, int idx) {
  size_t length;
  const char *s = lua_tolstring(e->L, idx, &length);
  if (length < LONG_STRING) return put_plain(e, idx);
  First first = meet(e, s, T_REF);
  if (first != FIRST) return first == AGAIN;
  return put_tag(e, T_STRING) && put_size(e, length) && buffer_append(e->out, s, length);
}

/* Writes the counts where they were left out. */
static void set_counts(Encoder *e, size_t offset, Counts counts) {
  memcpy(e->out->data + offset, &counts, sizeof counts);
}

/* The content of a table; its Counts are at `counts_at`. First the values of 1, 2, 3... as long as they
** come in order, then pairs. Nils among the values are sent as far as the length goes, so that it is
** the same there. */
static bool encode_content(Encoder *e, int idx, const Path *at, size_t counts_at) {
  lua_State *L = e->L;
  int key = lua_gettop(L) + 1;
  size_t border = lua_rawlen(L, idx), values = 0;
  Counts counts = {0, 0};
  const Path at_key = {at, AT_KEY, 0, at->depth + 1, NULL};
  const Path at_value = {at, AT_FIELD, key, at->depth + 1, NULL};
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
    size_t i = lua_isinteger(L, key) ? (size_t)lua_tointeger(L, key) : 0;
    if (i > counts.array && i <= border && i <= 2 * values + HOLES && !counts.hash) {
      for (values++; counts.array + 1 < i; counts.array++)
        if (!put_tag(e, T_NIL)) return false;
      counts.array = i;
    } else {
      counts.hash++;
      if (!encode_value(e, key, &at_key)) return false;
    }
    if (!encode_value(e, key + 1, &at_value)) return false;
  }
  set_counts(e, counts_at, counts);
  return true;
}

/* An error class: by its id and, if it is the user's, with all it needs to be made. */
static bool encode_class(Encoder *e, int idx, const char *id, size_t length, const Path *at) {
  lua_State *L = e->L;
  int super = e->names + ASY_NAMES_SLOTS, tostring = super + 1, parent = lua_gettop(L) + 1, key = parent + 1;
  const Path at_parent = {at, AT_FIELD, super, at->depth + 1, NULL};
  First first = meet(e, lua_topointer(L, idx), T_REF);
  Counts counts = {0, 0};
  if (first != FIRST) return first == AGAIN;
  if (!put_tag(e, T_CLASS) || !put_size(e, length)) return false;
  if (!buffer_append(e->out, id, length)) return false;
  if (length == 1) return true;
  lua_pushvalue(L, super);
  lua_rawget(L, idx);
  if (!asy_class_id(L, parent, &length))
    return refuse(e, &at_parent, lua_typename(L, lua_type(L, parent)));
  if (!encode_value(e, parent, &at_parent)) return false;
  size_t counts_at = e->out->end;
  const Path at_key = {at, AT_KEY, 0, at->depth + 1, NULL};
  const Path at_value = {at, AT_FIELD, key, at->depth + 1, NULL};
  if (!buffer_append(e->out, (const char *)&counts, sizeof counts)) return false;
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
    if (lua_rawequal(L, key, super)) continue;
    if (lua_rawequal(L, key, tostring) && asy_class_tells(L, key + 1)) continue;
    counts.hash++;
    if (!encode_value(e, key, &at_key)) return false;
    if (!encode_value(e, key + 1, &at_value)) return false;
  }
  set_counts(e, counts_at, counts);
  return true;
}

/* A module, or a function in one, whose names asy_name_find has pushed. */
static bool encode_named(Encoder *e, const void *object) {
  First first = meet(e, object, T_REF);
  if (first != FIRST) return first == AGAIN;
  bool member = !lua_isnil(e->L, -1);
  if (!put_tag(e, member ? T_MEMBER : T_MODULE) || !put_string(e, -2)) return false;
  return !member || put_string(e, -1);
}

/* A table whose metatable has __remake, which is on the top: it is called with a plain copy there. */
static bool encode_made(Encoder *e, int idx, const Path *at) {
  const Path at_class = {at, AT_CLASS, 0, at->depth + 1, NULL};
  const Counts counts = {0, 0};
  First first = meet(e, lua_topointer(e->L, idx), T_REF);
  if (first != FIRST) return first == AGAIN;
  if (!put_tag(e, T_MADE) || !encode_value(e, lua_gettop(e->L), &at_class)) return false;
  size_t counts_at = e->out->end + 1;
  return put(e, T_TABLE, &counts, sizeof counts) && encode_content(e, idx, at, counts_at);
}

static bool encode_table(Encoder *e, int idx, const Path *at) {
  lua_State *L = e->L;
  const void *object = lua_topointer(L, idx);
  const Path at_class = {at, AT_CLASS, 0, at->depth + 1, NULL};
  const Counts counts = {0, 0};
  size_t length;
  if (object == e->globals) return put_tag(e, T_GLOBALS);
  if (!descend(e, at, "table")) return false;
  if (asy_name_find(L, e->names, idx)) return encode_named(e, object);
  bool has_class = lua_getmetatable(L, idx);
  if (has_class) {
    const char *id = asy_class_id(L, idx, &length);
    if (id) return encode_class(e, idx, id, length, at);
    if (!asy_class_id(L, -1, &length)) {
      lua_pushvalue(L, e->names + ASY_NAMES_SLOTS + 3);
      if (lua_rawget(L, -2) == LUA_TFUNCTION) return encode_made(e, idx, at);
      return refuse(e, at, "table with a metatable");
    }
  }
  First first = meet(e, object, T_REF);
  if (first != FIRST) return first == AGAIN;
  size_t counts_at = e->out->end + 1;
  if (!put(e, has_class ? T_ERROR : T_TABLE, &counts, sizeof counts)) return false;
  if (has_class && !encode_value(e, lua_gettop(L), &at_class)) return false;
  return encode_content(e, idx, at, counts_at);
}

static int write_dump(lua_State *L, const void *bytes, size_t n, void *out) {
  (void)L;
  return !buffer_append(out, bytes, n);
}

static bool encode_upvalue(Encoder *e, int function, int i, const char *name, const Path *at) {
  const Path at_upvalue = {at, AT_UPVALUE, i, at->depth + 1, name};
  First first = meet(e, lua_upvalueid(e->L, function, i), T_JOIN);
  if (first != FIRST) return first == AGAIN;
  return put_tag(e, T_UPVALUE) && encode_value(e, lua_gettop(e->L), &at_upvalue);
}

static bool encode_function(Encoder *e, int idx, const Path *at) {
  lua_State *L = e->L;
  const void *object = lua_topointer(L, idx);
  size_t length = 0;
  if (!descend(e, at, "function")) return false;
  if (asy_name_find(L, e->names, idx)) return encode_named(e, object);
  if (lua_iscfunction(L, idx)) return refuse(e, at, "C function");
  First first = meet(e, object, T_REF);
  if (first != FIRST) return first == AGAIN;
  if (!put(e, T_FUNCTION, &length, sizeof length)) return false;
  size_t start = e->out->end;
  lua_pushvalue(L, idx);
  if (lua_dump(L, write_dump, e->out, 0) != 0) return false;
  lua_pop(L, 1);
  length = e->out->end - start;
  memcpy(e->out->data + start - sizeof length, &length, sizeof length);
  size_t count_at = e->out->end;
  if (!put_tag(e, 0)) return false;
  const char *name;
  for (int i = 1; (name = lua_getupvalue(L, idx, i)); i++, lua_pop(L, 1)) {
    if (!encode_upvalue(e, idx, i, name, at)) return false;
    e->out->data[count_at] = (char)i;
  }
  return true;
}

/* The message holds a reference from the moment when the tag has been put. */
static bool encode_record(Encoder *e, int idx, const CodecShared *kind, const Path *at) {
  Record r = {kind, NULL, e->last_record};
  First first = meet(e, lua_topointer(e->L, idx), T_REF);
  if (first != FIRST) return first == AGAIN;
  r.record = kind->ref(lua_touserdata(e->L, idx));
  if (!r.record) return refuse(e, at, "userdata that is closed");
  size_t offset = e->out->end;
  char *p = room_for(e, 1 + sizeof r);
  if (!p) return kind->unref(r.record, NULL), false;
  *p = (char)T_RECORD;
  memcpy(p + 1, &r, sizeof r);
  buffer_added(e->out, 1 + sizeof r);
  e->last_record = offset;
  return true;
}

static bool encode_userdata(Encoder *e, int idx, const Path *at) {
  lua_State *L = e->L;
  if (!descend(e, at, "userdata")) return false;
  if (asy_name_find(L, e->names, idx)) return encode_named(e, lua_topointer(L, idx));
  if (lua_getmetatable(L, idx)) {
    const CodecShared *kind = asy_record_kind(L);
    if (kind) return encode_record(e, idx, kind, at);
    lua_pushvalue(L, e->names + ASY_NAMES_SLOTS + 2);
    if (lua_rawget(L, -2) == LUA_TSTRING) return refuse(e, at, lua_tostring(L, -1));
  }
  return refuse(e, at, "userdata");
}

/* Leaves what it likes on the stack when it fails, else nothing. */
static bool encode_object(Encoder *e, int idx, const Path *at) {
  int top = lua_gettop(e->L);
  bool ok = false;
  switch (lua_type(e->L, idx)) {
  case LUA_TTABLE: ok = encode_table(e, idx, at); break;
  case LUA_TFUNCTION: ok = encode_function(e, idx, at); break;
  case LUA_TUSERDATA: ok = encode_userdata(e, idx, at); break;
  case LUA_TTHREAD: refuse(e, at, "coroutine"); break;
  default: refuse(e, at, lua_typename(e->L, lua_type(e->L, idx)));
  }
  if (ok) lua_settop(e->L, top);
  return ok;
}

/* False when it can't be sent, or when there is no memory; idx is absolute. */
static bool encode_value(Encoder *e, int idx, const Path *at) {
  lua_State *L = e->L;
  switch (lua_type(L, idx)) {
  case LUA_TNIL:
  case LUA_TBOOLEAN:
  case LUA_TNUMBER: return put_plain(e, idx);
  case LUA_TSTRING: return encode_string(e, idx);
  case LUA_TLIGHTUSERDATA:
    if (!lua_touserdata(L, idx)) return put_tag(e, T_NULL);
    return refuse(e, at, "light userdata");
  default: return encode_object(e, idx, at);
  }
}

/* Whether any value is an object: only then names are needed. */
static bool has_objects(lua_State *L, int first, int n) {
  for (int i = first; i < first + n; i++)
    if (lua_type(L, i) >= LUA_TTABLE) return true;
  return false;
}

static bool encode_all(Encoder *e, int first, int n, CodecWhat what) {
  int called = what == CODEC_CALL;
  if (!put_size(e, (size_t)n * 2)) return false;
  for (int i = 0; i < n; i++) {
    const Path at = {NULL, i < called ? AT_FUNCTION : AT_TOP, i + 1 - called, 0, NOUNS[what]};
    if (!encode_value(e, first + i, &at)) return false;
  }
  if (!e->last_record) return true;
  e->out->data[e->out->start] |= 1;
  return buffer_append(e->out, (const char *)&e->last_record, sizeof e->last_record);
}

/* Pushes what the encoder reads, since it can't make it itself. */
static void prepare(lua_State *L, bool anew) {
  asy_names_push(L, anew);
  lua_pushliteral(L, "super");
  lua_pushliteral(L, "__tostring");
  lua_pushliteral(L, "__name");
  lua_pushliteral(L, "__remake");
  luaL_checkstack(L, 12, NULL);
}

static void begin(Encoder *e, lua_State *L, Buffer *out, int names, bool objects) {
  memset(e, 0, offsetof(Encoder, few));
  memset(e->few, 0, objects ? sizeof e->few : SMALL * sizeof *e->few);
  e->L = L;
  e->out = out;
  e->names = names;
  e->seen = e->few;
  e->seen_size = objects ? FEW : SMALL;
  e->why.length = 0;
}

bool asy_codec_encode_plain(lua_State *L, int first, int n, Buffer *out) {
  if (n > FEW || !out->size) return false;
  char *p = out->data;
  const char *end = p + out->size;
  *p++ = (char)(n * 2);
  for (int i = 0; i < n; i++)
    if (!(p = encode_plain_value(L, first + i, p, end))) return false;
  out->start = 0;
  out->end = (size_t)(p - out->data);
  return true;
}

void asy_codec_encode(lua_State *L, int first, int n, CodecWhat what, Buffer *out) {
  Encoder e;
  int top = lua_gettop(L);
  first = lua_absindex(L, first);
  out->start = out->end = 0; /* offsets count from there */
  if (asy_codec_encode_plain(L, first, n, out)) return;
  bool ok, again = false, objects = has_objects(L, first, n);
  luaL_checkstack(L, 2, NULL);
  do { /* a second time with the names as they are now, if something was refused */
    if (objects) prepare(L, again);
    begin(&e, L, out, top + 1, objects);
    lua_pushglobaltable(L);
    e.globals = lua_topointer(L, -1);
    ok = encode_all(&e, first, n, what);
    if (e.seen != e.few) mem_free(e.seen);
    if (!ok) {
      record_release(out->data, e.last_record, NULL);
      buffer_free(out);
    }
    lua_settop(L, top);
    again = !again;
  } while (!ok && e.refused && again);
  if (!ok) luaL_error(L, "%s", e.refused ? e.why.text : "not enough memory");
}
