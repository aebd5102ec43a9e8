/*
** handler.h - a server, with its connections and their handlers.
**
** handler.c makes a stream and a task of each connection, and sees to their end; accept.c takes them from the kernel;
** shutdown.c closes the server, and waits for its end; server.c makes it, and has the rest of its Lua face.
*/
#ifndef ASY_HANDLER_H
#define ASY_HANDLER_H

#include "net/filtered.h"
#include "net/limit.h"
#include "net/listener.h"
#include "net/stream.h"

ASY_HIDDEN

#define SERVER_ACCEPTS 32 /* connections taken in one callback, so that others get a turn */

typedef struct Server {
  Loop *loop;           /* valid while there is a loop with this id */
  uint64_t loop_id;
  uint32_t slot;        /* where the loop holds it; 0: it doesn't */
  ListNode listeners;   /* Listeners, one for each address; none once it, or its loop, is closed, or a ... */
                        /* ... shutdown's last call is over */
  ListNode clients;     /* Streams */
  Waitq closers;        /* wait_closed, <close>, serve_forever, shutdown */
  Ready spawn;          /* makes streams of what was accepted */
  Timer retry;          /* after descriptors ran out */
  Timer patience;       /* while its connections are waited for, if it is closed */
  Timer last_call;      /* shutdown: until then those are taken who were on their way */
  char address[ASY_ADDRESS_TEXT]; /* in words: where it listens, or the first such place */
  lua_Integer served, failed, reset; /* connections so far; whose handler failed, or lost its peer */
  lua_Integer unshaken;     /* whose handshake came to nothing */
  lua_Integer cut, aborted; /* whose handler a shutdown met in the middle of a message; that were ended by force */
  Accepted accepted[SERVER_ACCEPTS];
  int naccepted, nserved; /* of these, first come first served; both 0 once all are */
  Accepted *late;         /* shutdown: taken from the kernel, before that forgets them; or NULL */
  int nlate, nlate_served, late_room; /* of these; likewise */
  int nclients, max_clients;          /* how many there are; at so many accepting pauses */
  int nshaking, max_shaking;          /* how many shake hands; at so many accepting pauses, too */
  ListNode shaken;      /* Filtereds whose handshake has ended, in order; their handlers are to be started */
  StreamOptions stream; /* of its connections */
  uint64_t shake_ns;    /* ssl_handshake_timeout */
  uint64_t linger_ns;   /* close_timeout */
  lua_Number stop_grace; /* seconds for the shutdown that a cancellation makes; 0: it makes none */
  ListenOptions options; /* of its listeners */
  char *site;           /* debug mode: where it was started; or NULL */
  bool serving;         /* its listeners are polled, unless descriptors ran out or it is full */
  bool talks;           /* its connections are talks (talk.h) */
  bool closed;          /* accepts no more, but for a last call */
  bool full;            /* has max_clients: its listeners aren't polled */
  bool ending;          /* a shutdown has begun ... */
  bool over;            /* ... and so its last call is over: who is served now finds the end of its input */
  bool broken_off;      /* the shutdown that a cancellation made was broken by the next */
  bool starved;         /* out of descriptors, and that has been reported */
  bool impatient;       /* `patience` has run out, and that is to be reported */
} Server;

/* User values: the handler, what makes filters for its connections (or nil), and the context that its tasks begin
** with. */
#define SERVER_UV_HANDLER 1
#define SERVER_UV_FILTERS 2
#define SERVER_UV_CONTEXT 3

/* Connections that were accepted and have no handler yet. */
static inline int server_unserved(const Server *sv) {
  return sv->naccepted - sv->nserved + sv->nlate - sv->nlate_served;
}

/* Whether it is closed and nothing of it is left. */
static inline bool server_idle(const Server *sv) {
  return sv->closed && list_empty(&sv->listeners) && list_empty(&sv->clients) && !server_unserved(sv);
}

/* Whether it may have another client. */
static inline bool server_has_room(const Server *sv) {
  int coming = sv->naccepted - sv->nserved;
  return sv->nclients + coming < sv->max_clients && sv->nshaking + coming < sv->max_shaking;
}

/* Has `spawn` run, unless the loop has let go of it: then nothing is to be done. */
static inline void server_wake(Server *sv) {
  if (sv->slot && !list_linked(&sv->spawn.link)) loop_ready(sv->loop, &sv->spawn);
}

/* Wakes all who stand in `closers`; none of them has a timer any more. */
void server_wake_closers(Server *sv);

/* If it is idle, tells those who wait for that. */
void server_check_idle(Server *sv);

/* Whether it has no handler yet: hands are shaken, or that has just ended. */
static inline bool client_is_shaking(const Stream *s) {
  return s->filtered && (s->filtered->shaking || list_linked(&s->filtered->link));
}

/* The clock of its clients' `since`; it wraps. */
static inline uint32_t client_clock(const Server *sv) { return stream_clock(sv->loop); }

/* How many connections it has. */
static inline int server_connections(const Server *sv) { return sv->nclients + server_unserved(sv); }

/* The object of a method. */
Server *asy_server_check(lua_State *L);

/* NULL when its loop is closed. */
Loop *asy_server_loop(lua_State *L, const Server *sv);

/* The connection is none of a server any more. */
void client_forget(Stream *s);

/* Serves a connection that was accepted, or reports why not. stack: ..., server */
void asy_handler_start(lua_State *L, Server *sv, const Accepted *from);

/* Starts the handlers of those whose handshake has succeeded, ends the others. stack: ..., server */
void asy_handler_start_shaken(lua_State *L, Server *sv);

/* Whether the task is the handler of one of its connections. */
bool handler_is_of(const Task *t, const Server *sv);

/* Cancels a connection's handler, unless that makes the call. */
void asy_handler_cancel(lua_State *L, Stream *s);

/* Pushes for what a connection is not over yet. */
void asy_handler_push_line(lua_State *L, Stream *s);

ASY_HIDDEN_END

#endif
