/*
** fscall.h - one call about files and folders, as a thread makes it: without Lua and without a loop.
**
** What it asks with and what it answers is the call's own memory, its descriptors are its own, too: so it can be left
** behind at any moment, by whoever waited, and be freed by the thread in which it hangs.
*/
#ifndef ASY_FSCALL_H
#define ASY_FSCALL_H

#include "base/buffer.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>

ASY_HIDDEN

typedef struct FsCall FsCall;

typedef int FsWork(FsCall *c); /* 0, or a negative errno; then `syscall` says of what */

struct FsCall {
  FsWork *work;

  /* what is asked */
  char *path;
  char *second;  /* another path, or bytes that are to be written; or NULL */
  size_t length; /* of `second` */
  int64_t a, b;  /* a mode (-1: none), ids (-1: as they are), what is to be allowed */
  double atime, mtime;
  bool flag;
  DIR *dir; /* that is read on; NULL: `path` is opened */
  struct {
    dev_t dev;
    ino_t ino;
  } above;
  atomic_bool left; /* nobody waits for it any more: what can still be left undone is */

  /* what is answered */
  int status;
  const char *syscall;
  const char *why; /* in words, where the errno says too little; or NULL */
  char *failed;    /* the path below `path` at which it failed; NULL: at `path` itself */
  struct stat st;
  Buffer out; /* bytes of a file, a path, or the records of a folder */
  int fd;     /* a file that was opened, or -1 */
  int (*undo)(
      const char *
          path); /* takes away what was made at the path in `out`, whose name nobody else knows; or NULL */
};

/* Copies the path (and the other one, or the bytes); NULL when there is no memory. */
FsCall *fscall_new(FsWork *work, const char *path, const char *second, size_t length);
void fscall_free(FsCall *c);

/* Does it; on any thread. */
void fscall_run(FsCall *c);

/* Nobody will ever hear of what it has got: closes it, and takes away again what it has made. May hang. */
void fscall_give_back(FsCall *c);

/* Whether that is to be done. */
static inline bool fscall_has_got(const FsCall *c) { return c->undo || c->dir || c->fd >= 0; }

/* For works: the negative errno, of that call; with words for it. */
int fscall_fail(FsCall *c, const char *syscall);
int fscall_refuse(FsCall *c, int error, const char *syscall, const char *why);

/* The answer is this text; 0, or the failure. */
int fscall_answer(FsCall *c, const char *text, size_t n);

/* A call again that a signal has interrupted: no signal of ours reaches these threads, but a debugger's stops do. */
#define FS_RETRY(result, call)                                                                     \
  do (result) = (call);                                                                            \
  while ((result) < 0 && errno == EINTR)

/* Names and links: fsnames.c */
FsWork fs_stat, fs_lstat, fs_exists, fs_access, fs_rename, fs_unlink, fs_link, fs_symlink,
    fs_read_link, fs_real_path;
FsWork fs_chmod, fs_chown, fs_utime;

/* What is in files: fscontent.c. fs_write_file: `flag`: at once or not at all, `a`: mode. One that is left stops before
** its next block, or before it takes the other's place. */
FsWork fs_read_file, fs_write_file, fs_copy_file;

/* A regular file below the folder `path`, named by `second`: `fd`, `st`, and where it stands as the answer. What
** stands outside, by links too, and what is no regular file counts as if it weren't there; "realpath" fails where the
** folder isn't. fsbeneath.c. */
FsWork fs_open_beneath;

/* Folders: fsfolders.c. fs_list: `flag`: no link as the last part of the path, and directly in the folder `above`, or
** it is no longer where it was; says what it has opened in `st`; gives some records, and `dir` if there
** are more: a letter for the type, then the name and a zero byte. fs_mkdtemp, fs_mkstemp: `path` is the folder, `second`
** the prefix (`a` bytes) and the suffix; the answer is the path, fs_mkstemp's `fd`, too. */
FsWork fs_mkdir, fs_makedirs, fs_rmdir, fs_list, fs_remove_tree, fs_mkdtemp, fs_mkstemp;

/* A name that nobody has thought of: `size` with the zero byte, of small letters and digits. */
int fs_random_name(char *name, size_t size);

/* The letter of fs_list for a mode. */
char fs_letter(mode_t mode);

ASY_HIDDEN_END

#endif
