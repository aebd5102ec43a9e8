/*
** failure.h - why something has failed in OpenSSL: a sentence for people, and the names that Python's SSLError has.
*/
#ifndef ASY_TLS_FAILURE_H
#define ASY_TLS_FAILURE_H

#include "base/asy.h"

ASY_HIDDEN

typedef enum FailureKind { FAILURE_NO_MEMORY, FAILURE_ERROR, FAILURE_UNVERIFIED, FAILURE_TRUNCATED } FailureKind;

typedef struct Failure {
  FailureKind kind;
  long verify_code;           /* FAILURE_UNVERIFIED: OpenSSL's number ... */
  const char *verify_message; /* ... and its words */
  char library[16], reason[64];
  char text[480];
} Failure;

/* To be called before what may fail in OpenSSL. */
void failure_begin(void);

/* What stands in OpenSSL's queue of errors, which is empty afterwards. Gives OpenSSL's code; 0: none. */
unsigned long failure_read(Failure *failure);

/* A failure of our own, by a name of OpenSSL's where that has one. */
void failure_set(Failure *failure, FailureKind kind, const char *library, const char *reason, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* The one at *at, which is made where there is none; NULL: no memory. mem_free takes it. */
Failure *failure_at(Failure **at);

/* Replaces the sentence. */
void failure_say(Failure *failure, const char *format, ...) __attribute__((format(printf, 2, 3)));

ASY_HIDDEN_END

#endif
