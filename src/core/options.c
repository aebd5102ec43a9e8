/*
** options.c - tables of options are checked by tables.
**
** Nothing is allocated while the keys are walked: a finaliser might change the table.
*/
#include "core/options.h"

#include <string.h>

#define LONGEST 40 /* of a key that is compared, of a value that is shown */

/* One check under way. */
typedef struct Check {
  const Options *options;
  const char *prefix; /* "local_addr." for the options of an option */
  const char *name;   /* of a function of the Lua layer; NULL: the one in C that runs */
  int arg;
} Check;

ASY_NORETURN static void fail(lua_State *L, const Check *c, const char *text) {
  if (c->name) asy_argerror_of(L, c->name, c->arg, text);
  asy_argerror(L, c->arg, text);
}

/* The nearest key */

static int least_of(int a, int b, int c) { return a < b ? (a < c ? a : c) : (b < c ? b : c); }

/* How many letters are to be put in, left out or changed. */
static int distance(const char *a, const char *b) {
  int row[LONGEST + 1], na = (int)strlen(a), nb = (int)strlen(b);
  if (na > LONGEST || nb > LONGEST) return LONGEST;
  for (int j = 0; j <= nb; j++) row[j] = j;
  for (int i = 1; i <= na; i++) {
    int corner = row[0];
    row[0] = i;
    for (int j = 1; j <= nb; j++) {
      int above = row[j];
      row[j] = least_of(above + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1]));
      corner = above;
    }
  }
  return row[nb];
}

/* The key that was meant; NULL: none is near. */
static const char *nearest(const Options *options, const char *key) {
  const char *best = NULL;
  int least = LONGEST;
  for (int i = 0; i < options->n; i++) {
    const char *known = options->specs[i].key;
    int n = distance(key, known), longer = (int)strlen(strlen(key) > strlen(known) ? key : known);
    if (n < least && n <= longer / 2) {
      best = known;
      least = n;
    }
  }
  return best;
}

/* Whether the key is among those words. */
static bool has_word(const char *words, const char *end, const char *key) {
  size_t n = strlen(key);
  for (const char *next; n && words < end; words = next + 1) {
    if (!(next = memchr(words, ' ', (size_t)(end - words)))) next = end;
    if ((size_t)(next - words) == n && !memcmp(words, key, n)) return true;
  }
  return false;
}

/* Pushes the remedy for a key that others have, if there is one: an option of ours, or a sentence. */
static const char *push_guess(lua_State *L, const Options *options, const char *key) {
  for (const char *p = options->guesses, *end; p; p = *end ? end + 1 : NULL) {
    const char *remedy = strchr(p, '=');
    if (!remedy) break;
    if (!(end = strchr(remedy, '|'))) end = remedy + strlen(remedy);
    if (!has_word(p, remedy, key)) continue;
    remedy++;
    return lua_pushlstring(L, remedy, (size_t)(end - remedy));
  }
  return NULL;
}

/* What is wrong */

/* Pushes ", did you mean 'x'?", what else helps, or which there are. */
static const char *push_remedy(lua_State *L, const Check *c, const char *key) {
  const Options *o = c->options;
  const char *near = key ? push_guess(L, o, key) : NULL;
  luaL_Buffer b;
  if (near && strchr(near, ' ')) return lua_pushfstring(L, ": %s", near);
  if (key && !near) near = nearest(o, key);
  if (near) return lua_pushfstring(L, ", did you mean '%s'?", near);
  if (!o->n) return lua_pushliteral(L, ": there are none");
  luaL_buffinit(L, &b);
  luaL_addstring(&b, "; there ");
  luaL_addstring(&b, o->n == 1 ? "is only" : "are");
  for (int i = 0; i < o->n; i++) {
    luaL_addstring(&b, i == 0 ? " '" : i < o->n - 1 ? ", '" : " and '");
    luaL_addstring(&b, o->specs[i].key);
    luaL_addstring(&b, "'");
  }
  luaL_pushresult(&b);
  return lua_tostring(L, -1);
}

