/*
** fsnames.c - what is asked and changed of files by their names: mostly one system call each.
*/
#include "files/fscall.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

int fs_stat(FsCall *c) { return stat(c->path, &c->st) ? fscall_fail(c, "stat") : 0; }

int fs_lstat(FsCall *c) { return lstat(c->path, &c->st) ? fscall_fail(c, "lstat") : 0; }

/* Says nothing of what is there: there is nothing. */
static bool is_absence(int error) { return error == ENOENT || error == ENOTDIR || error == ELOOP; }

int fs_exists(FsCall *c) {
  c->flag = !stat(c->path, &c->st);
  return c->flag || is_absence(errno) ? 0 : fscall_fail(c, "stat");
}

int fs_access(FsCall *c) {
  c->flag = !faccessat(AT_FDCWD, c->path, (int)c->a, AT_EACCESS);
  bool is_no =
      is_absence(errno) || errno == EACCES || errno == EPERM || errno == EROFS || errno == ETXTBSY;
  return c->flag || is_no ? 0 : fscall_fail(c, "access");
}

int fs_rename(FsCall *c) { return rename(c->path, c->second) ? fscall_fail(c, "rename") : 0; }

int fs_unlink(FsCall *c) { return unlink(c->path) ? fscall_fail(c, "unlink") : 0; }

int fs_link(FsCall *c) { return link(c->path, c->second) ? fscall_fail(c, "link") : 0; }

int fs_symlink(FsCall *c) { return symlink(c->path, c->second) ? fscall_fail(c, "symlink") : 0; }

int fs_read_link(FsCall *c) {
  for (size_t size = 256;; size *= 4) {
    char *room = buffer_reserve(&c->out, size);
    if (!room) return fscall_refuse(c, ENOMEM, "malloc", NULL);
    ssize_t n = readlink(c->path, room, size);
    if (n < 0) return fscall_fail(c, "readlink");
    if ((size_t)n == size) continue; /* it may be longer */
    buffer_added(&c->out, (size_t)n);
    return 0;
  }
}

int fs_real_path(FsCall *c) {
  char path[PATH_MAX];
  if (!realpath(c->path, path)) return fscall_fail(c, "realpath");
  return fscall_answer(c, path, strlen(path));
}

int fs_chmod(FsCall *c) { return chmod(c->path, (mode_t)c->a) ? fscall_fail(c, "chmod") : 0; }

int fs_chown(FsCall *c) {
  return chown(c->path, (uid_t)c->a, (gid_t)c->b) ? fscall_fail(c, "chown") : 0;
}

static struct timespec timespec_of(double seconds) {
  double whole = floor(seconds);
  long ns = (long)((seconds - whole) * 1e9 + 0.5);
  return ns < 1000000000 ? (struct timespec){(time_t)whole, ns}
                         : (struct timespec){(time_t)whole + 1, 0};
}

/* flag: both times are now's */
int fs_utime(FsCall *c) {
  struct timespec times[] = {timespec_of(c->atime), timespec_of(c->mtime)};
  return utimensat(AT_FDCWD, c->path, c->flag ? NULL : times, 0) ? fscall_fail(c, "utimensat") : 0;
}
