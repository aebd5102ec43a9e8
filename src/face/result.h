/*
** result.h - what one call on a descriptor has come to.
*/
#ifndef ASY_FACE_RESULT_H
#define ASY_FACE_RESULT_H

/* 0, an errno, or one of these. */
enum {
  FACE_DONE = 0,
  FACE_CLOSED = -1,
  FACE_TIMEOUT = -2,
  FACE_WANTS_READ = -3, /* it can go on when the descriptor can be read; written */
  FACE_WANTS_WRITE = -4,
  FACE_FAILED = -5 /* what stands between has failed, and has the words for it */
};

#endif
