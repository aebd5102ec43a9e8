/*
** talk.h - connections on which requests and answers take turns, as HTTP's: a shutdown ends them between two.
**
** The server says so by its private option `talks`, and the handler of such a connection by the call with which it
** waits: for the next request, or within one. A shutdown ends the input of those that wait for a request of which nothing
** has come; all others are heard to the end of what they have begun, and are told that it was the last.
*/
#ifndef ASY_TALK_H
#define ASY_TALK_H

#include "net/stream.h"

ASY_HIDDEN

/* A shutdown ends the input of a server's connection: at once, or when its talk is between two requests. C only. */
void talk_end(Stream *s);

/* Whether its handler waits for the next request. C only. */
bool talk_waits(const Stream *s);

ASY_HIDDEN_END

#endif
