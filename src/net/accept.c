/*
** accept.c - a server takes its clients from the kernel.
*/
#include "net/accept.h"

#include <errno.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/context.h"
#include "core/error.h"
#include "core/report.h"

#define RETRY_NS (NS_PER_S / 10) /* after running out of descriptors */

static void on_poll(uv_poll_t *poll, int status, int events);

static Listener *listener_of(ListNode *node) { return asy_container(node, Listener, link); }

const Listener *server_listener(const Server *sv, int n) {
  list_each(node, &sv->listeners)
    if (n-- == 0) return listener_of(node);
  return NULL;
}

void accept_start(Server *sv) {
  if (!sv->serving || sv->full) return;
  list_each(node, &sv->listeners) uv_poll_start(&listener_of(node)->poll, UV_READABLE, on_poll);
}

static void listen_stop(Server *sv) {
  list_each(node, &sv->listeners) uv_poll_stop(&listener_of(node)->poll);
}

static void starve(Server *sv) {
  if (sv->retry.place || timer_set(&sv->loop->timers, &sv->retry, loop_now(sv->loop) + RETRY_NS))
    listen_stop(sv); /* without a timer it tries again at once */
}

/* Takes one; false, with errno, when there is none. */
static bool accept_one(const Listener *l, Accepted *a) {
  while (!listener_accept(l, a))
    if (errno != EINTR && errno != ECONNABORTED) return false;
  return true;
}

static bool out_of_descriptors(void) {
  return errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  const Listener *l = asy_container(poll, Listener, poll);
  Server *sv = l->server;
  (void)status;
  (void)events;
  while (sv->naccepted < SERVER_ACCEPTS && server_has_room(sv)) {
    if (accept_one(l, &sv->accepted[sv->naccepted])) {
      sv->naccepted++;
      continue;
    }
    if (out_of_descriptors()) starve(sv);
    break;
  }
  if (!server_has_room(sv)) {
    sv->full = true;
    listen_stop(sv);
  }
  if (sv->naccepted || sv->retry.place) server_wake(sv);
}

static void on_retry(Timer *timer) { accept_start(asy_container(timer, Server, retry)); }

void accept_init(Server *sv) {
  sv->retry.fire = on_retry;
  list_init(&sv->listeners);
}

/* Serving */

/* Descriptors ran out: says so, once. stack: ..., server, context */
static void report_starved(lua_State *L, Server *sv) {
  if (!sv->retry.place) sv->starved = false;
  if (!sv->retry.place || sv->starved) return;
  sv->starved = true;
  asy_oserror_push(L, UV_EMFILE, "accept", NULL);
  asy_report(L, sv->loop, (Report){.message = "out of file descriptors: accepting pauses", .exception = -1});
  lua_pop(L, 1);
}

/* The next one, if there is room. */
static bool next_accepted(Server *sv, Accepted *a) {
  if (sv->nserved < sv->naccepted)
    *a = sv->accepted[sv->nserved++];
  else if (sv->nlate_served < sv->nlate && sv->nclients < sv->max_clients)
    *a = sv->late[sv->nlate_served++];
  else
    return false;
  return true;
}

static void free_late(Server *sv) {
  mem_free(sv->late);
  sv->late = NULL;
  sv->nlate = sv->nlate_served = sv->late_room = 0;
}

void asy_accept_serve(lua_State *L, Server *sv) {
  int server = lua_gettop(L);
  Accepted a;
  lua_getiuservalue(L, server, SERVER_UV_CONTEXT);
  asy_context_swap(L, sv->loop->rt);
  report_starved(L, sv);
  while (next_accepted(sv, &a)) {
    lua_pushvalue(L, server);
    asy_handler_start(L, sv, &a);
    lua_settop(L, server + 1);
  }
  lua_pushvalue(L, server);
  asy_handler_start_shaken(L, sv);
  lua_settop(L, server + 1);
  sv->naccepted = sv->nserved = 0;
  if (sv->nlate_served == sv->nlate) free_late(sv);
  asy_context_swap(L, sv->loop->rt); /* the former one stands above the server */
  lua_settop(L, server);
  if (!sv->full || !server_has_room(sv)) return;
  sv->full = false;
  if (!sv->retry.place) accept_start(sv);
}

/* Ending */

/* Room for one more among the late; NULL when there is no memory. */
static Accepted *late_room(Server *sv) {
  if (sv->nlate == sv->late_room) {
    int room = sv->late_room ? 2 * sv->late_room : SERVER_ACCEPTS;
    Accepted *late = mem_realloc(sv->late, (size_t)room * sizeof *late);
    if (!late) return NULL;
    sv->late = late;
    sv->late_room = room;
  }
  return &sv->late[sv->nlate];
}

void accept_rest(Server *sv) {
  Accepted *a;
  list_each(node, &sv->listeners) {
    int most = sv->options.backlog; /* so many, and one, may wait; else who comes all the time would have no end */
    while (most-- >= 0 && (a = late_room(sv)) && accept_one(listener_of(node), a)) sv->nlate++;
  }
  if (!sv->nlate) free_late(sv);
}

void accept_close(Server *sv) {
  sv->serving = false;
  sv->closed = true;
  if (sv->loop) timer_cancel(&sv->loop->timers, &sv->retry);
  while (!list_empty(&sv->listeners)) listener_close(listener_of(sv->listeners.next));
}

void accept_refuse(Server *sv) {
  while (sv->nserved < sv->naccepted) close(sv->accepted[sv->nserved++].fd);
  while (sv->nlate_served < sv->nlate) close(sv->late[sv->nlate_served++].fd);
  free_late(sv);
}
