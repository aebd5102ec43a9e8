/*
** pump.c - threads that copy for descriptors that can't be polled.
*/
#include "os/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#if defined(__linux__)
#include <linux/sockios.h>
#endif

#include "base/alloc.h"
#include "base/detached.h"

#define PAUSE 100 /* ms between two looks at `hurry`, once our end is closed */

/* The thread */

/* Writes what goes without waiting. A pipe that can be written to takes so much; what is `whole` may wait. */
static ssize_t write_some(const Pump *p, const char *bytes, size_t n) {
  struct pollfd ready = {.fd = p->to, .events = POLLOUT};
  if (p->to_socket) return send(p->to, bytes, n, MSG_DONTWAIT);
  if (p->whole) return write(p->to, bytes, n);
  if (poll(&ready, 1, 0) > 0) return write(p->to, bytes, n < PIPE_BUF ? n : PIPE_BUF);
  errno = EAGAIN;
  return -1;
}

/* Until more can be written; false: that is not to be waited for. Our end is closed when it is told so. */
static bool wait_for_room(const Pump *p) {
  struct pollfd ready[] = {{.fd = p->to, .events = POLLOUT}, {.fd = p->from, .events = 0}};
  if (p->input || p->whole) {
    poll(ready, 1, -1);
    return true;
  }
  while (!atomic_load(&p->hurry)) {
    bool hung = ready[1].revents & (POLLERR | POLLHUP);
    int n = poll(ready, hung ? 1 : 2, hung ? PAUSE : -1);
    if (n < 0 || ready[0].revents) return true;
  }
  return false;
}

/* 0, or an errno; ECANCELED: some is left. */
static int write_all(Pump *p, const char *bytes, size_t n) {
  for (size_t done = 0; done < n;) {
    ssize_t wrote = write_some(p, bytes + done, n - done);
    if (wrote > 0) {
      done += (size_t)wrote;
      atomic_fetch_add(&p->written, (size_t)wrote);
    } else if (wrote < 0 && errno == EAGAIN) {
      if (!wait_for_room(p)) return ECANCELED;
    } else if (wrote < 0 && errno != EINTR)
      return errno;
  }
  return 0;
}

/* Until something can be read; false: it is input, and nobody will ever take it. */
static bool wait_for_input(const Pump *p) {
  struct pollfd ready[] = {{.fd = p->from, .events = POLLIN}, {.fd = p->to, .events = 0}};
  poll(ready, p->input ? 2 : 1, -1);
  return !p->input || !(ready[1].revents & (POLLERR | POLLHUP));
}

/* 0 at the end, or an errno. */
static int copy_all(Pump *p) {
  char bytes[16384];
  for (;;) {
    atomic_store(&p->idle, true);
    if (!wait_for_input(p)) return 0;
    atomic_store(&p->idle, false); /* before anything leaves the pipe */
    ssize_t n = read(p->from, bytes, sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0 && p->both && !p->input && errno == ECONNRESET) return 0; /* closed with something unread */
    if (n <= 0) return n < 0 ? errno : 0;
    int status = write_all(p, bytes, (size_t)n);
    if (status) return status;
  }
}

static void let_go(Pump *p) {
  if (atomic_fetch_sub(&p->refs, 1) == 1) mem_free(p);
}

static void *thread_main(void *arg) {
  Pump *p = arg;
  int status = copy_all(p);
  atomic_store(&p->error, status && !(p->input && status == EPIPE) ? uv_translate_sys_error(status) : 0);
  if (p->both && (p->input || (atomic_load(&p->ends) && status != ECANCELED))) shutdown(p->to, SHUT_WR);
  close(p->from); /* what reads our pipe finds the error there */
  close(p->to);
  atomic_store(&p->done, true);
  let_go(p);
  return NULL;
}

/* The loop's side */

void pump_hurry(Pump *p) { atomic_store(&p->hurry, true); }