/* A value without a name. stack: ..., key, value */
ASY_NORETURN static void fail_nameless(lua_State *L, const Check *c) {
  const Options *o = c->options;
  bool shown = lua_type(L, -1) == LUA_TNUMBER || lua_type(L, -1) == LUA_TBOOLEAN;
  const char *key = o->n ? o->specs[0].key : "";
  if (o->form == OPT_CONSTRUCTOR) {
    const char *value = shown ? luaL_tolstring(L, -1, NULL) : key;
    fail(L, c, lua_pushfstring(L, "a value without a name: write %s(%s) or %s{%s=%s}", o->call, value, o->call,
                                      key, value));
  }
  const char *remedy = push_remedy(L, c, NULL);
  if (!*c->prefix) fail(L, c, lua_pushfstring(L, "a value without a name%s", remedy));
  lua_pushlstring(L, c->prefix, strlen(c->prefix) - 1); /* less its "." */
  fail(L, c, lua_pushfstring(L, "'%s': a value without a name%s", lua_tostring(L, -1), remedy));
}

/* stack: ..., key, value */
ASY_NORETURN static void fail_unknown(lua_State *L, const Check *c) {
  if (lua_isinteger(L, -2)) fail_nameless(L, c);
  const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
  const char *text = luaL_tolstring(L, -2, NULL);
  fail(L, c, lua_pushfstring(L, "unknown option '%s%s'%s", c->prefix, text, push_remedy(L, c, key)));
}

/* Pushes `"a", "b" or "c"`. */
static const char *push_choices(lua_State *L, const char *choices) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addchar(&b, '"');
  for (const char *p = choices; *p; p++) {
    if (*p == '|')
      luaL_addstring(&b, strchr(p + 1, '|') ? "\", \"" : "\" or \"");
    else
      luaL_addchar(&b, *p);
  }
  luaL_addchar(&b, '"');
  luaL_pushresult(&b);
  return lua_tostring(L, -1);
}

static const char *push_integers(lua_State *L, const OptSpec *s) {
  if (s->most < INT32_MAX)
    return lua_pushfstring(L, "integer from %I to %I", (LUAI_UACINT)s->least, (LUAI_UACINT)s->most);
  if (s->least > LUA_MININTEGER) return lua_pushfstring(L, "integer of %I or more", (LUAI_UACINT)s->least);
  return lua_pushliteral(L, "integer");
}

static const char *push_expected(lua_State *L, const OptSpec *s) {
  switch (s->kind) {
  case OPT_BOOLEAN: return lua_pushliteral(L, "boolean");
  case OPT_INTEGER: return push_integers(L, s);
  case OPT_SECONDS: return lua_pushliteral(L, "number of seconds, 0 or more,");
  case OPT_POSITIVE: return lua_pushliteral(L, "number of seconds above 0");
  case OPT_TIMEOUT: return lua_pushliteral(L, "number of seconds");
  case OPT_STRING: return lua_pushliteral(L, "string");
  case OPT_FUNCTION:
  case OPT_CALLABLE: return lua_pushliteral(L, "function");
  case OPT_CHOICE: return push_choices(L, s->choices);
  case OPT_OBJECT: return lua_pushstring(L, s->choices);
  case OPT_TABLE: return lua_pushliteral(L, "table");
  case OPT_ARRAY: return lua_pushliteral(L, "list");
  case OPT_SWITCH: return lua_pushliteral(L, "boolean or table");
  default: return lua_pushliteral(L, "value");
  }
}

/* Pushes what came: a number or a string as it is where its type is right. */
static const char *push_got(lua_State *L, const OptSpec *s, int idx) {
  bool number = s->kind >= OPT_INTEGER && s->kind <= OPT_TIMEOUT && lua_type(L, idx) == LUA_TNUMBER;
  if (number && lua_tonumber(L, idx) == lua_tonumber(L, idx)) return luaL_tolstring(L, idx, NULL);
  if (s->kind != OPT_CHOICE || lua_type(L, idx) != LUA_TSTRING) return asy_kindof(L, idx);
  const char *text = lua_tostring(L, idx);
  return lua_pushfstring(L, strlen(text) > LONGEST ? "another string" : "\"%s\"", text);
}

