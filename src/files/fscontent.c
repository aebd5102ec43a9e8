/*
** fscontent.c - files as a whole: read, written, written at once or not at all, copied.
*/
#include "files/fscall.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

#define BLOCK ((size_t)128 * 1024)
#define MOST ((size_t)1 << 30) /* of one system call */
#define STEP ((size_t)1 << 20) /* bytes that are still written by a call that was left */
#define MOST_LINKS 40
#define MOST_SHOWN 80 /* bytes of a name in that of its successor */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static int open_again(const char *path, int flags, mode_t mode) {
  int fd;
  FS_RETRY(fd, open(path, flags | O_CLOEXEC, mode));
  return fd;
}

/* A file that was written is closed: some file systems tell only now of what was lost. */
static int close_written(FsCall *c, int fd, int status) {
  if (close(fd) && !status && errno != EINTR) return fscall_fail(c, "close");
  return status;
}

static int write_all(FsCall *c, int fd, const char *bytes, size_t n) {
  while (n) {
    ssize_t done;
    FS_RETRY(done, write(fd, bytes, least(n, MOST)));
    if (done < 0) return fscall_fail(c, "write");
    bytes += done;
    n -= (size_t)done;
  }
  return 0;
}

/* Reading */

static int read_all(FsCall *c, int fd) {
  ssize_t n;
  if (fstat(fd, &c->st)) return fscall_fail(c, "fstat");
  /* One more than it should be, so that its end is seen without another block. */
  size_t room = S_ISREG(c->st.st_mode) && c->st.st_size > 0 ? (size_t)c->st.st_size + 1 : BLOCK;
  do {
    if (!buffer_reserve(&c->out, room)) return fscall_refuse(c, ENOMEM, "malloc", NULL);
    FS_RETRY(n, read(fd, c->out.data + c->out.end, least(c->out.size - c->out.end, MOST)));
    if (n < 0) return fscall_fail(c, "read");
    buffer_added(&c->out, (size_t)n);
    room = c->out.size > c->out.end ? 1 : BLOCK;
  } while (n);
  return 0;
}

int fs_read_file(FsCall *c) {
  int fd = open_again(c->path, O_RDONLY, 0);
  if (fd < 0) return fscall_fail(c, "open");
  int status = read_all(c, fd);
  close(fd);
  return status;
}

/* Writing */

/* Somebody else may have written there since. */
static int check_left(FsCall *c) {
  return c->left ? fscall_refuse(c, ECANCELED, "write", NULL) : 0;
}

static int write_data(FsCall *c, int fd) {
  for (size_t at = 0; at < c->length; at += STEP) {
    int status = check_left(c);
    if (!status) status = write_all(c, fd, c->second + at, least(c->length - at, STEP));
    if (status) return status;
  }
  return 0;
}

static int set_mode(FsCall *c, int fd, mode_t mode) {
  return fchmod(fd, mode) ? fscall_fail(c, "fchmod") : 0;
}

/* Devices and FIFOs can't be emptied, and who watches a new file would hear of a change. */
static int empty(FsCall *c, int fd) {
  if (fstat(fd, &c->st)) return fscall_fail(c, "fstat");
  return S_ISREG(c->st.st_mode) && c->st.st_size && ftruncate(fd, 0) ? fscall_fail(c, "ftruncate")
                                                                     : 0;
}

/* The mode comes before the content, since not all may see that, and before the former's is lost, since it may fail;
** what makes it act as somebody else comes last: to write takes that away. */
static int write_in_place(FsCall *c) {
  bool has_mode = c->a >= 0;
  mode_t mode = has_mode ? (mode_t)c->a : 0666, late = has_mode ? mode & (S_ISUID | S_ISGID) : 0;
  int fd = open_again(c->path, O_WRONLY | O_CREAT, mode & 0777);
  if (fd < 0) return fscall_fail(c, "open");
  int status = check_left(c);
  if (!status && has_mode) status = set_mode(c, fd, mode & ~late);
  if (!status) status = empty(c, fd);
  if (!status) status = write_data(c, fd);
  if (!status && late) status = set_mode(c, fd, mode);
  return close_written(c, fd, status);
}

/* A file that takes another's place. */
typedef struct Place {
  char target[PATH_MAX];
  const char *name; /* in target, after its folder */
  int folder;
  bool can_sync; /* the folder */
  bool is_new;
  struct stat old;
  char temp[NAME_MAX + 1]; /* in the folder; "": there is none */
} Place;

/* One link further: what it points to is where it stands. 0, an error, or 1 when the target is no link. */
static int follow_link(FsCall *c, char target[PATH_MAX]) {
  char to[PATH_MAX];
  ssize_t n = readlink(target, to, sizeof to - 1);
  if (n < 0) return errno == EINVAL || errno == ENOENT ? 1 : fscall_fail(c, "open");
  to[n] = 0;
  char *slash = *to == '/' ? NULL : strrchr(target, '/');
  size_t before = slash ? (size_t)(slash + 1 - target) : 0;
  if (before + (size_t)n >= PATH_MAX) return fscall_refuse(c, ENAMETOOLONG, "open", NULL);
  memcpy(target + before, to, (size_t)n + 1);
  return 0;
}

