/*
** fsfolders.c - folders: made, listed by batches, removed with all that is in them; names that nobody has.
*/
#include "files/fscall.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "base/alloc.h"

#define BATCH                                                                                      \
  ((size_t)16 *                                                                                    \
   1024) /* bytes of records: some 500 names, which the loop makes strings of at once */

static int no_memory(FsCall *c) { return fscall_refuse(c, ENOMEM, "malloc", NULL); }

/* Making */

/* With exactly this mode, but for the set-group-id bit of folders that pass on their group; -1: what the umask leaves. */
static int make(FsCall *c, const char *path, int64_t mode) {
  struct stat st;
  if (mkdir(path, mode < 0 ? 0777 : (mode_t)mode)) return fscall_fail(c, "mkdir");
  if (mode < 0) return 0;
  if (stat(path, &st)) return fscall_fail(c, "stat");
  mode_t want = (mode_t)mode | (st.st_mode & S_ISGID);
  return want != (st.st_mode & 07777) && chmod(path, want) ? fscall_fail(c, "chmod") : 0;
}

int fs_mkdir(FsCall *c) { return make(c, c->path, c->a); }

static bool is_folder(const char *path) {
  struct stat st;
  return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* Makes the folders of the path but the last, from the top. A part that can't be made may be there. */
static int make_parents(FsCall *c, char *path) {
  for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
    if (slash[-1] == '/' || !slash[1 + strspn(slash + 1, "/")]) continue;
    *slash = 0;
    int status = make(c, path, -1);
    if (status && is_folder(path)) status = 0;
    if (status && !c->failed) c->failed = mem_strdup(path);
    *slash = '/';
    if (status) return status;
  }
  return 0;
}

static bool is_there(const FsCall *c) {
  return !c->failed && !strcmp(c->syscall, "mkdir") && is_folder(c->path);
}

/* Mostly all but the last are there. */
int fs_makedirs(FsCall *c) {
  int status = make(c, c->path, c->a);
  if (status == -ENOENT && *c->path) {
    char *path = mem_strdup(c->path);
    status = path ? make_parents(c, path) : no_memory(c);
    mem_free(path);
    if (!status) status = make(c, c->path, c->a);
  }
  return status && is_there(c) ? 0 : status;
}

int fs_rmdir(FsCall *c) { return rmdir(c->path) ? fscall_fail(c, "rmdir") : 0; }

/* Listing */

char fs_letter(mode_t mode) {
  return S_ISREG(mode)    ? 'f'
         : S_ISDIR(mode)  ? 'd'
         : S_ISLNK(mode)  ? 'l'
         : S_ISFIFO(mode) ? 'p'
         : S_ISSOCK(mode) ? 's'
         : S_ISCHR(mode)  ? 'c'
         : S_ISBLK(mode)  ? 'b'
                          : '?';
}

/* Not every file system says it with the name. */
static char letter_of(DIR *dir, const struct dirent *entry) {
  struct stat st;
#if defined(DT_UNKNOWN)
  if (entry->d_type != DT_UNKNOWN) return fs_letter((mode_t)DTTOIF(entry->d_type));
#endif
  if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW)) return '?';
  return fs_letter(st.st_mode);
}

