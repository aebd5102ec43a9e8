/*
** endpoint.c - a datagram socket of a loop.
**
** It is read whether somebody receives or not, so that who comes late finds the newest dropped and counted, and errors
** are heard. A socket that gives one datagram at a time is read by the plain call; where that finds more again and
** again, by the one for several.
*/
#include "net/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/scoop.h"

#define LEAST_PAUSE 1000000 /* ns */
#define MOST_PAUSE 32000000
#define CALM 16          /* single datagrams in a row before two are asked for again */
#define CALM_OF_MANY 4   /* ... or as many as there may be */
#define MOST_BATCHES 4   /* in one go */
#define MOST_ROUNDS 8    /* errors of others that may stand in the way of one call */

static Endpoint *from_handle(const Handle *h) { return asy_container(h, Endpoint, handle); }

/* Watching */

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(Endpoint *e) {
  bool wait = !waitq_empty(&e->senders) && endpoint_has_line(e) && !e->retry.place;
  int events = UV_READABLE | (wait ? UV_WRITABLE : 0);
  if (!e->handle.open || events == e->polled) return;
  e->polled = events;
  uv_poll_start(&e->poll, events, on_poll);
}

/* Receiving */

void endpoint_wake_receivers(Endpoint *e) {
  while (!waitq_empty(&e->receivers) && endpoint_free(e) > 0) {
    e->handed++;
    waitq_hand(&e->receivers, waitq_first(&e->receivers), ENDPOINT_HANDED);
  }
}

/* For an error: the first may raise it. */
static void wake_one_to_look(Endpoint *e) {
  if (!waitq_empty(&e->receivers)) task_wake(waitq_first(&e->receivers), ENDPOINT_LOOK);
}

void endpoint_pass(Endpoint *e, int code) {
  if (code == ENDPOINT_HANDED) {
    e->handed--;
    endpoint_wake_receivers(e);
  } else
    wake_one_to_look(e);
}

static void store(Endpoint *e, int n) {
  Loop *loop = e->handle.loop;
  for (int i = 0; i < n; i++) {
    Scooped s = scoop_get(loop->scoop, i);
    loop->counts.bytes_in += s.n;
    if (s.cut)
      e->oversized++;
    else if (!packets_add(&e->queue, &loop->blocks, &s.from->any, s.salen, s.bytes, s.n))
      e->dropped++;
  }
}

/* How many to ask for next: twice as many when all came, and one when no more did. */
static void learn(Endpoint *e, int got) {
  if (e->batch > 1) {
    if (got == e->batch) e->batch = e->batch * 2 < SCOOP_MOST ? e->batch * 2 : SCOOP_MOST;
    if (got <= 1) e->batch = 1;
    e->calm = e->many ? CALM_OF_MANY : CALM;
  } else if (got && --e->calm <= 0)
    e->batch = e->many ? SCOOP_MOST : 2;
}

void endpoint_want_many(Endpoint *e) {
  if (e->many) return;
  e->many = true;
  e->batch = SCOOP_MOST;
}

static void note_error(Endpoint *e, const IcmpError *error) {
  if (!e->icmp_errors)
    e->status = error->status; /* several at a time are told as one */
  else if (e->nerrors < ENDPOINT_ERRORS && (e->errors || (e->errors = mem_calloc(ENDPOINT_ERRORS, sizeof *e->errors))))
    e->errors[e->nerrors++] = *error;
  else
    return;
  wake_one_to_look(e);
}

/* What came by ICMP, which Linux keeps one by one besides the status that a call has met (0: none has). `told` will be
** raised as it is. False: nothing was kept. */
static bool note_errors(Endpoint *e, int status, int told) {
  bool any = false;
  for (IcmpError error; e->family != AF_UNIX && datagram_take_icmp(e->fd, &error);) {
    if (!error.status) continue;
    any = true;
    if (error.status != told) note_error(e, &error);
  }
  if (!any && status && !e->icmp_errors) note_error(e, &(IcmpError){.status = status});
  return any;
}

