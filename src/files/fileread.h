/*
** fileread.h - the methods of File that read.
*/
#ifndef ASY_FILEREAD_H
#define ASY_FILEREAD_H

#include "core/runtime.h"

ASY_HIDDEN

int asy_file_read(lua_State *L);
int asy_file_lines(lua_State *L);

/* Raises for arguments from `first` on that are no formats, or too many. */
void asy_file_check_formats(lua_State *L, int first);

/* Pushes what reads on with each call: the n formats from `first` on, of the file at `file`. */
void asy_file_push_lines(lua_State *L, int file, int first, int n, bool closes);

ASY_HIDDEN_END

#endif
