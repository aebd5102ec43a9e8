/*
** fsnote.h - what is told of a watched path: notes, in their order; and several of a path in a short time as one. C only.
*/
#ifndef ASY_FSNOTE_H
#define ASY_FSNOTE_H

#include "base/list.h"

ASY_HIDDEN

typedef enum FsKind { FS_CREATED, FS_CHANGED, FS_REMOVED, FS_RENAMED, FS_RESCAN } FsKind;

typedef struct FsNote {
  ListNode link;
  struct FsNote *chain; /* in a merger's table */
  uint64_t due;         /* when a merger gives it away */
  FsKind kind;
  char *from;           /* the former path, in `path`'s block; NULL, if it is none of FS_RENAMED */
  char path[];
} FsNote;

#define FSNOTES_MOST 16384 /* unread ones: as many as the kernel keeps of its own */

typedef struct FsNotes {
  ListNode list;
  size_t n;
  bool lost; /* some did not find their place */
} FsNotes;

void fsnotes_init(FsNotes *notes);
void fsnotes_free(FsNotes *notes);

/* A note with room for paths of such lengths (from: 0, if there is none), to be filled in; NULL: no memory. */
FsNote *fsnote_new(FsKind kind, size_t path, size_t from);

/* Puts one behind the others; a change that has just been told of is told of once. */
void fsnotes_add(FsNotes *notes, FsNote *note);

/* The first, taken off; NULL: there is none. It is the caller's: mem_free. */
FsNote *fsnotes_take(FsNotes *notes);

/* Moves all to the end of others. */
void fsnotes_move(FsNotes *to, FsNotes *from);

/* One note for what happens to a path within `window` (on any clock): from the first on, told at its end. */
typedef struct FsMerger {
  uint64_t window;
  FsNotes held;    /* by `due` */
  FsNote **table;  /* by path */
  size_t size;     /* a power of two, or 0 */
} FsMerger;

void fsmerger_init(FsMerger *m, uint64_t window);
void fsmerger_free(FsMerger *m);

/* Takes a note, which from now on is the merger's. What can't be merged is given to `out`. */
void fsmerger_add(FsMerger *m, FsNote *note, uint64_t now, FsNotes *out);

/* Gives those away that are due. */
void fsmerger_give(FsMerger *m, uint64_t now, FsNotes *out);

/* When the next is due; false: there is none. */
bool fsmerger_next(const FsMerger *m, uint64_t *due);

ASY_HIDDEN_END

#endif
