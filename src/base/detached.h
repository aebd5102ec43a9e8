/*
** detached.h - threads of ours: detached, since they may be left behind, and deaf to all signals.
*/
#ifndef ASY_DETACHED_H
#define ASY_DETACHED_H

#include "base/asy.h"

#include <pthread.h>
#include <signal.h>

/* Starts one; 0, or an errno: then nothing runs. */
static inline int detached_start(void *(*run)(void *), void *arg) {
  sigset_t all, old;
  pthread_attr_t attr;
  pthread_t thread;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &old);
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  int status = pthread_create(&thread, &attr, run, arg);
  pthread_attr_destroy(&attr);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return status;
}

#endif
