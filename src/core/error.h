/*
** error.h - the error classes, and how C raises them.
**
** An error value is a table whose metatable is its class. A class is a table that is its own
** __index; `super` names its parent. Classes are made once for each Lua state; by their ids they are
** known again in another.
*/
#ifndef ASY_ERROR_H
#define ASY_ERROR_H

#include "core/made.h"

ASY_HIDDEN

typedef enum ErrorClass {
  ASY_ERROR = 1, /* values are indices into the state's table of classes */
  ASY_CANCELLED,
  ASY_KEYBOARD_INTERRUPT,
  ASY_TIMEOUT,
  ASY_INVALID_STATE,
  ASY_QUEUE_EMPTY,
  ASY_QUEUE_FULL,
  ASY_QUEUE_SHUTDOWN,
  ASY_INCOMPLETE_READ,
  ASY_LIMIT_OVERRUN,
  ASY_BROKEN_BARRIER,
  ASY_BROKEN_EXECUTOR,
  ASY_BUSY,
  ASY_CLOSED,
  ASY_EXCEPTION_GROUP,
  ASY_OSERROR,
  ASY_CONNECTION,
  ASY_CONNECTION_REFUSED,
  ASY_CONNECTION_RESET,
  ASY_BROKEN_PIPE,
  ASY_ADDRESS_IN_USE,
  ASY_FILE_NOT_FOUND,
  ASY_PERMISSION,
  ASY_GAI,
  ASY_SSL,
  ASY_SSL_CERT_VERIFICATION,
  ASY_SSL_EOF,
  ASY_FILE_EXISTS,
  ASY_IS_A_DIRECTORY,
  ASY_NOT_A_DIRECTORY,
  ASY_PROCESS_LOOKUP,
  ASY_CHILD_PROCESS,
  ASY_CALLED_PROCESS,
  ASY_DEADLOCK,
  ASY_NCLASSES
} ErrorClass;

/* Pushes a new error of that class; the message is as for lua_pushfstring. */
void asy_error_push(lua_State *L, ErrorClass cls, const char *fmt, ...);

/* Raises one. The position of the Lua caller goes before the message of an ASY_ERROR. */
int asy_error(lua_State *L, ErrorClass cls, const char *fmt, ...) ASY_NORETURN;

/* Pushes / raises the OSError for a libuv status (negative); `address` may be NULL. */
void asy_oserror_push(lua_State *L, int status, const char *syscall, const char *address);
int asy_oserror(lua_State *L, int status, const char *syscall, const char *address) ASY_NORETURN;

/* Likewise for a call that names a path, or two (rename, link): the fields `path` and `path2`. `path2` may be NULL. */
void asy_patherror_push(lua_State *L, int status, const char *syscall, const char *path, const char *path2);
int asy_patherror(lua_State *L, int status, const char *syscall, const char *path, const char *path2) ASY_NORETURN;

/* Whether the value at `idx` is an error of `cls` or of a class below it. */
bool asy_isinstance(lua_State *L, int idx, ErrorClass cls);

/* CancelledError or KeyboardInterrupt: what asyncio.pcall lets through. */
bool asy_isinterruption(lua_State *L, int idx);


/* Gives an Error at `idx` the traceback on the top (which stays), unless it has one. */
void asy_error_keep(lua_State *L, int idx);

/* The error leaves the loop, and came from there: its tostring tells. stack: ..., error, traceback → ... */
void asy_error_mark_left(lua_State *L);

/* Pushes a class. */
void asy_class_push(lua_State *L, ErrorClass cls);

/* The id of the class at `idx`, the same in every Lua state of the process and no other's; of one byte
** when it is built in. NULL when there is no error class. Allocates nothing. */
const char *asy_class_id(lua_State *L, int idx, size_t *length);

/* Pushes the class that has this id, or nil, and says whether this state has one. */
bool asy_class_find(lua_State *L, const char *id, size_t length);

/* A class that comes from another state. Begun, it is an empty table that can be called... */
void asy_class_begin(lua_State *L);

/* ... now it has a parent, the __tostring of all classes, and an id (stack: ..., class, parent → ..., class)... */
void asy_class_inherit(lua_State *L, const char *id, size_t length);

/* ... and with all its fields, it can be found. stack: ..., class */
void asy_class_publish(lua_State *L, const char *id, size_t length);

/* Whether that is the __tostring which classes have unless they get another. */
bool asy_class_tells(lua_State *L, int idx);

ASY_HIDDEN_END

#endif
