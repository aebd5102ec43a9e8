/*
** spawn.c - a program is started.
**
** vfork, since the cost of a fork grows with the heap, and since the child's calls then need no memory of their own. Not
** posix_spawn, which tells a missing directory from a missing program no more than uv_spawn does, and knows neither
** umask nor users. Where vfork is a fork (valgrind, sanitizers) the child has a copy of all this: so it tells of a
** failure through a pipe.
*/
#include "os/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "base/alloc.h"
#include "base/detached.h"

#if defined(__linux__) && defined(SYS_close_range)
#define HAS_CLOSE_RANGE
#define TO_EXEC 4U /* CLOSE_RANGE_CLOEXEC */
#endif
#if defined(__linux__) && defined(SYS_pidfd_open) && defined(SYS_pidfd_send_signal) && !defined(ASY_NO_PIDFD)
#define HAS_PIDFD
#if !defined(P_PIDFD)
#define P_PIDFD 3
#endif
#if !defined(CLONE_PIDFD)
#define CLONE_PIDFD 0x1000
#endif
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED /* one makes a fork of vfork, the other wants to know of all stacks */
#endif
#endif
#if !defined(SANITIZED) && !defined(__hppa__) /* whose stacks grow upwards */
#define HAS_CLONE
#define STACK_SIZE ((size_t)65536)
#endif
#endif

/* The child must not pass through libc's own idea of the process: in vfork's, whose memory is ours, its locks and
** tables are ours, too. */
#if defined(SYS_setgroups32)
#define SET_GROUPS SYS_setgroups32
#define SET_GID SYS_setgid32
#define SET_UID SYS_setuid32
#elif defined(__linux__)
#define SET_GROUPS SYS_setgroups
#define SET_GID SYS_setgid
#define SET_UID SYS_setuid
#endif

#if !defined(__linux__)
extern char **environ;
#endif

typedef struct Failure {
  int stage, error;
} Failure;

/* What the child has, and what is known of it. */
typedef struct Child {
  const SpawnOrder *order;
  SpawnFd *fds;          /* the order's, with room to be changed */
  int report;            /* where it tells of a failure */
  int pidfd;             /* -1: the kernel has given none with it */
  volatile bool entered; /* it has had our memory, so that it has come to its exec or its end */
} Child;

/* In the child */

#if defined(__GNUC__)
#define IN_CHILD __attribute__((noinline))
#else
#define IN_CHILD
#endif

static void fail(const Child *c, SpawnStage stage) ASY_NORETURN;

static void fail(const Child *c, SpawnStage stage) {
  Failure f = {(int)stage, errno};
  while (write(c->report, &f, sizeof f) < 0 && errno == EINTR) { }
  _exit(127);
}

static bool is_wanted(const SpawnOrder *o, int fd) {
  int low = 0, high = o->nfds;
  while (low < high) {
    int middle = (low + high) / 2;
    if (o->fds[middle].to == fd) return true;
    if (o->fds[middle].to < fd)
      low = middle + 1;
    else
      high = middle;
  }
  return false;
}

/* Out of the way: to the lowest number that is free and isn't wanted. Those that are wanted, and free, are held by copies
** of it meanwhile, which dup2 replaces, or exec closes. */
static int move_away(const SpawnOrder *o, int fd) {
  int copy;
  do copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  while (copy >= 0 && is_wanted(o, copy));
  return copy;
}

static void place_fds(Child *c) {
  const SpawnOrder *o = c->order;
  for (int i = 0; i < o->nfds; i++) /* before the numbers of some are others' copies */
    if (fcntl(c->fds[i].from, F_GETFD) < 0) fail(c, SPAWN_FDS);
  if (is_wanted(o, c->report)) {
    int report = move_away(o, c->report);
    if (report < 0) fail(c, SPAWN_FDS);
    c->report = report;
  }
  for (int i = 0; i < o->nfds; i++) {
    SpawnFd *f = &c->fds[i];
    if (f->from != f->to && is_wanted(o, f->from) && (f->from = move_away(o, f->from)) < 0) fail(c, SPAWN_FDS);
  }
  for (int i = 0; i < o->nfds; i++) {
    const SpawnFd *f = &c->fds[i];
    int done = f->from == f->to ? fcntl(f->to, F_SETFD, 0) : dup2(f->from, f->to);
    if (done < 0) fail(c, SPAWN_FDS);
  }
}