/* plain: it has no name, as the first of a constructor. */
ASY_NORETURN static void fail_value(lua_State *L, const Check *c, const OptSpec *s, int idx, bool plain) {
  luaL_checkstack(L, 12, NULL);
  idx = lua_absindex(L, idx);
  const char *got = push_got(L, s, idx), *expected = push_expected(L, s); /* idx may be above the top: it comes first */
  const char *text = lua_pushfstring(L, "%s expected, got %s", expected, got);
  if (!plain) text = lua_pushfstring(L, "'%s%s': %s", c->prefix, s->key, text);
  fail(L, c, text);
}

/* Checking */

static bool is_choice(const char *choices, const char *text) {
  size_t n = strlen(text);
  if (strchr(text, '|')) return false;
  for (const char *p = choices; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
    if (!strncmp(p, text, n) && (p[n] == '|' || !p[n])) return true;
  return false;
}

static bool fits(lua_State *L, int idx, const OptSpec *s) {
  bool number = lua_type(L, idx) == LUA_TNUMBER;
  lua_Number x = number ? lua_tonumber(L, idx) : 0;
  int isint = 0;
  lua_Integer n = number ? lua_tointegerx(L, idx, &isint) : 0;
  switch (s->kind) {
  case OPT_BOOLEAN: return lua_isboolean(L, idx);
  case OPT_INTEGER: return isint && n >= s->least && n <= s->most;
  case OPT_SECONDS: return number && x >= 0;
  case OPT_POSITIVE: return number && x > 0;
  case OPT_TIMEOUT: return number && x == x;
  case OPT_STRING: return lua_type(L, idx) == LUA_TSTRING;
  case OPT_FUNCTION: return lua_isfunction(L, idx);
  case OPT_CALLABLE: return asy_callable(L, idx);
  case OPT_CHOICE: return lua_type(L, idx) == LUA_TSTRING && is_choice(s->choices, lua_tostring(L, idx));
  case OPT_OBJECT: return asy_test(L, asy_runtime(L), idx, s->object) != NULL;
  case OPT_TABLE:
  case OPT_ARRAY: return lua_istable(L, idx);
  case OPT_SWITCH: return lua_isboolean(L, idx) || lua_istable(L, idx);
  default: return true;
  }
}

static bool is_known(lua_State *L, const Options *o, int key) {
  if (o->form == OPT_LIST && lua_isinteger(L, key)) return true;
  if (lua_type(L, key) != LUA_TSTRING) return false;
  const char *text = lua_tostring(L, key);
  for (int i = 0; i < o->n; i++)
    if (!strcmp(o->specs[i].key, text)) return true;
  return false;
}

static void check_table(lua_State *L, int idx, const Check *c, int to);

/* The options of an option. stack: ..., table; taken: it is replaced by one that nobody else can change */
static void check_inner(lua_State *L, const Check *c, const OptSpec *s, bool taken) {
  int idx = lua_gettop(L);
  Check inner = {.options = s->inner, .name = c->name, .arg = c->arg};
  luaL_checkstack(L, 3, NULL);
  inner.prefix = lua_pushfstring(L, "%s%s.", c->prefix, s->key);
  if (taken) lua_createtable(L, 0, s->inner->n);
  check_table(L, idx, &inner, taken ? idx + 2 : 0);
  if (taken) lua_replace(L, idx);
  lua_settop(L, idx);
}

/* The options of a table at idx; to: where those that are there are copied to, or 0. */
static void check_table(lua_State *L, int idx, const Check *c, int to) {
  luaL_checkstack(L, 12, NULL);
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1))
    if (!is_known(L, c->options, -2)) fail_unknown(L, c);
  for (int i = 0; i < c->options->n; i++) {
    const OptSpec *s = &c->options->specs[i];
    bool absent = lua_getfield(L, idx, s->key) == LUA_TNIL;
    if (absent ? s->required : !fits(L, -1, s)) fail_value(L, c, s, -1, false);
    if (s->inner && lua_istable(L, -1)) check_inner(L, c, s, to != 0);
    if (to && !absent)
      lua_setfield(L, to, s->key);
    else
      lua_pop(L, 1);
  }
}