/* Where a file of that path stands or is to stand: links are followed, also to what isn't there. */
static int find_target(FsCall *c, char target[PATH_MAX]) {
  size_t n = strlen(c->path);
  if (n >= PATH_MAX) return fscall_refuse(c, ENAMETOOLONG, "open", NULL);
  memcpy(target, c->path, n + 1);
  for (int i = 0; i < MOST_LINKS; i++) {
    int status = follow_link(c, target);
    if (status) return status < 0 ? status : 0;
  }
  return fscall_refuse(c, ELOOP, "open", NULL);
}

/* A folder that may be entered and not listed can't be synced either; what is renamed there stands all the same. */
static int open_folder(FsCall *c, Place *p, const char *path) {
  p->folder = open_again(path, O_RDONLY | O_DIRECTORY, 0);
  p->can_sync = p->folder >= 0;
#if defined(O_PATH)
  if (p->folder < 0 && errno == EACCES) p->folder = open_again(path, O_PATH | O_DIRECTORY, 0);
#endif
  return p->folder < 0 ? fscall_fail(c, "open") : 0;
}

static int find_place(FsCall *c, Place *p) {
  int status = find_target(c, p->target);
  if (status) return status;
  char *slash = strrchr(p->target, '/');
  p->name = slash ? slash + 1 : p->target;
  if (!*p->target) return fscall_refuse(c, ENOENT, "open", NULL);
  if (!*p->name || !strcmp(p->name, ".") || !strcmp(p->name, ".."))
    return fscall_refuse(c, EISDIR, "open", NULL);
  if (slash) *slash = 0;
  status = open_folder(c, p, !slash ? "." : slash == p->target ? "/" : p->target);
  if (status) return status;
  p->is_new = fstatat(p->folder, p->name, &p->old, AT_SYMLINK_NOFOLLOW) != 0;
  if (p->is_new) return errno == ENOENT ? 0 : fscall_fail(c, "stat");
  if (S_ISDIR(p->old.st_mode)) return fscall_refuse(c, EISDIR, "open", NULL);
  if (S_ISREG(p->old.st_mode)) return 0;
  return fscall_refuse(c, EINVAL, "write_file", "only a regular file can be replaced by another");
}

/* A new file beside it; nobody else may look into it if the one that it replaces has a mode, which it gets later. */
static int open_temp(FsCall *c, Place *p) {
  char word[11];
  int fd, status;
  do {
    if ((status = fs_random_name(word, sizeof word)))
      return fscall_refuse(c, -status, "getrandom", NULL);
    const char *name = strlen(p->name) <= MOST_SHOWN
                           ? p->name
                           : "long"; /* some file systems take short ones only */
    snprintf(p->temp, sizeof p->temp, ".%s.%s.tmp", name, word);
    FS_RETRY(fd, openat(p->folder, p->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                        p->is_new && c->a < 0 ? 0666 : 0600));
  } while (fd < 0 && errno == EEXIST);
  if (fd >= 0) return fd;
  p->temp[0] = 0;
  return fscall_fail(c, "open");
}

/* The owner, group and mode that the former had. Whom we can't give it to has no more rights than others. */
static int dress(FsCall *c, const Place *p, int fd) {
  if (p->is_new && c->a < 0) return 0;
  mode_t mode = (mode_t)(p->is_new ? c->a : p->old.st_mode & 07777);
  struct stat mine;
  if (!p->is_new) {
    if (fstat(fd, &mine)) return fscall_fail(c, "fstat");
    if (mine.st_gid != p->old.st_gid && fchown(fd, (uid_t)-1, p->old.st_gid))
      mode = (mode & ~(mode_t)02070) | (mode & 07) << 3;
    if (mine.st_uid != p->old.st_uid && fchown(fd, p->old.st_uid, (gid_t)-1))
      mode &= ~(mode_t)04000;
    if (c->a >= 0) mode = (mode_t)c->a;
  }
  return set_mode(c, fd, mode);
}

static int sync_again(int fd) {
  int status;
  FS_RETRY(status, fsync(fd));
  return status;
}

static int fill_temp(FsCall *c, const Place *p, int fd) {
  int status = write_data(c, fd);
  if (!status) status = dress(c, p, fd);
  if (!status && sync_again(fd)) status = fscall_fail(c, "fsync");
  return close_written(c, fd, status);
}

static int take_place(FsCall *c, Place *p) {
  if (renameat(p->folder, p->temp, p->folder, p->name)) return fscall_fail(c, "rename");
  p->temp[0] = 0;
  /* Some file systems keep no folders that could be synced, and say EINVAL. */
  return p->can_sync && sync_again(p->folder) && errno != EINVAL ? fscall_fail(c, "fsync") : 0;
}