static bool is_dots(const char *name) {
  return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Adds records, about as many bytes as that at most. 1: there may be more; 0: that was all; or an errno. */
static int add_records(FsCall *c, DIR *dir, Buffer *out, size_t most) {
  while (buffer_length(out) < most) {
    errno = 0;
    const struct dirent *entry = readdir(dir);
    if (!entry) return errno ? fscall_fail(c, "readdir") : 0;
    if (is_dots(entry->d_name)) continue;
    char letter = letter_of(dir, entry);
    if (!buffer_append(out, &letter, 1) ||
        !buffer_append(out, entry->d_name, strlen(entry->d_name) + 1))
      return no_memory(c);
  }
  return 1;
}

/* The folder of that descriptor, which is the DIR's then, or closed. */
static DIR *dir_of(int fd) {
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  int error = errno;
  if (!dir && fd >= 0) close(fd);
  errno = error;
  return dir;
}

#define FOLDER (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

/* A link may have taken the place of any folder of the path: only the way back tells. */
static int check_above(FsCall *c) {
  struct stat st;
  if (fstatat(dirfd(c->dir), "..", &st, 0)) return fscall_fail(c, "stat");
  if (st.st_dev == c->above.dev && st.st_ino == c->above.ino) return 0;
  return fscall_refuse(c, EBUSY, "opendir", "a folder above it was moved meanwhile");
}

static int open_dir(FsCall *c) {
  int fd;
  FS_RETRY(fd, open(c->path, FOLDER | (c->flag ? O_NOFOLLOW : 0)));
  if (!(c->dir = dir_of(fd))) return fscall_fail(c, "opendir");
  if (fstat(fd, &c->st)) return fscall_fail(c, "fstat");
  return c->flag ? check_above(c) : 0;
}

int fs_list(FsCall *c) {
  int status = c->dir ? 0 : open_dir(c);
  if (!status) status = add_records(c, c->dir, &c->out, BATCH);
  if (status > 0) return 0;
  if (c->dir) closedir(c->dir);
  c->dir = NULL;
  return status;
}

/* Removing a tree. One descriptor is open at a time, however deep it is: the way back is "..", and has to lead to the
** folder from which it came, or somebody has moved what is being removed. */

typedef struct Level {
  struct Level *up;
  dev_t dev;
  ino_t ino;
  Buffer left; /* records of what is still to be removed; the first is the one that is entered */
} Level;

typedef struct Removal {
  int fd; /* of the folder at `at` */
  Level *at;
} Removal;

static const char *first_name(const Level *l) { return l->left.data + l->left.start + 1; }

static void drop_first(Level *l) { buffer_consume(&l->left, strlen(first_name(l)) + 2); }

/* The path of the first of each level. */
static void note_failed(FsCall *c, const Level *at) {
  size_t size = strlen(c->path) + 1;
  for (const Level *l = at; l; l = l->up)
    size += buffer_length(&l->left) ? strlen(first_name(l)) + 1 : 0;
  char *path = c->failed = mem_alloc(size);
  if (!path) return;
  path[--size] = 0;
  for (const Level *l = at; l; l = l->up) {
    if (!buffer_length(&l->left)) continue;
    size_t n = strlen(first_name(l));
    memcpy(path + (size -= n), first_name(l), n);
    path[--size] = '/';
  }
  memcpy(path, c->path, size);
}

static void leave_level(Removal *r) {
  Level *l = r->at;
  r->at = l->up;
  buffer_free(&l->left);
  mem_free(l);
}

/* All that is in the folder: names that are removed while it is read would make some file systems skip others. */
static int read_level(FsCall *c, Level *l, int fd) {
  struct stat st;
  if (fstat(fd, &st)) return fscall_fail(c, "fstat");
  l->dev = st.st_dev;
  l->ino = st.st_ino;
  DIR *dir = dir_of(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!dir) return fscall_fail(c, "opendir");
  int status = add_records(c, dir, &l->left, SIZE_MAX);
  closedir(dir);
  return status;
}

/* Goes into a folder that was opened. */
static int enter(FsCall *c, Removal *r, int fd) {
  Level *l = mem_calloc(1, sizeof *l);
  int status = l ? read_level(c, l, fd) : no_memory(c);
  if (!l || status) {
    if (l) buffer_free(&l->left);
    mem_free(l);
    close(fd);
    return status;
  }
  l->up = r->at;
  if (r->fd >= 0) close(r->fd);
  *r = (Removal){fd, l};
  return 0;
}

static int open_below(const Removal *r, const char *name) {
  int fd;
  FS_RETRY(fd, openat(r->fd, name, FOLDER | O_NOFOLLOW));
  return fd;
}

/* Gone, by whomever. */
static int remove_name(FsCall *c, const Removal *r, const char *name, bool folder) {
  if (!unlinkat(r->fd, name, folder ? AT_REMOVEDIR : 0) || errno == ENOENT) return 0;
  return fscall_fail(c, folder ? "rmdir" : "unlink");
}

/* A folder that could not be opened: gone, empty, or no folder any more but a file, or a link, that somebody put there. */
static int remove_unopened(FsCall *c, const Removal *r, const char *name) {
  int error = errno;
  bool replaced = error == ENOTDIR || error == ELOOP;
  if (error == ENOENT) return 0;
  if (replaced || error == EACCES) {
    int status = remove_name(c, r, name, !replaced);
    if (status != -ENOTEMPTY) return status;
  }
  errno = error;
  return fscall_fail(c, "open");
}

/* The first of this level: removed, or entered. */
static int take_first(FsCall *c, Removal *r) {
  const char *name = first_name(r->at);
  bool folder = name[-1] == 'd';
  int fd = folder ? open_below(r, name) : -1;
  if (fd >= 0) return enter(c, r, fd);
  int status = folder ? remove_unopened(c, r, name) : remove_name(c, r, name, false);
  if (!status) drop_first(r->at);
  return status;
}

/* Back to the folder above, to remove the one in which nothing is left. */
static int go_up(FsCall *c, Removal *r) {
  struct stat st;
  int fd;
  FS_RETRY(fd, openat(r->fd, "..", FOLDER));
  if (fd < 0) return fscall_fail(c, "open");
  close(r->fd);
  r->fd = fd;
  leave_level(r);
  if (fstat(fd, &st)) return fscall_fail(c, "fstat");
  if (st.st_dev != r->at->dev || st.st_ino != r->at->ino)
    return fscall_refuse(c, EBUSY, "remove_tree", "the folder was moved while it was removed");
  int status = remove_name(c, r, first_name(r->at), true);
  if (!status) drop_first(r->at);
  return status;
}

/* The path without slashes at the end, which would follow a link, in `out`; no folder in which we stand, or everything
** does. */
static int find_root(FsCall *c) {
  size_t n = strlen(c->path);
  while (n > 1 && c->path[n - 1] == '/') n--;
  int status = fscall_answer(c, c->path, n);
  if (!status) status = fscall_answer(c, "", 1);
  if (status) return status;
  const char *path = buffer_bytes(&c->out), *slash = strrchr(path, '/'),
             *last = slash ? slash + 1 : path;
  if (n && !*last) return fscall_refuse(c, EBUSY, "remove_tree", "the root of all is not removed");
  if (is_dots(last))
    return fscall_refuse(c, EINVAL, "remove_tree", "a path that ends in . or .. is not removed");
  return 0;
}

/* What is below it; the root itself stays. */
static int empty_tree(FsCall *c, Removal *r, int fd) {
  int status = enter(c, r, fd);
  while (!status && r->at) {
    if (buffer_length(&r->at->left))
      status = take_first(c, r);
    else if (r->at->up)
      status = go_up(c, r);
    else
      leave_level(r);
  }
  if (status) note_failed(c, r->at);
  while (r->at) leave_level(r);
  if (r->fd >= 0) close(r->fd);
  return status;
}

int fs_remove_tree(FsCall *c) {
  Removal r = {-1, NULL};
  int fd, status = find_root(c);
  if (status) return status;
  const char *root = buffer_bytes(&c->out);
  FS_RETRY(fd, open(root, FOLDER | O_NOFOLLOW));
  if (fd < 0) {
    status = fscall_fail(c, "open");
    if (status == -EACCES && !rmdir(root)) return 0; /* one that can't be read may be empty */
    return status == -ELOOP ? -ENOTDIR : status;     /* a link, as Linux says it, too */
  }
  status = empty_tree(c, &r, fd);
  return !status && rmdir(root) && errno != ENOENT ? fscall_fail(c, "rmdir") : status;
}

/* Names that nobody has */

int fs_random_name(char *name, size_t size) {
  static const char LETTERS[] = "abcdefghijklmnopqrstuvwxyz012345";
  int status = uv_random(NULL, NULL, name, size - 1, 0, NULL);
  for (size_t i = 0; i < size - 1; i++) name[i] = LETTERS[(unsigned char)name[i] % 32];
  name[size - 1] = 0;
  return status;
}

/* The next path to be tried; the answer. */
static int invent(FsCall *c) {
  char word[11];
  int status = fs_random_name(word, sizeof word);
  if (status) return fscall_refuse(c, -status, "getrandom", NULL);
  size_t n = strlen(c->path), prefix = (size_t)c->a;
  const char *slash = n && c->path[n - 1] != '/' ? "/" : "";
  buffer_consume(&c->out, buffer_length(&c->out));
  if (buffer_append(&c->out, c->path, n) && buffer_append(&c->out, slash, strlen(slash)) &&
      buffer_append(&c->out, c->second, prefix) && buffer_append(&c->out, word, strlen(word)) &&
      buffer_append(&c->out, c->second + prefix, c->length - prefix + 1))
    return 0;
  return no_memory(c);
}

/* Whether it is ours now; or an errno. */
static int try_name(FsCall *c, const char *syscall, bool made, int (*undo)(const char *)) {
  if (made) {
    c->undo = undo;
    c->out.end--; /* the zero byte */
    return 1;
  }
  if (errno == EEXIST) return 0;
  int status = fscall_fail(c, syscall);
  c->failed = mem_strdup(buffer_bytes(&c->out));
  return status;
}

int fs_mkdtemp(FsCall *c) {
  for (;;) {
    int status = invent(c);
    if (!status) status = try_name(c, "mkdir", !mkdir(buffer_bytes(&c->out), 0700), rmdir);
    if (status) return status > 0 ? 0 : status;
  }
}

int fs_mkstemp(FsCall *c) {
  for (;;) {
    int status = invent(c);
    if (!status) {
      FS_RETRY(c->fd, open(buffer_bytes(&c->out), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
      status = try_name(c, "open", c->fd >= 0, unlink);
    }
    if (status) return status > 0 ? 0 : status;
  }
}
