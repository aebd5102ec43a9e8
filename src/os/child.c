/*
** child.c - a child of this process.
*/
#include "os/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/wait.h>
#if defined(__linux__)
#include <sys/syscall.h>
#if !defined(P_PIDFD)
#define P_PIDFD 3
#endif
#endif

#include "base/alloc.h"

static Child *from_handle(const Handle *h) { return asy_container(h, Child, handle); }

/* Its end */

/* A virtual clock waits for what has been killed, and for nothing else of a process's. */
static void count_killed(Child *c) {
  if (c->killed || c->state != CHILD_RUNS) return;
  c->killed = true;
  c->handle.loop->jobs++;
}

/* It is of no more use: not left to the collector, which knows nothing of descriptors. */
static void close_fd(Child *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
  c->pidfd = false;
}

/* Nothing more comes. */
static void close_handle(Child *c) {
  handle_close(&c->handle);
  close_fd(c);
}

/* One whose group's number is still of use keeps what holds on to that. */
static bool holds_group(const Child *c) {
  return c->state == CHILD_ENDED || (c->state == CHILD_LOST && c->leads && c->pidfd);
}

static void tell(Child *c, ChildState state) {
  if (c->killed) c->handle.loop->jobs--;
  c->state = state;
  if (holds_group(c)) { /* open still, so that the loop's end reaps it; but nobody waits for that */
    uv_poll_stop(&c->poll);
    uv_unref((uv_handle_t *)&c->poll);
  } else
    close_handle(c);
  waiter_wake_all(&c->line, 0);
}

/* By the pidfd, where there is one: a host that waits for whatever child ends makes the pid free for another. */
static int ask_kernel(const Child *c, siginfo_t *info, int options) {
  int status;
#if defined(__linux__)
  idtype_t type = c->pidfd ? (idtype_t)P_PIDFD : P_PID;
#else
  idtype_t type = P_PID;
#endif
  do status = waitid(type, (id_t)(c->pidfd ? c->fd : c->pid), info, options | WEXITED | WNOHANG);
  while (status < 0 && errno == EINTR);
  return status;
}

void child_look(Child *c) {
  siginfo_t info = {.si_pid = 0};
  if (c->state != CHILD_RUNS) return;
  if (ask_kernel(c, &info, c->leads ? WNOWAIT : 0) < 0)
    tell(c, CHILD_LOST); /* ECHILD: somebody waits for whatever child ends; or SIGCHLD is ignored */
  else if (info.si_pid == c->pid) {
    c->code = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    tell(c, c->leads ? CHILD_ENDED : CHILD_REAPED);
  }
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  Child *c = asy_container(poll, Child, poll);
  (void)status;
  (void)events;
  child_look(c);
}

void child_release(Child *c) {
  siginfo_t info;
  bool held = holds_group(c);
  c->leads = false;
  if (!held) return;
  if (c->state == CHILD_ENDED) {
    ask_kernel(c, &info, 0);
    c->state = CHILD_REAPED;
  }
  close_handle(c);
}

/* Where no Lua could end it any more: a second Ctrl-C came meanwhile, or there was no memory. */
static void kill_if_ending(Child *c) {
  if (c->ending && c->handle.loop && !c->handle.loop->copied) child_signal(c, SIGKILL);
}

void child_drop(Child *c) {
  kill_if_ending(c);
  c->dropped = true;
  child_release(c);
  handle_unbox(&c->handle);
}

/* Signals */

#if defined(__linux__) && defined(SYS_pidfd_send_signal)
#define TO_GROUP 4U /* PIDFD_SIGNAL_PROCESS_GROUP */

static int signal_by_pidfd(const Child *c, int signum, unsigned flags) {
  return syscall(SYS_pidfd_send_signal, c->fd, signum, NULL, flags) ? -errno : 0;
}
#else
#define TO_GROUP 0U

static int signal_by_pidfd(const Child *c, int signum, unsigned flags) {
  (void)flags;
  return kill(c->pid, signum) ? -errno : 0;
}
#endif

static int signal_one(const Child *c, int signum) {
  if (c->pidfd) return signal_by_pidfd(c, signum, 0);
  return kill(c->pid, signum) ? -errno : 0;
}

/* The pidfd means the group, whoever has the number by now; where the kernel can't do that (before Linux 6.9) the
** number is good as long as the leader is there, if only as a zombie. */
static int signal_members(const Child *c, int signum) {
  siginfo_t info;
  int status = c->pidfd ? signal_by_pidfd(c, signum, TO_GROUP) : UV_EINVAL;
  if (status != UV_EINVAL) return status;
  if (c->state == CHILD_LOST || ask_kernel(c, &info, WNOWAIT)) return UV_ESRCH;
  return kill(-c->pid, signum) ? -errno : 0;
}

/* Its leader may have left it. */
static int signal_group(const Child *c, int signum) {
  int status = signal_members(c, signum);
  if (c->state != CHILD_RUNS || getpgid(c->pid) == c->pid) return status;
  int own = signal_one(c, signum);
  return status == UV_ESRCH ? own : status;
}

