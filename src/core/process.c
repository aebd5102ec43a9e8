/*
** process.c - what we do to the whole process: shared objects that stay, the heap, SIGPIPE, standard descriptors
** that are closed.
*/
#include "core/process.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/alloc.h"

/* See process_writing. In the threads' static part: else its first use, which may be in a signal handler, would
** allocate, and LeakSanitizer loses its way in what libraries that are loaded later have. */
#if defined(__GNUC__) && defined(__linux__)
__attribute__((tls_model("initial-exec")))
#endif
static _Thread_local volatile sig_atomic_t writing;

volatile sig_atomic_t *process_writing(void) { return &writing; }

/* Whether a write of this thread's has raised it, and nobody's kill. */
static bool is_of_a_write(const siginfo_t *info) {
#if defined(__linux__)
  return info->si_pid == getpid();
#else
  (void)info;
  return true;
#endif
}

/* The kernel gives it to the thread that writes. */
static void on_sigpipe(int signum, siginfo_t *info, void *context) {
  (void)context;
  if (writing && is_of_a_write(info)) return;
  signal(signum, SIG_DFL);
  raise(signum); /* blocked in here: it ends the process when this returns */
}

/* libuv writes without MSG_NOSIGNAL: a dead peer would end the process. A handler turns that into EPIPE, and does by
** itself what was done before when the write was somebody else's. Unlike SIG_IGN it is not inherited by programs that
** are started. */
void process_survive_sigpipe(void) {
  struct sigaction sa = {.sa_sigaction = on_sigpipe, .sa_flags = SA_RESTART | SA_SIGINFO}, old;
  if (sigaction(SIGPIPE, NULL, &old) || (old.sa_flags & SA_SIGINFO) || old.sa_handler != SIG_DFL) return;
  sigemptyset(&sa.sa_mask);
  sigaction(SIGPIPE, &sa, NULL);
}

void process_hear_sigpipe(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* A standard descriptor that is closed would become our next socket's, and `print` would write there. */
unsigned process_plug_standard(void) {
  unsigned plugged = 0;
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    int got = open("/dev/null", O_RDWR);
    if (got == fd)
      plugged |= 1u << fd;
    else if (got >= 0)
      close(got);
  }
  return plugged;
}

bool process_pin(const void *address) {
#if defined(RTLD_NODELETE)
  Dl_info info;
  if (!dladdr(address, &info) || !info.dli_fname) return false;
  dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE | RTLD_NOLOAD); /* fails for the program itself */
#endif
  return true;
}

/* glibc returns the top of its heap to the system whenever 128 KiB there are free, and fetches it again page
** by page: Lua frees far more than that in each of its cycles, and a server with messages of 16 KiB spent most
** of its time so. glibc keeps twice the size of the largest mapped block that was ever freed (mallopt(3)). */
void process_keep_heap(void) {
#if defined(__GLIBC__)
  void *volatile block = mem_alloc((size_t)1 << 20);
  mem_free(block);
#endif
}
