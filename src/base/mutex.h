/*
** mutex.h - locks that are held for a few instructions.
*/
#ifndef ASY_MUTEX_H
#define ASY_MUTEX_H

#include "base/asy.h"

#include <pthread.h>

#include <uv.h>

/* As uv_mutex_init; where the C library has such locks, who waits for one spins a little before it sleeps: a
** sleep costs as much as several jobs. */
static inline int mutex_init(uv_mutex_t *mutex) {
#if defined(PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP)
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
  int status = pthread_mutex_init(mutex, &attr);
  pthread_mutexattr_destroy(&attr);
  return -status;
#else
  return uv_mutex_init(mutex);
#endif
}

#endif