static int replace(FsCall *c, Place *p) {
  int status = find_place(c, p);
  if (status) return status;
  int fd = open_temp(c, p);
  if (fd < 0) return fd;
  status = fill_temp(c, p, fd);
  if (!status) status = check_left(c);
  return status ? status : take_place(c, p);
}

static int write_atomic(FsCall *c) {
  Place *p = mem_calloc(1, sizeof *p);
  if (!p) return fscall_refuse(c, ENOMEM, "malloc", NULL);
  p->folder = -1;
  int status = replace(c, p);
  if (p->temp[0]) unlinkat(p->folder, p->temp, 0);
  if (p->folder >= 0) close(p->folder);
  mem_free(p);
  return status;
}

int fs_write_file(FsCall *c) { return c->flag ? write_atomic(c) : write_in_place(c); }

/* Copying */

/* By reading and writing, from where both stand. */
static int copy_blocks(FsCall *c, int from, int to) {
  char *block = buffer_reserve(&c->out, BLOCK);
  if (!block) return fscall_refuse(c, ENOMEM, "malloc", NULL);
  for (;;) {
    ssize_t n;
    FS_RETRY(n, read(from, block, BLOCK));
    if (n < 0) return fscall_fail(c, "read");
    if (n == 0) return 0;
    int status = write_all(c, to, block, (size_t)n);
    if (status) return status;
  }
}

/* In the kernel, where that can; else by blocks. Files of /proc say that they are empty: what has copied nothing is
** looked at. */
static int copy_content(FsCall *c, int from, int to) {
#if defined(__linux__)
  for (bool first = true;; first = false) {
    ssize_t n;
    FS_RETRY(n, copy_file_range(from, NULL, to, NULL, MOST, 0));
    if (n == 0 && !first) return 0;
    if (n > 0) continue;
    if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG))
      return fscall_fail(c, "copy_file_range");
    break; /* not between these, or not here */
  }
#endif
  return copy_blocks(c, from, to);
}

static int open_source(FsCall *c) {
  int fd = open_again(c->path, O_RDONLY | O_NONBLOCK, 0); /* a FIFO would wait for its writer */
  if (fd < 0) return fscall_fail(c, "open");
  int status = 0;
  if (fstat(fd, &c->st))
    status = fscall_fail(c, "fstat");
  else if (S_ISDIR(c->st.st_mode))
    status = fscall_refuse(c, EISDIR, "open", NULL);
  else if (!S_ISREG(c->st.st_mode))
    status = fscall_refuse(c, EINVAL, "copy_file", "only regular files can be copied");
  if (!status) return fd;
  close(fd);
  return status;
}

/* It is not one to overwrite: the source itself, or no file. */
static int check_target(FsCall *c, int fd) {
  struct stat st;
  if (fstat(fd, &st)) return fscall_fail(c, "fstat");
  if (st.st_dev == c->st.st_dev && st.st_ino == c->st.st_ino)
    return fscall_refuse(c, EINVAL, "copy_file", "both paths are the same file");
  if (!S_ISREG(st.st_mode))
    return fscall_refuse(c, EINVAL, "copy_file", "only a regular file can be overwritten");
  return ftruncate(fd, 0) ? fscall_fail(c, "ftruncate") : 0;
}

/* It may be at the end of a link that pointed to nothing: so what exists is opened first. */
static int open_target(FsCall *c, bool *created) {
  int fd = open_again(c->second, O_WRONLY | O_NONBLOCK, 0);
  *created = fd < 0 && errno == ENOENT;
  if (*created) fd = open_again(c->second, O_WRONLY | O_CREAT | O_NONBLOCK, 0600);
  if (fd < 0) return fscall_fail(c, "open");
  int status = *created ? 0 : check_target(c, fd);
  if (!status) return fd;
  close(fd);
  return status;
}

/* The new file, wherever a link has led, but not another that has taken its place. */
static void remove_created(const FsCall *c, const struct stat *st) {
  char path[PATH_MAX];
  struct stat now;
  if (!realpath(c->second, path) || lstat(path, &now)) return;
  if (now.st_dev == st->st_dev && now.st_ino == st->st_ino) unlink(path);
}

/* Bits that give rights to whoever runs it are not copied: the copy may belong to somebody else. */
int fs_copy_file(FsCall *c) {
  bool created;
  int from = open_source(c);
  if (from < 0) return from;
  int to = open_target(c, &created), status = to;
  if (to >= 0) {
    status = copy_content(c, from, to);
    if (!status && fchmod(to, c->st.st_mode & 0777)) status = fscall_fail(c, "fchmod");
    struct stat st;
    created = created && !fstat(to, &st);
    status = close_written(c, to, status);
    if (status && created) remove_created(c, &st);
  }
  close(from);
  return status;
}