static bool is_plain_table(lua_State *L, int idx) {
  if (!lua_istable(L, idx)) return false;
  if (!lua_getmetatable(L, idx)) return true;
  lua_pop(L, 1);
  return false;
}

static void check_options(lua_State *L, int idx, const Check *c, int to) {
  if (lua_isnoneornil(L, idx)) return;
  if (!lua_istable(L, idx)) fail(L, c, lua_pushfstring(L, "table of options expected, got %s", asy_kindof(L, idx)));
  check_table(L, idx, c, to);
}

/* The value of a constructor's first option, given without its name. */
static void check_first(lua_State *L, int idx, const Check *c) {
  const OptSpec *s = &c->options->specs[0];
  if (lua_isnoneornil(L, idx) ? s->required : !fits(L, idx, s)) fail_value(L, c, s, idx, true);
}

void asy_options_check(lua_State *L, int idx, const Options *options) {
  Check c = {.options = options, .prefix = "", .arg = idx};
  check_options(L, idx, &c, 0);
}

void asy_options_first(lua_State *L, int idx, const Options *options) {
  Check c = {.options = options, .prefix = "", .arg = idx};
  if (is_plain_table(L, idx)) {
    check_table(L, idx, &c, 0);
    lua_getfield(L, idx, options->specs[0].key);
    return;
  }
  check_first(L, idx, &c);
  if (lua_isnone(L, idx)) lua_pushnil(L); else lua_pushvalue(L, idx);
}

void asy_options_take(lua_State *L, const Options *options) {
  Check c = {.options = options, .prefix = "", .name = options->call, .arg = options->arg};
  int idx = lua_gettop(L), to = idx + 1;
  luaL_checkstack(L, 12, NULL);
  lua_createtable(L, 0, lua_istable(L, idx) ? options->n : 1);
  if (options->form != OPT_CONSTRUCTOR || is_plain_table(L, idx))
    check_options(L, idx, &c, to);
  else {
    check_first(L, idx, &c);
    lua_pushvalue(L, idx);
    lua_setfield(L, to, options->specs[0].key);
  }
  lua_replace(L, idx);
}

/* Reading */

static lua_Integer opt_integer(lua_State *L, int idx, const char *key, lua_Integer fallback, lua_Integer least,
                               lua_Integer most) {
  int isint;
  lua_getfield(L, idx, key);
  lua_Integer n = lua_tointegerx(L, -1, &isint);
  lua_pop(L, 1);
  return isint && n >= least && n <= most ? n : fallback;
}

int asy_opt_int(lua_State *L, int idx, const char *key, int fallback) {
  return (int)opt_integer(L, idx, key, fallback, 0, INT32_MAX);
}

size_t asy_opt_bytes(lua_State *L, int idx, const char *key, size_t fallback) {
  return (size_t)opt_integer(L, idx, key, (lua_Integer)fallback, 1, LUA_MAXINTEGER / 4);
}

bool asy_opt_bool(lua_State *L, int idx, const char *key, bool fallback) {
  bool value = lua_getfield(L, idx, key) == LUA_TNIL ? fallback : lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

lua_Number asy_opt_seconds(lua_State *L, int idx, const char *key, lua_Number fallback) {
  lua_getfield(L, idx, key);
  lua_Number n = lua_tonumber(L, -1);
  bool number = lua_isnumber(L, -1) && n >= 0;
  lua_pop(L, 1);
  return number ? n : fallback;
}
