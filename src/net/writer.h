/*
** writer.h - what else writes to a stream does so by the writer's rules.
*/
#ifndef ASY_WRITER_H
#define ASY_WRITER_H

#include "net/stream.h"

ASY_HIDDEN

/* Raises unless something can be written. */
void asy_writer_claim(lua_State *L, Stream *s);

/* StreamWriter:drain. stack: writer */
int asy_writer_drain(lua_State *L);

/* Raises the error that a write has met. */
int asy_writer_raise(lua_State *L, Stream *s, int status) ASY_NORETURN;

ASY_HIDDEN_END

#endif