/* Its record */

static void destroy(Handle *h) {
  Child *c = from_handle(h);
  close_fd(c);
  mem_free(c->site);
  mem_free(c);
}

/* The loop closes: those who wait have been taken out of the line. A forked child has no children of its parent's. */
static void shut(Shutter *shutter) {
  Child *c = from_handle(asy_container(shutter, Handle, shutter));
  if (!c->handle.loop->copied) {
    kill_if_ending(c);
    child_look(c);
    if (c->state == CHILD_RUNS)
      spawn_leave(c->pid);
    else
      child_release(c);
  }
  if (c->state == CHILD_RUNS) c->state = CHILD_LEFT;
  handle_close(&c->handle);
}

static const char *tell_of(const Handle *h, char *text, size_t size) {
  const Child *c = from_handle(h);
  snprintf(text, size, "process %d (%s)", (int)c->pid, c->name);
  return c->site;
}

Child *child_new(Loop *loop, const char *name) {
  size_t n = strlen(name) + 1;
  Child *c = mem_calloc(1, sizeof *c + n);
  if (!c) return NULL;
  handle_init(&c->handle, loop, (uv_handle_t *)&c->poll, destroy, shut);
  c->handle.tell = tell_of;
  c->fd = -1;
  list_init(&c->line);
  memcpy(c->name, name, n);
  return c;
}

int child_start(Child *c, const SpawnOrder *order, SpawnStage *stage) {
  Spawned s;
  int status = spawn(order, &s);
  *stage = s.stage;
  if (status) return status;
  c->pid = s.pid;
  c->fd = s.fd;
  c->pidfd = s.pidfd;
  c->leads = order->session || order->group == 0;
  status = uv_poll_init(&c->handle.loop->uv, &c->poll, c->fd);
  if (!status) {
    handle_opened(&c->handle);
    status = uv_poll_start(&c->poll, UV_READABLE, on_poll);
  }
  if (!status) return 0;
  *stage = SPAWN_WATCH;
  signal_one(c, SIGKILL);
  c->state = CHILD_ENDED;
  handle_close(&c->handle);
  child_release(c);
  return status;
}

void children_each(Loop *loop, void (*visit)(Handle *h, void *arg), void *arg) { handles_each(loop, shut, visit, arg); }

int child_signal(Child *c, int signum) {
  child_look(c);
  if (c->state == CHILD_REAPED || (c->state == CHILD_LOST && !holds_group(c))) return UV_ESRCH;
  if (c->state == CHILD_LEFT && !c->pidfd) return UV_ESRCH; /* a thread may be reaping it */
  int status = c->leads && c->state != CHILD_LEFT ? signal_group(c, signum) : signal_one(c, signum);
  if (!status && signum == SIGKILL) count_killed(c);
  return status;
}

/* Company */

#if defined(__linux__)
/* Its state is the letter behind the name, which may hold anything but ends with the last ")". */
static Company look_at(pid_t pid) {
  char path[40], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT || errno == ESRCH ? COMPANY_NONE : COMPANY_UNKNOWN;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return COMPANY_NONE;
  text[n] = 0;
  const char *end = strrchr(text, ')');
  return end && end[1] == ' ' && end[2] != 'Z' && end[2] != 'X' ? COMPANY_LIVES : COMPANY_NONE;
}

static Company look_through(const Child *c) {
  DIR *dir = opendir("/proc");
  if (!dir) return COMPANY_UNKNOWN;
  Company company = COMPANY_NONE;
  bool any = false; /* /proc may be an empty folder */
  for (const struct dirent *e; company == COMPANY_NONE && (e = readdir(dir));) {
    if (e->d_name[0] < '0' || e->d_name[0] > '9') continue;
    any = true;
    pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
    if (pid != c->pid && getpgid(pid) == c->pid) company = look_at(pid);
  }
  closedir(dir);
  return any ? company : COMPANY_UNKNOWN;
}

/* Without descriptors, or without /proc: once the leader is reaped its group is there as long as others are in it. */
static Company ask_group(const Child *c) {
  siginfo_t info;
  if (!c->pidfd || signal_by_pidfd(c, 0, TO_GROUP) == UV_EINVAL) return COMPANY_UNKNOWN;
  ask_kernel(c, &info, 0);
  return signal_by_pidfd(c, 0, TO_GROUP) == UV_ESRCH ? COMPANY_NONE : COMPANY_LIVES;
}

Company child_company(const Child *c) {
  if (!c->leads || (c->state != CHILD_ENDED && c->state != CHILD_LOST)) return COMPANY_NONE;
  Company company = look_through(c);
  return company == COMPANY_UNKNOWN ? ask_group(c) : company;
}
#else
/* There a leader that is only a zombie can't be signalled. */
Company child_company(const Child *c) {
  return c->leads && c->state == CHILD_ENDED && kill(-c->pid, 0) == 0 ? COMPANY_LIVES : COMPANY_NONE;
}
#endif
