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

static void tell(Child *c, ChildState state) {
  if (c->killed) c->handle.loop->jobs--;
  c->state = state;
  if (state == CHILD_ENDED) { /* open still, so that the loop's end reaps it; but nobody waits for that */
    uv_poll_stop(&c->poll);
    uv_unref((uv_handle_t *)&c->poll);
  } else
    close_handle(c);
  waiter_wake_all(&c->line, 0);
}

void child_look(Child *c) {
  siginfo_t info = {.si_pid = 0};
  if (c->state != CHILD_RUNS) return;
  int options = WEXITED | WNOHANG | (c->leads ? WNOWAIT : 0), status;
  do status = waitid(P_PID, (id_t)c->pid, &info, options);
  while (status < 0 && errno == EINTR);
  if (status < 0)
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
  c->leads = false;
  if (c->state != CHILD_ENDED) return;
  while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR) { }
  c->state = CHILD_REAPED;
  close_handle(c);
}

void child_drop(Child *c) {
  c->dropped = true;
  child_release(c);
  handle_unbox(&c->handle);
}

/* Signals */

static int signal_one(const Child *c, int signum) {
#if defined(__linux__) && defined(SYS_pidfd_send_signal)
  if (c->pidfd) return (int)syscall(SYS_pidfd_send_signal, c->fd, signum, NULL, 0);
#endif
  return kill(c->pid, signum);
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
  if (c->state == CHILD_REAPED || c->state == CHILD_LOST) return UV_ESRCH;
  if (c->state == CHILD_LEFT && !c->pidfd) return UV_ESRCH; /* a thread may be reaping it */
  bool group = c->leads && c->state != CHILD_LEFT;
  if (group ? kill(-c->pid, signum) : signal_one(c, signum)) return -errno;
  if (signum == SIGKILL) count_killed(c);
  return 0;
}

/* Company */

#if defined(__linux__)
/* Its state is the letter behind the name, which may hold anything but ends with the last ")". */
static bool is_alive(pid_t pid) {
  char path[40], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return false;
  text[n] = 0;
  const char *end = strrchr(text, ')');
  return end && end[1] == ' ' && end[2] != 'Z' && end[2] != 'X';
}

bool child_has_company(const Child *c) {
  if (!c->leads || c->state != CHILD_ENDED) return false;
  DIR *dir = opendir("/proc");
  if (!dir) return false;
  bool found = false;
  for (const struct dirent *e; !found && (e = readdir(dir));) {
    if (e->d_name[0] < '0' || e->d_name[0] > '9') continue;
    pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
    found = pid != c->pid && getpgid(pid) == c->pid && is_alive(pid);
  }
  closedir(dir);
  return found;
}
#else
bool child_has_company(const Child *c) {
  (void)c;
  return false;
}
#endif
