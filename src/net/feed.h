/*
** feed.h - readers that are fed by hand.
*/
#ifndef ASY_FEED_H
#define ASY_FEED_H

#include "net/stream.h"

ASY_HIDDEN

/* Raises the value that was fed as the end. */
int asy_feed_raise(lua_State *L, const Stream *s) ASY_NORETURN;

ASY_HIDDEN_END

#endif
