/*
** fstree.h - what a watch knows of its tree: the folders that it watches, by name and by the kernel's number. C only, and
** no call of the system's.
**
** What has just been found by looking is fresh, until the kernel's records that were queued then have been read. Until
** then these may be of it, or of what had its name before, so that a fresh folder may not be where its name says. Files
** stand here only as long as they are fresh.
*/
#ifndef ASY_FSTREE_H
#define ASY_FSTREE_H

#include <sys/types.h>

#include "base/list.h"

ASY_HIDDEN

typedef struct FsEntry {
  ListNode siblings; /* in its parent's children */
  ListNode children;
  ListNode todo;     /* in the tree's: to be watched */
  ListNode fresh;    /* in the tree's: it has just been found */
  struct FsEntry *parent; /* NULL: it is the root */
  struct FsEntry *name_chain, *wd_chain;
  char *name;
  int wd;            /* the kernel's number of its watch; -1: there is none */
  dev_t dev;         /* which folder it is, since it is watched */
  ino_t ino;
  bool folder;
  bool tell;         /* of what is found in it */
  bool told;         /* it has been told of as it was found: the kernel's record of that is no news */
  uint8_t tries;     /* to reach it */
} FsEntry;

typedef struct FsTree {
  FsEntry root;
  FsEntry **by_name, **by_wd;
  size_t size;       /* of each, a power of two */
  size_t n;
  ListNode todo, fresh;
  void (*unwatch)(void *arg, int wd); /* told of the watches that aren't needed any more */
  void *arg;
} FsTree;

/* False: no memory. A zeroed tree, or one that failed, can be freed. */
bool fstree_init(FsTree *tree, void (*unwatch)(void *arg, int wd), void *arg);
void fstree_free(FsTree *tree);

FsEntry *fstree_find(const FsTree *tree, const FsEntry *parent, const char *name);
FsEntry *fstree_find_wd(const FsTree *tree, int wd);

/* A new entry; NULL: no memory. None of that name may be there. */
FsEntry *fstree_add(FsTree *tree, FsEntry *parent, const char *name, bool folder);

/* Another place, or name. False: no memory, and nothing has changed. */
bool fstree_move(FsTree *tree, FsEntry *entry, FsEntry *parent, const char *name);

/* Whether it is `ancestor`, or stands below it. */
bool fstree_is_within(const FsEntry *entry, const FsEntry *ancestor);

/* Its watch has another number, or none (-1); the kernel is not told. */
void fstree_set_wd(FsTree *tree, FsEntry *entry, int wd);

/* It goes, with all that stands below it; of the root, which stays, only that goes, and its watch. */
void fstree_drop(FsTree *tree, FsEntry *entry);

/* It is not new any more; a file goes. */
void fstree_settle(FsTree *tree, FsEntry *entry);

/* Writes its path below the root, each name behind a "/", so that it ends before `end`; gives its beginning. */
char *fstree_write_path(const FsEntry *entry, char *end);
size_t fstree_path_length(const FsEntry *entry);

ASY_HIDDEN_END

#endif
