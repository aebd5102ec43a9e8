/*
** options.h - tables of options. What each may hold stands in a table of its own, in C or in Lua, and everything is
** checked by it at the call: keys, types, ranges, all in the same words.
*/
#ifndef ASY_OPTIONS_H
#define ASY_OPTIONS_H

#include "core/runtime.h"

ASY_HIDDEN

typedef enum OptKind {
  OPT_ANY,
  OPT_BOOLEAN,
  OPT_INTEGER,  /* least to most */
  OPT_SECONDS,  /* a duration: 0 or more */
  OPT_POSITIVE, /* seconds, more than 0 */
  OPT_TIMEOUT,  /* seconds, also negative: the time is up */
  OPT_STRING,
  OPT_FUNCTION,
  OPT_CALLABLE, /* also what is no function */
  OPT_CHOICE,   /* one of `choices`: "a|b|c" */
  OPT_OBJECT,   /* of the class `object` */
  OPT_TABLE,    /* as `inner` says */
  OPT_ARRAY,    /* a table whose values its owner checks */
  OPT_SWITCH,   /* true or false, or true with such a table */
} OptKind;

struct Options;

typedef struct OptSpec {
  const char *key;
  OptKind kind;
  bool required;
  lua_Integer least, most;
  const char *choices; /* of an OPT_OBJECT the name of its class */
  Kind object;
  const struct Options *inner;
} OptSpec;

typedef enum OptForm {
  OPT_NAMED,       /* options only */
  OPT_CONSTRUCTOR, /* the first may be given without its name, in place of the table */
  OPT_LIST,        /* the call's own values stand in the array part */
  OPT_ALL          /* the call's own values stand there by name, in place of its arguments */
} OptForm;

typedef struct Options {
  const char *call; /* whose they are */
  int arg;          /* which argument, not counting the object of a method */
  OptForm form;
  const OptSpec *specs;
  int n;
  const char *guesses; /* "key key=remedy|key=remedy": what users of other libraries write; or NULL */
} Options;

#define OPT_SPECS(list) (list), (int)(sizeof(list) / sizeof *(list)), NULL
#define OPT_MOST LUA_MAXINTEGER
#define OPT_BYTES(name) {.key = name, .kind = OPT_INTEGER, .least = 1, .most = LUA_MAXINTEGER / 4}

/* Lists them among all, for the specs and the documents that must say the same. */
void asy_options_note(lua_State *L, const Options *options);

/* Raises an argument error unless the value at idx, an argument with that number, is nil or a table of these. */
void asy_options_check(lua_State *L, int idx, const Options *options);

/* For constructors: the value at idx is checked, and that of the first option pushed: from the table or as it is. */
void asy_options_first(lua_State *L, int idx, const Options *options);

/* For a function of the Lua layer, whose name and argument the options know: replaces the value at the top by a table
** of those that are there, which nobody else can change. */
void asy_options_take(lua_State *L, const Options *options);

/* Reading one, of a table that was checked; what is not as it should be any more counts as absent. */
int asy_opt_int(lua_State *L, int idx, const char *key, int fallback); /* 0 to INT32_MAX */
size_t asy_opt_bytes(lua_State *L, int idx, const char *key, size_t fallback); /* 1 at least */
bool asy_opt_bool(lua_State *L, int idx, const char *key, bool fallback);
lua_Number asy_opt_seconds(lua_State *L, int idx, const char *key, lua_Number fallback);

ASY_HIDDEN_END

#endif
