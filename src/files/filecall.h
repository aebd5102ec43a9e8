/*
** filecall.h - how a call waits for its turn at a file, and for the file's Work.
**
** A call's body is a lua_CFunction that runs, in the call's own frame, once it has its turn: at once if nobody else has.
** It finds its file by asy_file_current, and ends by file_over, asy_file_fail, or by asy_file_work, after which
** another such body goes on with it.
*/
#ifndef ASY_FILECALL_H
#define ASY_FILECALL_H

#include "files/file.h"

ASY_HIDDEN

/* The object of a method, open or not. */
File *asy_file_check(lua_State *L);

/* Pushes a userdata for a file that isn't open yet. */
File *asy_file_push(lua_State *L, Loop *loop, const char *path);

/* Raises when it is closed. */
void asy_file_checkopen(lua_State *L, const File *f);

/* Return its value. */
int asy_file_begin(lua_State *L, File *f, Task *t, lua_CFunction body);

/* The file of the body that runs. */
static inline File *asy_file_current(lua_State *L) { return ASY_RUNTIME(L)->current->on; }

/* Return its value. */
int asy_file_work(lua_State *L, File *f, FileAct act, lua_CFunction again);

/* The call is over; the next one has its turn. */
static inline void file_over(File *f) {
  if (f->taken) file_pass(f);
}

/* The same, and raises the error of its Work. */
int asy_file_fail(lua_State *L, File *f) ASY_NORETURN;

/* The same with that of output whose caller had left. */
int asy_file_fail_lost(lua_State *L, File *f) ASY_NORETURN;

/* Closes it; the call returns what is on the top. Until then something on the stack keeps the file. t: NULL where nothing
** can wait */
int asy_file_end(lua_State *L, File *f, Task *t);

ASY_HIDDEN_END

#endif
