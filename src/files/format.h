/*
** format.h - what Lua's io calls formats: "n", "l", "L", "a", or a number of bytes.
*/
#ifndef ASY_FORMAT_H
#define ASY_FORMAT_H

#include "files/file.h"

ASY_HIDDEN

typedef enum Got {
  GOT,    /* a value is pushed */
  MISSED, /* nil is: the file had ended, or there is no number */
  SHORT   /* nothing is: f->want more bytes are needed, or to know that it ends */
} Got;

/* Raises for arguments from `first` to the top that are no formats. */
void asy_format_check(lua_State *L, int first);

/* Reads one, the value at idx (or 0: a line), from what has been read ahead behind f->used, and moves that. */
Got asy_format_read(lua_State *L, File *f, int idx);

ASY_HIDDEN_END

#endif
