/*
** alloc.h - the one place where memory that is not Lua's comes from.
**
** What a lua_State must not own (libuv, threads or a closed state may outlive it) is allocated here.
** With ASY_FAIL_MALLOC the functions are the program's that links these sources (tools/oom/host.c):
** it counts blocks and lets calls fail, those of the workers' Lua states, too.
*/
#ifndef ASY_ALLOC_H
#define ASY_ALLOC_H

#include "base/asy.h"

#include <stdlib.h>
#include <string.h>

#if defined(ASY_FAIL_MALLOC)

void *mem_alloc(size_t size);
void *mem_calloc(size_t n, size_t size);
void *mem_realloc(void *block, size_t size);
void mem_free(void *block);
lua_State *asy_newstate(void);

#else

static inline void *mem_alloc(size_t size) { return malloc(size); }
static inline void *mem_calloc(size_t n, size_t size) { return calloc(n, size); }
static inline void *mem_realloc(void *block, size_t size) { return realloc(block, size); }
static inline void mem_free(void *block) { free(block); }
static inline lua_State *asy_newstate(void) { return luaL_newstate(); } /* a worker's */

#endif

/* How many of something to keep for later, instead of freeing it: none under AddressSanitizer, so that it sees
** each one being freed. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASY_KEEP(n) 0
#endif
#endif
#if !defined(ASY_KEEP)
#define ASY_KEEP(n) (n)
#endif

/* A copy of a text; NULL when there is no memory. */
static inline char *mem_strdup(const char *text) {
  size_t n = strlen(text) + 1;
  char *copy = mem_alloc(n);
  return copy ? memcpy(copy, text, n) : NULL;
}

#endif
