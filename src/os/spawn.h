/*
** spawn.h - a program is started: the mechanism, without Lua and without a loop.
**
** The child is a vfork, of sorts, of the calling thread that makes system calls only, all of which was prepared before. What it
** inherits is what the order says: its descriptors, no other; default signals, none blocked.
*/
#ifndef ASY_SPAWN_H
#define ASY_SPAWN_H

#include "base/asy.h"

#include <sys/types.h>

ASY_HIDDEN

/* A descriptor of ours and its number there. */
typedef struct SpawnFd {
  int from, to;
} SpawnFd;

typedef struct SpawnOrder {
  char *const *paths; /* of the program, the first that can be had; after `cwd`, where they are relative */
  char *const *argv;
  char *const *envp;  /* NULL: ours */
  const char *cwd;    /* NULL: ours */
  const SpawnFd *fds; /* by `to`, each once; 0, 1 and 2 are among them */
  int nfds;
  bool session;       /* it leads a session of its own */
  pid_t group;        /* the process group: 0: its own; -1: ours */
  int umask;          /* -1: ours */
  int64_t uid, gid;   /* -1: ours. With either the supplementary groups go */
} SpawnOrder;

/* What failed. */
typedef enum SpawnStage {
  SPAWN_FORK, /* nothing was started; nor was it for these two */
  SPAWN_PIPE,
  SPAWN_NULL, /* the caller's: /dev/null */
  SPAWN_SESSION,
  SPAWN_GROUP,
  SPAWN_FDS,
  SPAWN_CWD,
  SPAWN_GROUPS,
  SPAWN_GID,
  SPAWN_UID,
  SPAWN_EXEC,
  SPAWN_INTERPRETER, /* the file is there; what is to run it isn't */
  SPAWN_WATCH        /* nothing would have told of its end: it was not started, or ended again */
} SpawnStage;

typedef struct Spawned {
  pid_t pid;
  int fd;     /* can be read once it has ended; close-on-exec */
  bool pidfd; /* ... and is a pidfd */
  SpawnStage stage;
} Spawned;

/* 0, or a negative status, with its stage: then there is no child, and nothing left of one. */
int spawn(const SpawnOrder *order, Spawned *spawned);

/* A pipe, both of its ends close-on-exec. 0, or a negative status. */
int spawn_pipe(int ends[2], int flags);

/* Nobody here waits for that child any more: a thread takes its status whenever it ends. */
void spawn_leave(pid_t pid);

ASY_HIDDEN_END

#endif