/* exec is to close it. */
static void close_later(const SpawnOrder *o, int fd) {
  if (!is_wanted(o, fd)) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* By the kernel, from one wanted number to the next. */
static bool close_ranges(const SpawnOrder *o) {
#if defined(HAS_CLOSE_RANGE)
  unsigned from = 0;
  for (int i = 0; i <= o->nfds; i++) {
    unsigned to = i < o->nfds ? (unsigned)o->fds[i].to : ~0U;
    if (from < to && syscall(SYS_close_range, from, i < o->nfds ? to - 1 : to, TO_EXEC)) return false;
    from = to + 1;
  }
  return true;
#else
  (void)o;
  return false;
#endif
}

#if defined(__linux__)
typedef struct Entry { /* struct linux_dirent64 */
  uint64_t ino, next;
  unsigned short length;
  unsigned char type;
  char name[];
} Entry;

/* By the list of what is open: without readdir, which allocates. */
static bool close_listed(const SpawnOrder *o) {
  _Alignas(Entry) char entries[2048];
  int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return false;
  for (long n; (n = syscall(SYS_getdents64, dir, entries, sizeof entries)) > 0;)
    for (long at = 0; at < n;) {
      const Entry *e = (const Entry *)(entries + at); // NOLINT(bugprone-casting-through-void)
      int fd = 0;
      for (const char *p = e->name; *p >= '0' && *p <= '9'; p++) fd = fd * 10 + (*p - '0');
      if (e->name[0] != '.') close_later(o, fd);
      at += e->length;
    }
  close(dir);
  return true;
}
#else
static bool close_listed(const SpawnOrder *o) {
  (void)o;
  return false;
}
#endif

/* One by one, as far as there can be any. */
static void close_each(const SpawnOrder *o) {
  struct rlimit limit;
  int most = getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > 1 << 20 ? 1 << 20 : (int)limit.rlim_cur;
  for (int fd = 0; fd < most; fd++) close_later(o, fd);
}

/* Whatever is still open belongs to somebody else: Lua opens its files without close-on-exec. */
static void close_others(const SpawnOrder *o) {
  if (!close_ranges(o) && !close_listed(o)) close_each(o);
}

static void change_user(const Child *c) {
  const SpawnOrder *o = c->order;
  if (o->uid < 0 && o->gid < 0) return;
#if defined(SET_GROUPS)
  if (syscall(SET_GROUPS, 0, NULL)) fail(c, SPAWN_GROUPS);
  if (o->gid >= 0 && syscall(SET_GID, (gid_t)o->gid)) fail(c, SPAWN_GID);
  if (o->uid >= 0 && syscall(SET_UID, (uid_t)o->uid)) fail(c, SPAWN_UID);
#else
  if (setgroups(0, NULL)) fail(c, SPAWN_GROUPS);
  if (o->gid >= 0 && setgid((gid_t)o->gid)) fail(c, SPAWN_GID);
  if (o->uid >= 0 && setuid((uid_t)o->uid)) fail(c, SPAWN_UID);
#endif
}

#define SIGNALS_SIZE (_NSIG / 8) /* of the kernel's set */

/* Ours must not be called there: first the handlers, then the mask. Those that are ignored exec would leave so. */
static void reset_signals(void) {
#if defined(__linux__)
  static const char none[256]; /* of whatever form the kernel's struct is: SIG_DFL, no flags, nothing blocked */
  for (int i = 1; i < _NSIG; i++) syscall(SYS_rt_sigaction, i, none, NULL, SIGNALS_SIZE);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, none, NULL, SIGNALS_SIZE);
#else
  struct sigaction dfl;
  sigset_t none;
  memset(&dfl, 0, sizeof dfl);
  dfl.sa_handler = SIG_DFL;
  for (int i = 1; i < NSIG; i++) sigaction(i, &dfl, NULL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
#endif
}

/* Tries one after the other. careful: notes what is there, but can't be run. */
static void try_each(const Child *c, bool careful, bool *denied, bool *unrunnable) {
  const SpawnOrder *o = c->order;
  char *const *envp = o->envp ? o->envp : environ;
  for (char *const *path = o->paths; *path; path++) {
    execve(*path, o->argv, envp);
    if (errno == EACCES)
      *denied = true;
    else if (errno != ENOENT && errno != ENOTDIR)
      fail(c, SPAWN_EXEC);
    else if (careful && errno == ENOENT && access(*path, F_OK) == 0)
      *unrunnable = true;
  }
}

/* As execvp looks, but that what nobody can run is no script of the shell's. Only when nothing was found it is asked why:
** a look at each place would cost as much as the tries. */
static void run(const Child *c) {
  bool denied = false, unrunnable = false;
  try_each(c, false, &denied, &unrunnable);
  try_each(c, true, &denied, &unrunnable);
  errno = unrunnable ? ENOENT : denied ? EACCES : c->order->paths[1] ? ENOENT : errno;
  fail(c, unrunnable ? SPAWN_INTERPRETER : SPAWN_EXEC);
}

static void child_main(Child *c) ASY_NORETURN;

static IN_CHILD void child_main(Child *c) {
  const SpawnOrder *o = c->order;
  place_fds(c);
  close_others(o);
  if (o->session && setsid() < 0) fail(c, SPAWN_SESSION);
  if (o->group >= 0 && setpgid(0, o->group)) fail(c, SPAWN_GROUP);
  if (o->cwd && chdir(o->cwd)) fail(c, SPAWN_CWD);
  if (o->umask >= 0) umask((mode_t)o->umask);
  change_user(c);
  reset_signals();
  run(c);
  _exit(127);
}

/* In the parent */

#if defined(__linux__)
typedef struct Mask {
  unsigned char bytes[SIGNALS_SIZE];
} Mask;

/* All, also those that libc keeps to itself. */
static void block_signals(Mask *old) {
  Mask all;
  memset(&all, 0xff, sizeof all);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, old, SIGNALS_SIZE);
}

