/*
** codec.h - Lua values to bytes and back, between the Lua states of one process. Knows no loop.
**
** What crosses: nil, booleans, numbers, strings, tables (shared and cyclic), error objects by class,
** Lua functions with their upvalues, and by name what the standard library and package.loaded hold.
*/
#ifndef ASY_CODEC_H
#define ASY_CODEC_H

#include "base/buffer.h"
#include "base/list.h"

ASY_HIDDEN

/* What the values of a message are: for errors. */
typedef enum CodecWhat {
  CODEC_ARGUMENT,
  CODEC_CALL, /* the first value is a function, the others are its arguments */
  CODEC_ERROR,
  CODEC_ITEM,
  CODEC_RESULT,
  CODEC_VALUE
} CodecWhat;

/* Appends the n values from stack index `first` on to an empty buffer; they stay on the stack. Raises for
** what cannot cross, saying where: "cannot send a coroutine at argument 1.cb.x"; the buffer is empty then,
** and its memory given back. What the message refers to is held until codec_release. */
void asy_codec_encode(lua_State *L, int first, int n, CodecWhat what, Buffer *out);

/* The same for what costs nothing: nil, booleans, numbers and short strings, in the memory that the buffer has.
** False: it is not that; nothing is held, and the buffer's content is lost. Never raises. `first` is absolute. */
bool asy_codec_encode_plain(lua_State *L, int first, int n, Buffer *out);

/* Pushes the values of a message and says how many. Raises for bytes that no encoder made and when memory
** runs out; nothing is left on the stack then but the error. `trusted`: the message was made by
** asy_codec_encode in this process; without it functions are refused, since Lua does not verify bytecode,
** and no module is loaded. */
int asy_codec_decode(lua_State *L, const char *bytes, size_t length, bool trusted);

/* The same for a few values that allocate nothing, nil, booleans and numbers; the stack has room for
** CODEC_PLAIN. -1: the message is not that, and nothing is pushed. Never raises. */
#define CODEC_PLAIN 8
int asy_codec_decode_plain(lua_State *L, const char *bytes, size_t length);

/* Lets go of what a message refers to; once for each that was encoded, after the last decode. From any
** thread. `dead`: see CodecShared. */
void codec_release(const char *bytes, size_t length, ListNode *dead);

/* Userdata that cross as a reference: each state has its own, for one counted record. All C only but push. */
typedef struct CodecShared {
  void *(*ref)(void *userdata);             /* the record, with one reference more; NULL: there is none */
  /* From any thread. Where there is a list, one that nobody has any more goes into it instead of being destroyed:
  ** what it holds may hold others, and so on. */
  void (*unref)(void *record, ListNode *dead);
  void (*push)(lua_State *L, void *record); /* pushes a userdata with a reference of its own; may raise */
} CodecShared;

/* stack: ..., metatable. Those of this metatable cross from now on; `kind` lives as long as the program. */
void asy_codec_share(lua_State *L, const CodecShared *kind);

ASY_HIDDEN_END

#endif
