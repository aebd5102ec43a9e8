/*
** endpointclass.h - what the two halves of asyncio.DatagramEndpoint share: it is received with, and sent with.
*/
#ifndef ASY_ENDPOINTCLASS_H
#define ASY_ENDPOINTCLASS_H

#include "net/endpoint.h"

ASY_HIDDEN

#define ASY_BROADCAST_REFUSED "permission denied (a broadcast needs the option allow_broadcast = true)"

/* The endpoint of a method, or an argument error. */
Endpoint *asy_check_endpoint(lua_State *L);

/* Raises unless it is open. */
int asy_endpoint_closed(lua_State *L, const Endpoint *e) ASY_NORETURN;
static inline void asy_endpoint_checkopen(lua_State *L, const Endpoint *e) {
  if (!ASY_LIKELY(e->handle.open && !e->handle.loop->copied)) asy_endpoint_closed(L, e);
}

/* Raises unless the task may wait for it. */
void asy_endpoint_checkloop(lua_State *L, const Endpoint *e, const Task *t);

/* Raises the error that has come meanwhile, if one has. stack: [1] box */
void asy_endpoint_raise(lua_State *L, Endpoint *e, const char *call);

/* What a task waits on, in words. */
void endpoint_describe(const Task *t, char *text);

ASY_HIDDEN_END

#endif
