/*
** fault.h - what is wrong with a peer's bytes.
*/
#ifndef ASY_HTTP_FAULT_H
#define ASY_HTTP_FAULT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct HttpFault {
  int status;       /* what a server answers; 0: nothing is wrong */
  const char *what; /* in words; static */
  uint64_t at;      /* which byte, or where the line or the head begins that has it */
  bool partial;     /* the peer has ended too early */
} HttpFault;

/* Notes it; false, for the caller to return. */
static inline bool http_wrong(HttpFault *fault, int status, const char *what, uint64_t at) {
  *fault = (HttpFault){.status = status, .what = what, .at = at};
  return false;
}

#endif
