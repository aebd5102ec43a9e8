/*
** asy.h - what every file here includes first: feature macros, Lua, version shims, visibility.
*/
#ifndef ASY_H
#define ASY_H

#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* accept4, RTLD_NODELETE */
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#if LUA_VERSION_NUM < 504
#error "lua-asyncio needs Lua 5.4.4 or newer"
#endif

/* Closing a coroutine from L: lua_closethread came with 5.4.6; lua_resetthread(L) before it. */
#if LUA_VERSION_NUM > 504 || LUA_VERSION_RELEASE_NUM >= 50406
#define asy_closethread(co, from) lua_closethread(co, from)
#elif LUA_VERSION_RELEASE_NUM == 50405
#define asy_closethread(co, from) lua_resetthread(co, from)
#else
#define asy_closethread(co, from) ((void)(from), lua_resetthread(co))
#endif

/* One collector step, of the basic size. */
#if LUA_VERSION_NUM > 504
#define asy_gcstep(L) lua_gc(L, LUA_GCSTEP, (size_t)0)
#else
#define asy_gcstep(L) lua_gc(L, LUA_GCSTEP, 0)
#endif

#if !defined(lua_writestringerror) /* 5.5 keeps it to itself */
#include <stdio.h>
#define lua_writestringerror(format, arg) (fprintf(stderr, (format), (arg)), fflush(stderr))
#endif

/* Closes a coroutine for good: it is dead, to whoever looks at it. */
#define asy_killthread(co, from) ((void)asy_closethread(co, from), lua_settop(co, 0))

#if defined(__GNUC__)
#define ASY_LIKELY(x) __builtin_expect(!!(x), 1)
#define ASY_NORETURN __attribute__((noreturn))
#define ASY_COLD __attribute__((noinline, cold)) /* rarely called: it costs its callers as little as can be */
#define ASY_EXPORT __attribute__((visibility("default")))
/* Around the declarations of every header: only luaopen_asyncio_core leaves the shared object. */
#define ASY_HIDDEN _Pragma("GCC visibility push(hidden)")
#define ASY_HIDDEN_END _Pragma("GCC visibility pop")
#else
#define ASY_HIDDEN
#define ASY_HIDDEN_END
#define ASY_LIKELY(x) (x)
#define ASY_NORETURN
#define ASY_COLD
#define ASY_EXPORT
#endif

ASY_EXPORT int luaopen_asyncio_core(lua_State *L);

/* What must hold, in builds with ASY_CHECKS (asan, gc, oom, fuzz); costs nothing elsewhere. */
#if defined(ASY_CHECKS)
#include <assert.h>
#define asy_assert(condition) assert(condition)
#else
#define asy_assert(condition) ((void)0)
#endif

#define asy_container(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
