/*
** fswatch.h - a path that is watched, with inotify: what the kernel tells becomes notes. C only; no loop, no thread.
**
** `fswatch_read` never waits for a file system, and what it can't do without one it leaves behind as work, for
** `fswatch_work`, which may hang. Nobody else may touch the watch meanwhile. Notes are complete, in their order and to be
** told only when no work is left: then whatever they name is watched already.
**
** The kernel watches things, not names. So a folder's own watch tells of the names in it; the root's name, of which that
** of the folder it stands in tells, is one of its `places`, and so is that of what it leads to, where it is a link.
*/
#ifndef ASY_FSWATCH_H
#define ASY_FSWATCH_H

#include "files/fsnote.h"
#include "files/fstree.h"

#include <sys/types.h>

ASY_HIDDEN

#define FSWATCH_PLACES 2

typedef struct FsPlace {
  int wd;           /* of the folder; -1: it isn't watched */
  char *path;       /* of the name; cut before it, of the folder; NULL: there is no such place */
  const char *name; /* in there */
} FsPlace;

typedef struct FsWatch {
  int fd;          /* can be read when the kernel has something to tell; never blocks */
  bool recursive;
  char *path;      /* as it is told, without a "/" at its end */
  char *real;      /* the same, absolute */
  FsPlace places[FSWATCH_PLACES];
  FsTree tree;     /* the root is the watched path itself: a folder, or not */
  FsNotes notes;
  FsNote *rescan;  /* at hand for what gets lost; NULL: there was no memory for another */
  dev_t dev;       /* which it was at the last look */
  ino_t ino;
  bool present;    /* something of that name is there, as far as has been told */
  bool replaced;   /* it isn't what it was at the last look */
  bool touched;    /* its attributes have changed, if it is still there */
  bool look;       /* work: to look what is there now */
  bool overflowed; /* work: to begin anew */
  bool ended;      /* nothing can come any more */
  int refused;     /* the kernel's answer when the root could not be watched */
  int status;      /* what it failed with, for good; or 0 */
  const char *call; /* and which call did, */
  char *failed;     /* and for what, or NULL */
  size_t carried;   /* bytes at the buffer's beginning that belong to the next */
  _Alignas(8) char buffer[16384];
} FsWatch;

/* Without a watch of the kernel's yet; NULL: no memory. path: not "" */
FsWatch *fswatch_new(const char *path, bool recursive);

/* Closes and frees it. Doesn't wait. */
void fswatch_free(FsWatch *w);

/* Begins to watch. May hang. Fails by `status`. */
void fswatch_arm(FsWatch *w);

/* Takes what the kernel has to tell. */
void fswatch_read(FsWatch *w);

/* Whether the file system is to be asked. */
bool fswatch_has_work(const FsWatch *w);

/* Does some of the work, and reads. May hang. */
void fswatch_work(FsWatch *w);

/* Between its files */

/* Notes that something has happened to a name in a folder; "": to the folder, or root, itself. */
void fswatch_tell(FsWatch *w, FsKind kind, const FsEntry *folder, const char *name);
/* It fails, unless it has before. path: is copied; may be NULL. */
void fswatch_fail(FsWatch *w, int status, const char *call, const char *path);
/* A new folder, which is to be watched. tell: also of what is found in it. */
void fswatch_queue(FsWatch *w, FsEntry *parent, const char *name, bool tell);
/* What was lost is told as one. */
void fswatch_tell_lost(FsWatch *w);

ASY_HIDDEN_END

#endif
