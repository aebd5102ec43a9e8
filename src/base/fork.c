/*
** fork.c - telling a forked child's copies of our objects that they are copies.
**
** A child shares the parent's descriptors, and what the kernel keeps for those: to close a loop there in the ordinary
** way takes the parent's sockets out of the epoll that both have. Locks may be held by threads that it hasn't got.
*/
#include "base/fork.h"

#include <signal.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* held across a fork */
static ListNode watches = {&watches, &watches};

static sigset_t mask; /* the forking thread's, meanwhile */

/* No signal comes before the child has been told: libuv's handler would write it into a pipe that both have. */
static void before_fork(void) {
  sigset_t all;
  pthread_mutex_lock(&lock);
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &mask);
}

static void in_parent(void) {
  sigset_t former = mask;
  pthread_mutex_unlock(&lock);
  pthread_sigmask(SIG_SETMASK, &former, NULL);
}

static void in_child(void) {
  list_each(node, &watches) {
    ForkWatch *w = asy_container(node, ForkWatch, link);
    w->in_child(w, pthread_equal(w->thread, pthread_self()));
  }
  in_parent();
}

/* glibc forgets these with the shared object, should that be unloaded. */
static void begin(void) { pthread_atfork(before_fork, in_parent, in_child); }

void fork_watch(ForkWatch *w, void (*told)(ForkWatch *, bool ours)) {
  pthread_once(&once, begin);
  w->thread = pthread_self();
  w->in_child = told;
  list_init(&w->link);
  pthread_mutex_lock(&lock);
  list_append(&watches, &w->link);
  pthread_mutex_unlock(&lock);
}

void fork_unwatch(ForkWatch *w) {
  if (!w->in_child) return;
  pthread_mutex_lock(&lock);
  list_remove(&w->link);
  pthread_mutex_unlock(&lock);
}
