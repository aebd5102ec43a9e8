/*
** process.h - what we do to the whole process.
*/
#ifndef ASY_PROCESS_H
#define ASY_PROCESS_H

#include "base/asy.h"

#include <signal.h>

ASY_HIDDEN

/* Keeps SIGPIPE off our own writes: what libuv writes while `*process_writing()`, which is each thread's own, is 1. Any
** other write to a closed pipe, print's say, does what it would without us. */
void process_survive_sigpipe(void);
volatile sig_atomic_t *process_writing(void);

/* The thread that calls it hears SIGPIPE: strangers' code will write there. */
void process_hear_sigpipe(void);

/* Puts /dev/null where a standard descriptor is closed; which, by bit. */
unsigned process_plug_standard(void);

/* Keeps the shared object that has this address in memory for good: threads of ours may outlive the Lua state, which
** unloads it when it closes; C functions are the same in all states. False: it is in none that is known. */
bool process_pin(const void *address);

/* Asks glibc to keep what is free at the top of its heap. */
void process_keep_heap(void);

ASY_HIDDEN_END

#endif
