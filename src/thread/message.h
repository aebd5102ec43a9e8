/*
** message.h - what a message of the codec consists of: for encode.c, decode.c and record.c alone.
**
** A message is the number of its values (times two, plus one if it refers to records), then the
** values, each a tag and what belongs to it, in the machine's own byte order. Objects that are met again
** are referred to by the offset of their tag, which gets SHARED then; so the decoder keeps only objects
** that somebody will ask for. Records that a message refers to are chained, the last one first: its
** offset ends the message.
*/
#ifndef ASY_MESSAGE_H
#define ASY_MESSAGE_H

#include "thread/codec.h"

ASY_HIDDEN

enum { MAX_DEPTH = 1000 }; /* tables in tables; the stack of a thread may be as small as 512 KiB */

typedef enum Tag {
  T_NIL = 1,
  T_FALSE,
  T_TRUE,
  T_NULL, /* light userdata NULL, which some libraries have for a null */
  T_INTEGER,
  T_FLOAT,
  T_STRING,   /* size, bytes */
  T_TABLE,    /* Counts, values of 1..array, key and value pairs */
  T_ERROR,    /* Counts, class, and so on as T_TABLE */
  T_CLASS,    /* id; unless it is built in: parent, Counts, pairs */
  T_FUNCTION, /* length and bytes of lua_dump, number of upvalues, upvalues */
  T_UPVALUE,  /* value */
  T_JOIN,     /* offset of the T_UPVALUE that is the same variable */
  T_GLOBALS,
  T_MODULE, /* name */
  T_MEMBER, /* name of the module, name of the function */
  T_REF,    /* offset of what was sent before */
  T_RECORD, /* Record: of a userdata that crosses as a reference */
  T_MADE,   /* function, T_TABLE: what the function makes of that table */
  T_LAST,
  SHARED = 0x80
} Tag;

typedef struct Counts {
  size_t array, hash;
} Counts;

typedef struct Record {
  const CodecShared *kind;
  void *record;
  size_t before; /* offset of the tag of the one before; 0: it is the first */
} Record;

/* The kind of a userdata whose metatable is on the top; NULL: it does not cross as a reference. */
const CodecShared *asy_record_kind(lua_State *L);

/* Lets go of a message's records from the one at `offset` on. From any thread. */
void record_release(const char *bytes, size_t offset, ListNode *dead);

ASY_HIDDEN_END

#endif