static void unblock_signals(const Mask *old) { syscall(SYS_rt_sigprocmask, SIG_SETMASK, old, NULL, SIGNALS_SIZE); }
#else
typedef sigset_t Mask;

static void block_signals(Mask *old) {
  Mask all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, old);
}

static void unblock_signals(const Mask *old) { pthread_sigmask(SIG_SETMASK, old, NULL); }
#endif

#if defined(HAS_CLONE)
static int enter(void *arg) {
  Child *c = arg;
  c->entered = true;
  child_main(c);
}

/* As vfork does, but its pidfd comes with it: that one is its own, even if it has ended by now, and somebody has taken its
** status. Older kernels give none. */
static pid_t clone_child(Child *c) {
  char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return -ENOMEM;
  pid_t pid = clone(enter, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, c, &c->pidfd);
  if (pid < 0) pid = -errno;
  munmap(stack, STACK_SIZE);
  return pid;
}
#endif

static IN_CHILD pid_t vfork_child(Child *c) {
  pid_t pid = vfork(); // NOLINT(clang-analyzer-security.insecureAPI.vfork)
  if (pid == 0) {
    c->entered = true; // NOLINT(clang-analyzer-unix.Vfork): so the parent knows
    child_main(c);
  }
  return pid < 0 ? -errno : pid;
}

/* The pid, or a negative status. */
static pid_t start_child(Child *c) {
#if defined(HAS_CLONE)
  pid_t pid = clone_child(c);
  if (pid != -EINVAL && pid != -ENOSYS) return pid;
#endif
  return vfork_child(c);
}

/* Whether it has told of a failure. Where it may not have come so far it is waited for; else it is not: somebody who
** forks at this very moment holds the other end of the pipe for as long as he likes. */
static bool has_failed(int report, bool shared, Failure *f) {
  struct pollfd p = {.fd = report, .events = POLLIN};
  ssize_t n;
  if (!shared)
    while (poll(&p, 1, -1) < 0 && errno == EINTR) { }
  do n = read(report, f, sizeof *f);
  while (n < 0 && errno == EINTR);
  return n == sizeof *f;
}

static void take_status(pid_t pid) {
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) { }
}

int spawn_pipe(int ends[2], int flags) {
#if defined(__linux__)
  return pipe2(ends, flags | O_CLOEXEC) ? -errno : 0;
#else
  if (pipe(ends)) return -errno;
  for (int i = 0; i < 2; i++) {
    fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    if (flags) fcntl(ends[i], F_SETFL, flags);
  }
  return 0;
#endif
}

