/*
** dial.c - a socket gets an address: its own (bind), or its peer's (connect), the first of several that will do.
**
** As LuaSocket has it: a socket without a descriptor gets one of the first address's family, and a new one where the
** next is of another; each address has the whole time limit.
*/
#include "face/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "face/io.h"
#include "face/moment.h"
#include "face/names.h"

typedef struct Dial {
  Names *names;        /* who has the list */
  struct addrinfo *at; /* the one that is tried */
  int family;          /* of the descriptor */
  int idx;             /* the socket's place on the stack */
  bool begun;          /* at it */
  uint64_t since;
  unsigned ends;       /* the socket's when the call began */
  DialEnd *end;
  struct addrinfo one; /* a list without names */
  struct sockaddr_storage sa;
} Dial;

void dial_free(FaceSocket *s) {
  Dial *d = s->dial;
  s->dial = NULL;
  if (d && d->names)
    names_free(d->names); /* and it */
  else
    mem_free(d);
}

/* Both ends of a call. */
static int dialled(lua_State *L, FaceSocket *s, const char *error) {
  DialEnd *end = s->dial->end;
  dial_free(s);
  return end(L, s, error);
}

/* Gives the socket a descriptor for an address, unless it has one. Never shuts one that is waited for. 0 or an errno. */
static int fit(FaceSocket *s, const struct addrinfo *a) {
  Dial *d = s->dial;
  if (s->spot.fd >= 0 && d->family == a->ai_family) return 0;
  spot_close(&s->spot);
  int fd = face_open_socket(a->ai_family, a->ai_socktype, a->ai_protocol);
  if (fd < 0) return -fd;
  s->spot.fd = fd;
  d->family = a->ai_family;
  return 0;
}

/* Another task has closed it meanwhile. */
static bool is_ended(const FaceSocket *s) { return s->dial->ends != s->ends; }

/* Binding */

static int bind_one(FaceSocket *s, const struct addrinfo *a) {
  int err = fit(s, a);
  if (err) return err;
  return bind(s->spot.fd, a->ai_addr, a->ai_addrlen) ? errno : 0;
}

static int bind_all(lua_State *L, FaceSocket *s) {
  Dial *d = s->dial;
  const char *error = is_ended(s) ? face_words(FACE_CLOSED) : face_gai_words(d->names->status);
  for (; !is_ended(s) && !d->names->status && d->at; d->at = d->at->ai_next) {
    int err = bind_one(s, d->at);
    error = face_words(err);
    if (err) continue;
    s->family = d->family;
    break;
  }
  return dialled(L, s, error);
}

/* Connecting */

static int connect_all(lua_State *L, FaceSocket *s, bool late);

/* The socket of a call that goes on. */
static FaceSocket *dialling(const Task *t) { return asy_container(t->on, FaceSocket, spot); }

static int connect_resumed(lua_State *L, Task *t) {
  FaceSocket *s = dialling(t);
  spot_left(&s->spot, t);
  return connect_all(L, s, t->code == SPOT_LATE);
}

static Abort connect_abort(lua_State *L, Task *t) {
  FaceSocket *s = dialling(t);
  (void)L;
  if (!spot_left(&s->spot, t)) return ASY_DETACHED;
  spot_close(&s->spot);
  dial_free(s);
  return ASY_DETACHED;
}

static void connect_giveback(lua_State *L, Task *t) { connect_abort(L, t); }

static const WaitKind CONNECT = {
    .name = "socket connect", .finish = connect_resumed, .abort = connect_abort, .giveback = connect_giveback};

/* What has become of an attempt under way; FACE_WANTS_WRITE: nothing yet. */
static int outcome(const FaceSocket *s) {
  struct pollfd p = {.fd = s->spot.fd, .events = POLLIN | POLLOUT};
  char none;
  if (s->spot.fd < 0) return FACE_CLOSED;
  if (poll(&p, 1, 0) <= 0) return FACE_WANTS_WRITE;
  if (!(p.revents & (POLLIN | POLLERR))) return FACE_DONE;
  return recv(s->spot.fd, &none, 0, 0) == 0 || errno == EAGAIN ? FACE_DONE : errno;
}

/* Begins an attempt, or looks how it goes. */
static int connect_one(FaceSocket *s, const Runtime *rt) {
  Dial *d = s->dial;
  if (d->begun) return outcome(s);
  d->begun = true;
  d->since = face_now(rt);
  int err = fit(s, d->at);
  if (err) return err;
  do err = connect(s->spot.fd, d->at->ai_addr, d->at->ai_addrlen) ? errno : 0;
  while (err == EINTR);
  return err == EINPROGRESS ? FACE_WANTS_WRITE : err;
}

