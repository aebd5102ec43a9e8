/*
** handler.h - a server, with its connections and their handlers.
**
** server.c listens, closes and has its Lua face; handler.c makes a stream and a task of each connection, and sees to
** their end.
*/
#ifndef ASY_HANDLER_H
#define ASY_HANDLER_H

#include "net/limit.h"
#include "net/listener.h"
#include "net/stream.h"

ASY_HIDDEN

#define SERVER_ACCEPTS 32 /* connections taken in one callback, so that others get a turn */

typedef struct Server {
  Loop *loop;           /* valid while there is a loop with this id */
  uint64_t loop_id;
  uint32_t slot;        /* where the loop holds it; 0: it doesn't */
  ListNode listeners;   /* Listeners, one for each address; none once it, or its loop, is closed */
  ListNode clients;     /* Streams */
  Waitq closers;        /* wait_closed, <close>, serve_forever */
  Ready spawn;          /* makes streams of what was accepted */
  Timer retry;          /* after descriptors ran out */
  Timer patience;       /* while its connections are waited for, if it is closed */
  char address[ASY_ADDRESS_TEXT]; /* in words: where it listens, or the first such place */
  lua_Integer served, failed, reset; /* connections so far; whose handler failed, or lost its peer */
  Accepted accepted[SERVER_ACCEPTS];
  int naccepted, nserved; /* of these, first come first served; both 0 once all are */
  StreamOptions stream; /* of its connections */
  uint64_t linger_ns;   /* close_timeout */
  ListenOptions options; /* of its listeners */
  char *site;           /* debug mode: where it was started; or NULL */
  bool serving;         /* its listeners are polled, unless descriptors ran out */
  bool closed;          /* has no listeners any more */
  bool starved;         /* out of descriptors, and that has been reported */
  bool impatient;       /* `patience` has run out, and that is to be reported */
} Server;

/* User values: the handler, and the context that its tasks begin with. */
#define SERVER_UV_HANDLER 1
#define SERVER_UV_CONTEXT 2

/* Whether it is closed and nothing of it is left. */
static inline bool server_idle(const Server *sv) { return sv->closed && list_empty(&sv->clients); }

/* Has `spawn` run. */
static inline void server_wake(Server *sv) {
  if (!list_linked(&sv->spawn.link)) loop_ready(sv->loop, &sv->spawn);
}

/* If it is idle, tells those who wait for that. */
void server_check_idle(Server *sv);

/* How many connections it has. */
int server_connections(const Server *sv);

/* The connection is none of a server any more. */
void client_forget(Stream *s);

/* Serves a connection that was accepted, or reports why not. stack: ..., server */
void asy_handler_start(lua_State *L, Server *sv, const Accepted *from);

/* Whether the task is the handler of one of its connections. */
bool handler_is_of(const Task *t, const Server *sv);

/* Cancels a connection's handler, unless that makes the call. */
void asy_handler_cancel(lua_State *L, Stream *s);

/* Pushes for what a connection is not over yet. */
void asy_handler_push_line(lua_State *L, Stream *s);

ASY_HIDDEN_END

#endif
