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

/* Raises the error that ended the input. */
int asy_reader_raise(lua_State *L, Stream *s) ASY_NORETURN;

ASY_HIDDEN_END

#endif
