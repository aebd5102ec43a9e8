/*
** fdstream.h - a descriptor that others may share as a stream: a pipe, a FIFO, a terminal, a file, a socket.
**
** Flags are the description's, which print, the parent shell and other programs have too: none is changed. A pipe or a
** terminal is opened anew, so that it has a description of our own; a regular file never makes one wait, and is read
** and written where it is; what is left is copied through a pipe by a thread, or through a socket by two (pump.h).
*/
#ifndef ASY_FDSTREAM_H
#define ASY_FDSTREAM_H

#include "net/stream.h"
#include "os/pump.h"

ASY_HIDDEN

typedef enum FdKind { FD_FILE, FD_TTY, FD_PIPE, FD_OTHER } FdKind;
typedef enum FdMode { FD_READS = 1, FD_WRITES = 2, FD_BOTH = 3 } FdMode;

typedef struct FdStream {
  Backing backing;    /* first */
  Stream *stream;
  FdKind kind;
  FdMode mode;
  Pump *pump;         /* or NULL */
  Pump *back;         /* that of the output, where it has both */
  char text[24];      /* its name, if it has no other */
  ListNode followers; /* those that must not send before this has */
  ListNode behind;    /* in the followers of another */
} FdStream;

/* Pushes a writer for a stream that isn't open yet (a reader can be pushed for it), with all the memory that it needs.
** name: what errors call it; it stays. NULL: by its number. */
Stream *asy_fdstream_new(lua_State *L, Loop *loop, int fd, FdMode mode, size_t limit, const char *name);

/* Opens it on that descriptor, which stays the caller's. pump: one to copy for it that runs already, or NULL.
** 0, or a libuv status. */
int fdstream_open(Stream *s, int fd, Pump *pump);

/* `s` sends nothing before `leader`, on the same descriptor, has sent all. */
void fdstream_follow(Stream *s, Stream *leader);

/* What it is, for a stream that this made. */
static inline FdStream *fdstream_of(const Stream *s) { return asy_container(s->backing, FdStream, backing); }

ASY_HIDDEN_END

#endif
