/*
** fsbeneath.c - a regular file is opened that stands below a folder, whatever its name says and whoever moves links
** meanwhile.
**
** Where the name leads to is found first, links and all; then the folders on that way are opened one in the other, none of
** them by a link. So what was looked at is what is opened, or there is an error.
*/
#include "files/fscall.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

#define STEP_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define FILE_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* Where `root`/`name` leads to. Outside of root: as if it weren't there. stands at `*below`, without root */
static int find(FsCall *c, char root[PATH_MAX], char real[PATH_MAX], const char **below) {
  if (!realpath(c->path, root)) return fscall_fail(c, "realpath");
  size_t n = strlen(root), size = n + c->length + 2;
  char *joined = mem_alloc(size);
  if (!joined) return fscall_refuse(c, ENOMEM, "malloc", NULL);
  snprintf(joined, size, "%s/%s", root, c->second);
  bool found = realpath(joined, real) != NULL;
  int error = errno;
  mem_free(joined);
  if (!found) return fscall_refuse(c, error, "open", NULL);
  if (n == 1) n = 0; /* the root of all */
  if (strncmp(real, root, n) != 0 || real[n] != '/') return fscall_refuse(c, ENOENT, "open", NULL);
  *below = real + n + 1;
  return 0;
}

/* The folder in which the last part of the path stands, which is left in `*below`; or -1. */
static int walk(const char *root, char *path, const char **below) {
  int folder;
  FS_RETRY(folder, open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (char *slash; folder >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
    int next;
    *slash = 0;
    FS_RETRY(next, openat(folder, path, STEP_FLAGS));
    int error = errno;
    close(folder);
    errno = error;
    folder = next;
  }
  *below = path;
  return folder;
}

/* A device or a FIFO isn't even opened: that may do something. */
static int open_regular(FsCall *c, int folder, const char *name) {
  if (fstatat(folder, name, &c->st, AT_SYMLINK_NOFOLLOW)) return fscall_fail(c, "fstat");
  if (!S_ISREG(c->st.st_mode)) return fscall_refuse(c, S_ISDIR(c->st.st_mode) ? EISDIR : ENOENT, "open", NULL);
  FS_RETRY(c->fd, openat(folder, name, FILE_FLAGS));
  if (c->fd < 0) return fscall_fail(c, "open");
  if (fstat(c->fd, &c->st)) return fscall_fail(c, "fstat");
  return S_ISREG(c->st.st_mode) ? 0 : fscall_refuse(c, ENOENT, "open", NULL);
}

int fs_open_beneath(FsCall *c) {
  char root[PATH_MAX], real[PATH_MAX], path[PATH_MAX];
  const char *below = real;
  if (strlen(c->second) != c->length) return fscall_refuse(c, ENOENT, "open", NULL);
  int status = find(c, root, real, &below);
  if (status) return status;
  memcpy(path, below, strlen(below) + 1);
  int folder = walk(root, path, &below);
  if (folder < 0) return fscall_fail(c, "open");
  status = open_regular(c, folder, below);
  close(folder);
  return status ? status : fscall_answer(c, real, strlen(real));
}
