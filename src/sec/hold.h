/*
** hold.h - what OpenSSL has made for a function in C, while Lua may raise an error: a userdata holds it.
*/
#ifndef ASY_SEC_HOLD_H
#define ASY_SEC_HOLD_H

#include "base/asy.h"

ASY_HIDDEN

typedef struct Hold {
  void *what; /* NULL: nothing */
  void (*release)(void *what);
} Hold;

/* Pushes one that holds nothing yet. */
Hold *asy_hold_new(lua_State *L, void (*release)(void *what));
void hold_release(Hold *hold); /* before the collector does. C only */

/* Raises that there is no memory where OpenSSL says so. To be called after what has failed; the first error stays. */
void asy_sec_check_memory(lua_State *L);
/* Why it failed, as LuaSec has it: the first error's words. */
const char *sec_reason(void);
/* To be called before what may fail. */
void sec_begin(void);

/* Pushes false or nil, and the sentence with the reason in it. */
int asy_sec_fail(lua_State *L, const char *format);

/* Makes the class. */
void asy_hold_open(lua_State *L);

ASY_HIDDEN_END

#endif
