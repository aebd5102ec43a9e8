/*
** tracefile.h - a trace as a file in Trace Event Format, which Perfetto and chrome://tracing read.
*/
#ifndef ASY_TRACEFILE_H
#define ASY_TRACEFILE_H

#include "dev/tracer.h"

ASY_HIDDEN

#define TRACEFILE_BUFFER 65536

/* What stands around it, and what is said of it. */
typedef struct TraceFile {
  int fd;
  const char *before, *after; /* of a page; or NULL */
  size_t nbefore, nafter;
  const char *program;
  int64_t began; /* seconds since 1970 */
  char *
      buffer; /* TRACEFILE_BUFFER bytes, made at the beginning: at the end there may be no memory */
} TraceFile;

/* Writes it. 0, or an errno, negative; *syscall: what failed. Makes nothing in Lua. */
int asy_tracefile_write(lua_State *L, Tracer *t, const TraceFile *file, Runtime *rt,
                        const char **syscall);

ASY_HIDDEN_END

#endif