void pump_unref(Pump *p) {
  if (--p->users) return;
  list_remove(&p->link);
  close(p->end);
  let_go(p);
}

Pump *pump_ref(Pump *p) {
  p->users++;
  return p;
}

int pump_end(const Pump *p) {
  int fd = fcntl(p->end, F_DUPFD_CLOEXEC, 3);
  return fd < 0 ? -errno : fd;
}

/* Bytes that the thread hasn't read. */
static int unread(const Pump *p) {
  int n = 0;
  if (!p->both) return ioctl(p->end, FIONREAD, &n) ? 0 : n;
#if defined(SIOCOUTQ)
  if (ioctl(p->end, SIOCOUTQ, &n)) return 0;
#elif defined(SO_NWRITE)
  socklen_t len = sizeof n;
  if (getsockopt(p->end, SOL_SOCKET, SO_NWRITE, &n, &len)) return 0;
#endif
  return n;
}

bool pump_busy(const Pump *p) {
  if (atomic_load(&p->done)) return false;
  if (unread(p) > 0) return true;
  return !atomic_load(&p->idle); /* asked last: what has left the pipe is being written */
}

size_t pump_written(const Pump *p) { return atomic_load(&p->written); }

int pump_error(const Pump *p) { return atomic_load(&p->error); }

void pump_end_wanted(Pump *p) { atomic_store(&p->ends, true); }

static bool is_socket(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* In a detached thread that blocks all signals; it closes both of its ends. `as`: what it is. */
static int start(Pump **pump, int from, int to, int end, Pump as) {
  Pump *p = mem_calloc(1, sizeof *p);
  if (!p) return UV_ENOMEM;
  p->from = from;
  p->to = to;
  p->end = end;
  p->input = as.input;
  p->both = as.both;
  p->whole = as.whole;
  p->to_socket = is_socket(to);
  p->users = 1;
  list_init(&p->link);
  atomic_store(&p->refs, 2);
  int status = detached_start(thread_main, p);
  if (status)
    mem_free(p);
  else
    *pump = p;
  return uv_translate_sys_error(status);
}

int pump_start(Pump **pump, int fd, bool input, bool patient) {
  int ends[2], status, copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return -errno;
  if (pipe(ends)) {
    status = -errno;
    close(copy);
    return status;
  }
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  status = input ? start(pump, copy, ends[1], ends[0], (Pump){.input = true, .whole = true})
                 : start(pump, ends[0], copy, ends[1], (Pump){.whole = patient});
  if (!status) return 0;
  close(copy);
  close(ends[0]);
  close(ends[1]);
  return status;
}

static void close_all(const int *fds, int n) {
  for (int i = 0; i < n; i++)
    if (fds[i] >= 0) close(fds[i]);
}

/* Of each its own copy: fd, fd, the threads' end, ours. 0, or a libuv status. */
static int copy_ends(int fd, const int ends[2], int copies[4]) {
  const int of[] = {fd, fd, ends[1], ends[0]};
  for (int i = 0; i < 4; i++) {
    if ((copies[i] = fcntl(of[i], F_DUPFD_CLOEXEC, 3)) >= 0) continue;
    int status = -errno;
    close_all(copies, i);
    return status;
  }
  return 0;
}

int pump_start_both(Pump **in, Pump **out, int fd) {
  int ends[2], copies[] = {-1, -1, -1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return -errno;
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  int status = copy_ends(fd, ends, copies);
  if (status) {
    close_all(ends, 2);
    return status;
  }
  status = start(in, copies[0], ends[1], ends[0], (Pump){.input = true, .both = true, .whole = true});
  if (status) {
    close_all(ends, 2);
    close_all(copies, 4);
    return status;
  }
  status = start(out, copies[2], copies[1], copies[3], (Pump){.both = true});
  if (status) close_all(copies + 1, 3); /* the other one's is closed with the stream */
  return status;
}