/* The pid of a child that runs the program, or a negative status. pidfd: its own, or -1. */
static pid_t start_program(const SpawnOrder *order, SpawnFd *fds, SpawnStage *stage, int *pidfd) {
  int ends[2], status = spawn_pipe(ends, O_NONBLOCK);
  if (status) {
    *stage = SPAWN_PIPE;
    return status;
  }
  Child child = {order, fds, ends[1], -1, false};
  Failure failure;
  Mask old;
  block_signals(&old);
  pid_t pid = start_child(&child);
  unblock_signals(&old);
  close(ends[1]);
  if (pid > 0 && has_failed(ends[0], child.entered, &failure)) {
    take_status(pid);
    if (child.pidfd >= 0) close(child.pidfd);
    child.pidfd = -1;
    *stage = (SpawnStage)failure.stage;
    pid = -failure.error;
  } else if (pid == -EMFILE || pid == -ENFILE)
    *stage = SPAWN_WATCH;
  close(ends[0]);
  *pidfd = child.pidfd;
  return pid;
}

static int watch(pid_t pid, int fd, bool *pidfd);

int spawn(const SpawnOrder *order, Spawned *spawned) {
  spawned->stage = SPAWN_FORK;
  SpawnFd *fds = mem_alloc((size_t)order->nfds * sizeof *fds);
  if (!fds) return -ENOMEM;
  memcpy(fds, order->fds, (size_t)order->nfds * sizeof *fds);
  int pidfd = -1;
  pid_t pid = start_program(order, fds, &spawned->stage, &pidfd);
  mem_free(fds);
  if (pid < 0) return pid;
  spawned->pid = pid;
  spawned->fd = watch(pid, pidfd, &spawned->pidfd);
  if (spawned->fd >= 0) return 0;
  kill(pid, SIGKILL);
  take_status(pid);
  spawned->stage = SPAWN_WATCH;
  return spawned->fd;
}

/* Its end */

typedef struct Wait {
  pid_t pid;
  int end; /* of the pipe whose other end is to be readable then; -1: its status is to be taken */
} Wait;

/* A thread. The status stays, for who has the other end; that nobody can have it any more is the end, too. It is told by
** a byte: somebody who has forked may have a copy of this end. */
static void *wait_main(void *arg) {
  Wait *w = arg;
  siginfo_t info;
  int options = WEXITED | (w->end >= 0 ? WNOWAIT : 0);
  while (waitid(P_PID, (id_t)w->pid, &info, options) < 0 && errno == EINTR) { }
  if (w->end >= 0) {
    ssize_t ignored = write(w->end, "", 1);
    (void)ignored;
    close(w->end);
  }
  mem_free(w);
  return NULL;
}

static int start_wait(pid_t pid, int end) {
  Wait *w = mem_alloc(sizeof *w);
  if (!w) return -ENOMEM;
  *w = (Wait){pid, end};
  int status = detached_start(wait_main, w);
  if (status) mem_free(w);
  return -status;
}

/* The end of a pipe that a thread closes. */
static int watch_by_thread(pid_t pid) {
  int ends[2], status = spawn_pipe(ends, 0);
  if (status) return status;
  status = start_wait(pid, ends[1]);
  if (!status) return ends[0];
  close(ends[0]);
  close(ends[1]);
  return status;
}

#if defined(HAS_PIDFD)
/* Whether it can be waited for, and sent signals, by it. came: with the child, so that it can be nobody else's. */
static bool is_usable(int fd, bool came) {
  siginfo_t info;
  bool waits = waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || (came && errno == ECHILD);
  return waits && (syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0 || errno != ENOSYS);
}
#endif

/* fd: a pidfd that came with it, or -1. */
static int watch(pid_t pid, int fd, bool *pidfd) {
#if defined(HAS_PIDFD)
  bool came = fd >= 0;
  if (!came) fd = (int)syscall(SYS_pidfd_open, pid, 0);
  *pidfd = fd >= 0 && is_usable(fd, came);
  if (*pidfd) return fd;
  if (fd >= 0) close(fd); /* the kernel knows too little; or the status had been taken, and the pid is another's now */
#else
  (void)fd;
#endif
  *pidfd = false;
  return watch_by_thread(pid);
}

void spawn_leave(pid_t pid) { start_wait(pid, -1); }