/* Whether as many have come as were asked for, if that were many. A busy loop polls seldom: it always asks for many. */
static bool read_batch(Endpoint *e) {
  Loop *loop = e->handle.loop;
  int room = e->max_queue - e->queue.n, status, got, ask = loop_is_busy(loop) ? SCOOP_MOST : e->batch;
  if (room > 0) {
    if (ask > room) ask = room;
    got = scoop_take(&loop->scoop, e->fd, e->max_size, ask, &status);
    if (ask == e->batch) learn(e, got);
    store(e, got);
  } else {
    got = scoop_discard(e->fd, &status);
    e->dropped += (uint64_t)got;
  }
  loop->moved += got != 0;
  endpoint_wake_receivers(e);
  if (status && status != UV_EAGAIN) note_errors(e, status, 0);
  return got == SCOOP_MOST;
}

void endpoint_read(Endpoint *e) {
  for (int i = 0; e->handle.open && i < MOST_BATCHES; i++)
    if (!read_batch(e)) break;
}

void endpoint_gave(Endpoint *e, int n) {
  packets_drop(&e->queue, e->handle.loop ? &e->handle.loop->blocks : NULL, n);
  e->received += (uint64_t)n;
}

bool endpoint_take_error(Endpoint *e, IcmpError *error) {
  *error = (IcmpError){.status = e->status};
  e->status = 0;
  if (error->status) return true;
  if (!e->nerrors) return false;
  *error = e->errors[0];
  memmove(e->errors, e->errors + 1, (size_t)--e->nerrors * sizeof *e->errors);
  return true;
}

/* Sending */

static int failed(void) { return errno == EWOULDBLOCK ? UV_EAGAIN : -errno; }

/* Where the system has no memory for more, it says so (macOS), and no poll tells of the end of that. */
static bool is_full(int status) { return status == UV_EAGAIN || status == UV_ENOBUFS; }

/* What has been tried was no success. False: the error may be another datagram's, which the socket tells at the next
** call, whatever that is; so it is to be tried again. */
static bool is_own(Endpoint *e, int status, int round) {
  if (is_full(status)) return true;
  if (!e->icmp_errors) {
    note_errors(e, 0, status);
    return true;
  }
  bool another = note_errors(e, status, 0);
  return round == MOST_ROUNDS || (!another && round > 1);
}

static int settled(Endpoint *e, int status, int sent) {
  e->sent += (uint64_t)sent;
  e->handle.loop->moved += sent != 0;
  if (status == UV_ENOBUFS && !e->pause) e->pause = LEAST_PAUSE;
  return status == UV_ENOBUFS ? UV_EAGAIN : status;
}

int endpoint_send(Endpoint *e, const DatagramAddress *to, socklen_t salen, const char *bytes, size_t n) {
  int status = 0;
  for (int round = 1;; round++) {
    ssize_t sent;
    do sent = sendto(e->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL, salen ? &to->any : NULL, salen);
    while (sent < 0 && errno == EINTR);
    status = sent < 0 ? failed() : 0;
    if (!status || is_own(e, status, round)) break;
  }
  if (!status) e->handle.loop->counts.bytes_out += n;
  return settled(e, status, !status);
}

int endpoint_send_many(Endpoint *e, const Shot *shots, int n, int *status) {
  int sent;
  for (int round = 1;; round++) {
    sent = volley_send(e->fd, shots, n, &e->plain, status);
    if (sent || !*status || is_own(e, *status, round)) break;
  }
  for (int i = 0; i < sent; i++) e->handle.loop->counts.bytes_out += shots[i].n;
  *status = settled(e, *status, sent);
  return sent;
}

void endpoint_wake_sender(Endpoint *e) {
  if (!waitq_empty(&e->senders)) waitq_hand(&e->senders, waitq_first(&e->senders), 0);
}

/* Each may have a peer of its own that has no room; where there is a line, the first. */
static void on_retry(Timer *timer) {
  Endpoint *e = asy_container(timer, Endpoint, retry);
  e->pause = e->pause * 2 < MOST_PAUSE ? e->pause * 2 : MOST_PAUSE;
  do endpoint_wake_sender(e);
  while (!endpoint_has_line(e) && !waitq_empty(&e->senders));
}

