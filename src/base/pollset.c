/*
** pollset.c - watched descriptors: epoll, else kqueue.
*/
#include "base/pollset.h"

#include <errno.h>
#include <fcntl.h>

#define BATCH 64 /* events asked for in one system call */

#if defined(__linux__)

#include <sys/epoll.h>

int pollset_open(void) {
  int set = epoll_create1(EPOLL_CLOEXEC);
  return set < 0 ? -errno : set;
}

int pollset_arm(int set, int fd, uint32_t tag, int events, bool known) {
  struct epoll_event e = {
      .events = EPOLLONESHOT | (events & POLLSET_READ ? EPOLLIN : 0) | (events & POLLSET_WRITE ? EPOLLOUT : 0) |
                (events & POLLSET_END ? EPOLLRDHUP : 0),
      .data.u64 = (uint64_t)tag << 32 | (uint32_t)fd};
  if (epoll_ctl(set, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) == 0) return 0;
  if (known || errno != EEXIST) return -errno;
  return epoll_ctl(set, EPOLL_CTL_MOD, fd, &e) ? -errno : 0; /* an old one that couldn't be removed */
}

void pollset_remove(int set, int fd) {
  struct epoll_event e = {.events = 0};
  epoll_ctl(set, EPOLL_CTL_DEL, fd, &e);
}

static PollsetEvent translated(const struct epoll_event *e) {
  PollsetEvent to = {.fd = (int)(uint32_t)e->data.u64, .tag = (uint32_t)(e->data.u64 >> 32)};
  if (e->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) to.events |= POLLSET_READ;
  if (e->events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) to.events |= POLLSET_WRITE;
  if (e->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) to.events |= POLLSET_END;
  return to;
}

int pollset_take(int set, PollsetEvent *events, int n) {
  struct epoll_event raw[BATCH];
  int got = epoll_wait(set, raw, n < BATCH ? n : BATCH, 0);
  for (int i = 0; i < got; i++) events[i] = translated(&raw[i]);
  return got < 0 ? 0 : got;
}

#else

#include <sys/event.h>
#include <sys/time.h>
#include <sys/types.h>

int pollset_open(void) {
  int set = kqueue();
  if (set < 0) return -errno;
  fcntl(set, F_SETFD, FD_CLOEXEC);
  return set;
}

static int change(int set, int fd, int16_t filter, uint16_t flags, uint32_t tag) {
  struct kevent e;
  EV_SET(&e, fd, filter, flags, 0, 0, (void *)(uintptr_t)tag);
  return kevent(set, &e, 1, NULL, 0, NULL) ? -errno : 0;
}

int pollset_arm(int set, int fd, uint32_t tag, int events, bool known) {
  int status = 0;
  (void)known; /* the kernel forgets a closed one; adding is changing */
  if (events & POLLSET_END) return change(set, fd, EVFILT_READ, EV_ADD | EV_CLEAR, tag); /* of what comes, too */
  if (events & POLLSET_READ) status = change(set, fd, EVFILT_READ, EV_ADD | EV_ONESHOT, tag);
  else change(set, fd, EVFILT_READ, EV_DELETE, 0);
  if (status) return status;
  if (events & POLLSET_WRITE) return change(set, fd, EVFILT_WRITE, EV_ADD | EV_ONESHOT, tag);
  change(set, fd, EVFILT_WRITE, EV_DELETE, 0);
  return 0;
}

void pollset_remove(int set, int fd) {
  change(set, fd, EVFILT_READ, EV_DELETE, 0);
  change(set, fd, EVFILT_WRITE, EV_DELETE, 0);
}

int pollset_take(int set, PollsetEvent *events, int n) {
  struct kevent raw[BATCH];
  struct timespec now = {0, 0};
  int got = kevent(set, NULL, 0, raw, n < BATCH ? n : BATCH, &now);
  for (int i = 0; i < got; i++)
    events[i] = (PollsetEvent){.fd = (int)raw[i].ident, .tag = (uint32_t)(uintptr_t)raw[i].udata,
                               .events = (raw[i].filter == EVFILT_READ ? POLLSET_READ : POLLSET_WRITE) |
                                         ((raw[i].flags & EV_EOF) ? POLLSET_END : 0)};
  return got < 0 ? 0 : got;
}

#endif
