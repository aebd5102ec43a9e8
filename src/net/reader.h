/*
** reader.h - what else takes bytes out of a stream's input does so by the reader's rules.
*/
#ifndef ASY_READER_H
#define ASY_READER_H

#include "net/stream.h"

ASY_HIDDEN

/* Raises where a task reads already, and in a forked child. */
void asy_reader_claim(lua_State *L, Stream *s);

/* The stream of the reader at 1, an argument; raises where there is none any more. */
Stream *asy_reader_check(lua_State *L);

/* StreamReader:read. stack: reader, n */
int asy_reader_read(lua_State *L);

/* Raises the error that ended the input; what has come goes along where its peer never said that it is the end. */
int asy_reader_raise(lua_State *L, Stream *s) ASY_NORETURN;
int asy_reader_raise_with_partial(lua_State *L, Stream *s);

/* A call that reads starts: nobody else may be reading. The task that should give way first, or NULL: the budget counts
** only what is at hand. */
Task *asy_reader_begin(lua_State *L, Stream *s);

/* Parks the reader until `want` bytes lie there or `byte` (-1: none) has come. Its kind has the following two, and its
** `finish` begins with reader_resumed, which gives the stream. */
int asy_reader_wait(lua_State *L, Stream *s, const WaitKind *kind, size_t want, int byte);
Abort asy_reader_abort(lua_State *L, Task *t);
void asy_reader_giveback(lua_State *L, Task *t);
Stream *reader_resumed(Task *t);

ASY_HIDDEN_END

#endif