bool endpoint_await_room(Endpoint *e) {
  Loop *loop = e->handle.loop;
  bool set = true;
  if (!e->handle.open || waitq_empty(&e->senders)) {
    e->pause = 0;
    if (loop) timer_cancel(&loop->timers, &e->retry);
  } else if ((!endpoint_has_line(e) || e->pause) && !e->retry.place) {
    if (!e->pause) e->pause = LEAST_PAUSE;
    set = timer_set(&loop->timers, &e->retry, loop_now(loop) + e->pause);
  }
  watch(e);
  return set;
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  Endpoint *e = asy_container(poll, Endpoint, poll);
  bool error = status < 0; /* libuv has stopped it: the socket has an error to tell */
  if (error) e->polled = 0;
  if (!e->handle.open) return;
  if (error || (events & UV_READABLE)) endpoint_read(e);
  if (error) note_errors(e, 0, 0); /* what is kept would wake it again and again */
  if ((error || (events & UV_WRITABLE)) && list_empty(&e->senders.handed)) endpoint_wake_sender(e);
  watch(e);
}

/* Its life */

static void wake_all(Endpoint *e) {
  waitq_wake_all(&e->receivers, ENDPOINT_LOOK);
  waitq_wake_all(&e->senders, 0);
  waiter_wake_all(&e->closers, 0);
}

void endpoint_close(Endpoint *e) {
  Loop *loop = e->handle.loop;
  if (!e->handle.open) return;
  timer_cancel(&loop->timers, &e->retry);
  e->kernel_dropped = datagram_kernel_drops(e->fd);
  handle_close(&e->handle);
  if (loop->copied) sockfile_forget(&e->file); else sockfile_remove(&e->file);
  close(e->fd);
  e->fd = -1;
  packets_cut(&e->queue, &loop->blocks, e->handed);
  e->status = e->nerrors = 0;
  if (!loop->copied) wake_all(e);
}

/* The loop closes: tasks that waited have been taken out of the lines. */
static void shut(Shutter *shutter) { endpoint_close(from_handle(asy_container(shutter, Handle, shutter))); }

static void destroy(Handle *h) {
  Endpoint *e = from_handle(h);
  packets_cut(&e->queue, NULL, 0);
  sockfile_forget(&e->file);
  mem_free(e->errors);
  mem_free(e->known);
  mem_free(e->site);
  mem_free(e);
}

static const char *tell(const Handle *h, char *text, size_t size) {
  const Endpoint *e = from_handle(h);
  snprintf(text, size, "a datagram endpoint%s%s", *e->name ? " at " : "", e->name);
  return e->site;
}

static void note_name(Endpoint *e) {
  DatagramAddress sa = {.any.sa_family = AF_UNSPEC};
  socklen_t n = sizeof sa;
  if (e->connected ? getpeername(e->fd, &sa.any, &n) : getsockname(e->fd, &sa.any, &n)) return;
  if (sa.any.sa_family != AF_UNSPEC) address_text(&sa.any, n, e->name);
}

Endpoint *endpoint_new(Loop *loop, int fd, int family, int *status) {
  Endpoint *e = mem_calloc(1, sizeof *e);
  DatagramAddress peer;
  socklen_t n = sizeof peer;
  *status = UV_ENOMEM;
  if (!e) return NULL;
  handle_init(&e->handle, loop, (uv_handle_t *)&e->poll, destroy, shut);
  e->handle.tell = tell;
  waitq_init(&e->receivers);
  waitq_init(&e->senders);
  list_init(&e->closers);
  e->retry.fire = on_retry;
  e->batch = 1;
  e->calm = CALM;
  *status = uv_poll_init(&loop->uv, &e->poll, fd);
  if (*status) {
    handle_unbox(&e->handle);
    return NULL;
  }
  e->fd = fd;
  e->family = family;
  e->plain = family == AF_UNIX;
  e->connected = getpeername(fd, &peer.any, &n) == 0;
  note_name(e);
  handle_opened(&e->handle);
  watch(e);
  return e;
}

void endpoints_each(Loop *loop, void (*visit)(Handle *h, void *arg), void *arg) { handles_each(loop, shut, visit, arg); }

void endpoints_forget(Loop *loop) {
  scoop_free(loop->scoop);
  loop->scoop = NULL;
}