/* A unix socket whose server's backlog is full says EAGAIN, and never that it can be written. */
static int connect_all(lua_State *L, FaceSocket *s, bool late) {
  Dial *d = s->dial;
  const char *error = is_ended(s) ? face_words(FACE_CLOSED) : d->names ? face_gai_words(d->names->status) : NULL;
  Patience p = {.late = late};
  while (!error && d->at) {
    int result = connect_one(s, ASY_RUNTIME(L));
    if (result == FACE_WANTS_WRITE) {
      FaceWait wait = asy_face_wait(L, s, SPOT_WRITE, d->since, &p);
      if (wait == FACE_PARKS) return asy_spot_park(L, p.task, &s->spot, SPOT_WRITE, p.deadline, &CONNECT, d->idx);
      if (wait == FACE_AGAIN) continue;
      result = FACE_TIMEOUT;
    }
    error = face_words(result);
    if (!error || s->block == 0) {
      s->family = d->family;
      break;
    }
    d->at = d->at->ai_next;
    d->begun = p.late = false;
    if (d->at) error = NULL;
  }
  return dialled(L, s, error);
}

/* Looking up. stack: ..., [idx] socket, host, port, ... */

/* The names are there. */
static int bind_found(lua_State *L, Task *t);
static int connect_found(lua_State *L, Task *t);

static const WaitKind LOOK_UP_TO_BIND = {.name = "name lookup", .finish = bind_found, .abort = asy_errand_abort,
                                         .giveback = asy_errand_giveback};
static const WaitKind LOOK_UP_TO_CONNECT = {.name = "name lookup", .finish = connect_found, .abort = asy_errand_abort,
                                            .giveback = asy_errand_giveback};

/* The dial is the socket's from now on. */
static FaceSocket *take_dial(lua_State *L, Names *n) {
  Dial *d = n->owner;
  FaceSocket *s = lua_touserdata(L, d->idx);
  if (spot_is_claimed(&s->spot, SPOT_WRITE)) names_free(n); /* by another task, while this one looked names up */
  asy_spot_claim(L, &s->spot, SPOT_WRITE);
  dial_free(s);
  d->at = n->list;
  d->family = s->family;
  s->dial = d;
  return s;
}

static int bind_found(lua_State *L, Task *t) {
  Errand *e = t->on;
  if (e->chore.no_thread) return asy_errand_finish(L, t); /* raises */
  return bind_all(L, take_dial(L, asy_container(e, Names, errand)));
}

static int connect_found(lua_State *L, Task *t) {
  Errand *e = t->on;
  if (e->chore.no_thread) return asy_errand_finish(L, t);
  return connect_all(L, take_dial(L, asy_container(e, Names, errand)), false);
}

static Names *new_names(lua_State *L, int idx, const char *host, int type, DialEnd *end) {
  const FaceSocket *s = lua_touserdata(L, idx);
  Names *n = asy_names_new(L, NAMES_ADDRESSES, host, lua_tostring(L, idx + 2));
  Dial *d = mem_calloc(1, sizeof *d);
  if (!d) {
    names_free(n);
    asy_nomemory(L);
  }
  *d = (Dial){.names = n, .idx = idx, .ends = s->ends, .end = end};
  n->owner = d;
  n->hints.ai_socktype = type;
  return n;
}

int asy_dial_bind(lua_State *L, FaceSocket *s, int idx, int type, int family, DialEnd *end) {
  const char *host = lua_tostring(L, idx + 1);
  Task *t;
  asy_spot_claim(L, &s->spot, SPOT_WRITE);
  Names *n = new_names(L, idx, strcmp(host, "*") ? host : NULL, type, end);
  n->hints.ai_family = family;
  n->hints.ai_flags = AI_PASSIVE;
  if (asy_names_ask(L, n, &t)) return bind_all(L, take_dial(L, n));
  lua_pushvalue(L, idx + 1);
  return asy_errand_run(L, t, &n->errand, CREW_LOOKUPS, &LOOK_UP_TO_BIND);
}

int asy_dial_connect(lua_State *L, FaceSocket *s, int idx, int type, DialEnd *end) {
  Task *t;
  asy_spot_claim(L, &s->spot, SPOT_WRITE);
  Names *n = new_names(L, idx, lua_tostring(L, idx + 1), type, end);
  n->hints.ai_family = s->family;
  if (asy_names_ask(L, n, &t)) return connect_all(L, take_dial(L, n), false);
  lua_pushvalue(L, idx + 1);
  return asy_errand_run(L, t, &n->errand, CREW_LOOKUPS, &LOOK_UP_TO_CONNECT);
}

int asy_dial_connect_to(lua_State *L, FaceSocket *s, const struct sockaddr *sa, socklen_t len, DialEnd *end) {
  asy_spot_claim(L, &s->spot, SPOT_WRITE);
  if (s->spot.fd < 0) return end(L, s, face_words(FACE_CLOSED));
  Dial *d = mem_calloc(1, sizeof *d);
  if (!d) asy_nomemory(L);
  *d = (Dial){.family = sa->sa_family, .idx = 1, .ends = s->ends, .end = end};
  memcpy(&d->sa, sa, len);
  d->one = (struct addrinfo){.ai_family = sa->sa_family, .ai_addr = (struct sockaddr *)&d->sa, .ai_addrlen = len};
  d->at = &d->one;
  dial_free(s);
  s->dial = d;
  return connect_all(L, s, false);
}
