/*
** fsarm.c - a watched path's work: what needs the file system, which may hang.
*/
#include "files/fswatch.h"

#include "files/inotify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/stat.h>
#include <sys/syscall.h>
#include <uv.h>

#include "base/alloc.h"

#if defined(ASY_HAS_INOTIFY)

#include <sys/inotify.h>

#define NAMES (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)
#define SELF (IN_DELETE_SELF | IN_MOVE_SELF)
#define CONTENT (IN_MODIFY | IN_ATTRIB)
#define ROUNDS 16 /* of work, before somebody hears of its notes */

/* Whether a path is not there, or not for us to see: no failure of the watch's. */
static bool is_absence(int error) {
  return error == ENOENT || error == ENOTDIR || error == ELOOP || error == EACCES || error == ESTALE;
}

/* Places */

/* A name's, cut into its folder and itself. path: "/a/b", or NULL. False: no memory. */
static bool set_place(FsWatch *w, FsPlace *place, const char *path) {
  char *copy = path ? mem_strdup(path) : NULL;
  if (path && !copy) {
    fswatch_fail(w, UV_ENOMEM, "watch", NULL);
    return false;
  }
  mem_free(place->path);
  place->path = copy;
  place->name = NULL;
  char *slash = copy ? strrchr(copy, '/') : NULL;
  if (!slash || !strcmp(slash, "/.") || !strcmp(slash, "/..") || !slash[1]) return true;
  *slash = 0;
  place->name = slash + 1;
  return true;
}

static void forget_place(FsWatch *w, FsPlace *place) {
  int wd = place->wd;
  place->wd = -1;
  if (wd < 0 || fstree_find_wd(&w->tree, wd)) return;
  for (int i = 0; i < FSWATCH_PLACES; i++)
    if (w->places[i].wd == wd) return;
  inotify_rm_watch(w->fd, wd);
}

/* Whether something may have happened there that nobody was told of. */
static bool watch_place(FsWatch *w, FsPlace *place) {
  int wd = -1, was = place->wd;
  if (place->name) {
    const char *folder = *place->path ? place->path : "/";
    wd = inotify_add_watch(w->fd, folder, NAMES | SELF | IN_ONLYDIR | IN_MASK_ADD);
    if (wd < 0 && !is_absence(errno)) fswatch_fail(w, -errno, "inotify_add_watch", folder);
  }
  if (wd != was) forget_place(w, place);
  place->wd = wd;
  return wd >= 0 && wd != was;
}

/* Where its name stands and, if it is a link, that of what it leads to. */
static bool watch_places(FsWatch *w) {
  struct stat st;
  FsPlace *target = &w->places[1];
  if (!w->places[0].path && !set_place(w, &w->places[0], w->real)) return false;
  bool is_new = watch_place(w, &w->places[0]);
  char real[PATH_MAX];
  bool link = lstat(*w->real ? w->real : "/", &st) == 0 && S_ISLNK(st.st_mode);
  if (link && !realpath(w->real, real)) return is_new; /* where it led before something may come again */
  return set_place(w, target, link ? real : NULL) && (watch_place(w, target) || is_new);
}

/* Folders */

#define FOLDER (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK)
#define TRIES 20         /* to reach a folder whose path leads elsewhere ... */
#define PAUSE 200        /* ... with so many us between them */

static bool write_real(const FsWatch *w, const FsEntry *e, char path[PATH_MAX]) {
  size_t n = strlen(w->real), below = fstree_path_length(e);
  if (n + below + 2 > PATH_MAX) return false;
  char *end = path + n + below;
  fstree_write_path(e, end);
  memcpy(path, w->real, n);
  *end = 0;
  if (end == path) memcpy(path, "/", 2);
  return true;
}

static bool is_of(const FsEntry *e, const struct stat *st) { return e->dev == st->st_dev && e->ino == st->st_ino; }

/* Whether an entry is where its path says. */
static bool is_there(const FsWatch *w, const FsEntry *e) {
  char path[PATH_MAX];
  struct stat st;
  return write_real(w, e, path) && lstat(path, &st) == 0 && is_of(e, &st);
}

/* A change of names is seen by who opens a path before its record is written, but not by who reads the folder. So after
** this the record of what was seen in there has been written. */
static void wait_for_records(int folder) {
  char some[512];
  if (syscall(SYS_getdents64, folder, some, sizeof some) < 0) return;
}

/* Opens its folder's own folder, if that is where its path says. -1: it isn't, for now. */
static int open_parent(FsWatch *w, const FsEntry *e) {
  char path[PATH_MAX];
  struct stat st;
  if (!write_real(w, e->parent, path)) {
    fswatch_fail(w, UV_ENAMETOOLONG, "open", w->path);
    return -1;
  }
  int fd = open(path, FOLDER);
  if (fd < 0 && !is_absence(errno)) fswatch_fail(w, -errno, "open", path);
  if (fd < 0 || (fstat(fd, &st) == 0 && is_of(e->parent, &st))) return fd;
  close(fd);
  return -1;
}

/* The root by its path; all others by their name in the very folder that is known. -1: it can't be opened (now). */
static int open_folder(FsWatch *w, FsEntry *e) {
  if (!e->parent) return open(*w->real ? w->real : "/", FOLDER);
  int parent = open_parent(w, e);
  if (parent < 0) {
    errno = EAGAIN;
    return -1;
  }
  int fd = openat(parent, e->name, FOLDER | O_NOFOLLOW), error = errno;
  wait_for_records(parent);
  close(parent);
  errno = error;
  return fd;
}

/* The kernel doesn't watch it. Of a root that was there at first that is a failure in any case. */
static void refuse(FsWatch *w, const FsEntry *e, int error) {
  char path[PATH_MAX] = "";
  if (!e->parent) w->refused = -error;
  if (is_absence(error)) return;
  write_real(w, e, path);
  fswatch_fail(w, -error, "inotify_add_watch", path);
}

/* It can't be opened; whether to try once more. What has gone is told by a record; what may not be read is left alone. */
static bool give_up(FsWatch *w, FsEntry *e, int error) {
  if (error == EAGAIN && !w->status && ++e->tries < TRIES) return true; /* a folder above it moves: the record is to come */
  if (error != EAGAIN) refuse(w, e, error);
  if (error == EACCES && e->parent)
    e->tell = false;
  else
    fstree_drop(&w->tree, e);
  return false;
}

typedef enum WatchedAs { WATCHED_NOT, WATCHED_ALREADY, WATCHED_ANEW } WatchedAs;

/* Watches the open folder. WATCHED_NOT: there is no entry any more. */
static WatchedAs watch_folder(FsWatch *w, FsEntry *e, int fd) {
  char path[40];
  struct stat st;
  uint32_t mask = NAMES | CONTENT | IN_ONLYDIR | IN_EXCL_UNLINK | IN_MASK_ADD | (e->parent ? 0 : SELF);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int wd = fstat(fd, &st) < 0 ? -1 : inotify_add_watch(w->fd, path, mask);
  if (wd < 0) {
    refuse(w, e, errno);
    fstree_drop(&w->tree, e);
    return WATCHED_NOT;
  }
  if (wd == e->wd) return WATCHED_ALREADY;
  FsEntry *other = fstree_find_wd(&w->tree, wd);
  if (other && (fstree_is_within(e, other) || is_there(w, other))) {
    fstree_drop(&w->tree, e); /* it is mounted at both, and watched there */
    return WATCHED_NOT;
  }
  if (other) { /* it has been moved, of which the record is to come */
    fstree_set_wd(&w->tree, other, -1);
    fstree_drop(&w->tree, other);
  }
  if (e->parent && e->ino) { /* it is another folder than it was, and what it held may have been told of */
    fswatch_tell(w, FS_REMOVED, e->parent, e->name);
    fswatch_tell(w, FS_CREATED, e->parent, e->name);
    e->tell = true;
  }
  while (!list_empty(&e->children)) fstree_drop(&w->tree, asy_container(e->children.next, FsEntry, siblings));
  if (e->wd >= 0) inotify_rm_watch(w->fd, e->wd);
  fstree_set_wd(&w->tree, e, wd);
  e->dev = st.st_dev;
  e->ino = st.st_ino;
  return WATCHED_ANEW;
}

static bool is_folder(int at, const struct dirent *d) {
  struct stat st;
  if (d->d_type != DT_UNKNOWN) return d->d_type == DT_DIR;
  return fstatat(at, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static void found(FsWatch *w, FsEntry *e, const char *name, bool folder) {
  if (folder) fswatch_queue(w, e, name, e->tell);
  if (e->tell) fswatch_tell(w, FS_CREATED, e, name);
  if (!folder && !e->tell) return;
  FsEntry *child = fstree_find(&w->tree, e, name);
  if (!child) child = fstree_add(&w->tree, e, name, false);
  if (!child)
    fswatch_fail(w, UV_ENOMEM, "watch", NULL);
  else {
    child->told = e->tell;
    if (!list_linked(&child->fresh)) list_append(&w->tree.fresh, &child->fresh);
  }
}

/* What a folder holds. Takes the descriptor. */
static void look_through(FsWatch *w, FsEntry *e, int fd) {
  DIR *dir = fdopendir(fd);
  if (!dir) {
    fswatch_fail(w, -errno, "opendir", w->path);
    close(fd);
    return;
  }
  for (const struct dirent *d; !w->status && (errno = 0, d = readdir(dir));)
    if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0) found(w, e, d->d_name, is_folder(fd, d));
  if (!w->status && errno && !is_absence(errno)) fswatch_fail(w, -errno, "readdir", w->path);
  closedir(dir);
}

/* Whether to try once more. */
static bool watch_one(FsWatch *w, FsEntry *e) {
  int fd = open_folder(w, e);
  if (fd < 0) return give_up(w, e, errno);
  e->tries = 0;
  if (e->parent && !list_linked(&e->fresh)) list_append(&w->tree.fresh, &e->fresh);
  WatchedAs as = watch_folder(w, e, fd);
  if (as == WATCHED_ANEW && w->recursive)
    look_through(w, e, fd);
  else
    close(fd);
  if (as != WATCHED_NOT) e->tell = false;
  return false;
}

/* Takes what stands in the list of folders to be watched, and those that are found there. What can't be reached now stays
** for another time. */
static void watch_todo(FsWatch *w) {
  ListNode later;
  list_init(&later);
  for (ListNode *node; !w->status && (node = list_take(&w->tree.todo));) {
    FsEntry *e = asy_container(node, FsEntry, todo);
    if (watch_one(w, e)) list_append(&later, &e->todo);
  }
  if (!list_empty(&later)) usleep(PAUSE);
  list_splice(&w->tree.todo, &later);
}

/* The root */

/* Takes the watch of what is there now. tell: what it holds is new. */
static void watch_root(FsWatch *w, const struct stat *st, bool is_new) {
  FsEntry *root = &w->tree.root;
  const char *path = *w->real ? w->real : "/";
  w->dev = st->st_dev;
  w->ino = st->st_ino;
  w->replaced = w->touched = false;
  root->folder = S_ISDIR(st->st_mode);
  root->tell = is_new;
  if (root->folder) {
    list_append(&w->tree.todo, &root->todo);
    return;
  }
  int wd = inotify_add_watch(w->fd, path, CONTENT | SELF);
  if (wd < 0) refuse(w, root, errno);
  fstree_set_wd(&w->tree, root, wd);
}

static void lose_root(FsWatch *w) {
  if (w->present) fswatch_tell(w, FS_REMOVED, &w->tree.root, "");
  w->present = false;
  fstree_drop(&w->tree, &w->tree.root);
  w->ended = true;
  for (int i = 0; i < FSWATCH_PLACES; i++) w->ended &= w->places[i].wd < 0;
}

/* It was there, and is another now; if something is new where it stands no record told so. */
static void tell_change(FsWatch *w, bool folder) {
  if (!w->present)
    fswatch_tell(w, FS_CREATED, &w->tree.root, "");
  else if (!w->replaced && !folder && !w->tree.root.folder)
    fswatch_tell(w, FS_CHANGED, &w->tree.root, "");
  else if (!w->replaced) {
    fswatch_tell(w, FS_REMOVED, &w->tree.root, "");
    fswatch_tell(w, FS_CREATED, &w->tree.root, "");
  }
}

/* is_new: what it holds, if it isn't what it was */
static void look(FsWatch *w, bool is_new) {
  struct stat st;
  w->look = false;
  bool untold = watch_places(w);
  if (stat(*w->real ? w->real : "/", &st) < 0) {
    if (is_absence(errno)) lose_root(w); else fswatch_fail(w, -errno, "stat", w->real);
    return;
  }
  bool same = !w->replaced && w->tree.root.wd >= 0 && w->dev == st.st_dev && w->ino == st.st_ino;
  if (w->present && same) {
    if (w->touched) fswatch_tell(w, FS_CHANGED, &w->tree.root, "");
    w->touched = false;
    return;
  }
  if (!w->present && !untold && w->places[0].wd >= 0) return; /* the record of its coming is on its way */
  tell_change(w, S_ISDIR(st.st_mode));
  w->present = true;
  fstree_drop(&w->tree, &w->tree.root);
  watch_root(w, &st, is_new);
}

/* Arming */

static void begin(FsWatch *w) {
  struct stat st;
  watch_places(w);
  if (stat(*w->real ? w->real : "/", &st) < 0) {
    fswatch_fail(w, -errno, "stat", w->path);
    return;
  }
  w->present = true;
  watch_root(w, &st, false);
  watch_todo(w);
  if (w->tree.root.wd < 0) fswatch_fail(w, w->refused, "inotify_add_watch", w->path);
}

void fswatch_arm(FsWatch *w) {
  w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (w->fd < 0)
    fswatch_fail(w, -errno, "inotify_init1", w->path);
  else {
    begin(w);
    fswatch_read(w); /* else what has been found stays fresh */
  }
}

/* The kernel has lost some: a new set of watches, under the same descriptor, since the old one is full of what nobody
** wants to know any more. */
static void begin_anew(FsWatch *w) {
  int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0 || dup3(fd, w->fd, O_CLOEXEC) < 0) {
    fswatch_fail(w, -errno, "inotify_init1", w->path);
    if (fd >= 0) close(fd);
    return;
  }
  close(fd);
  for (int i = 0; i < FSWATCH_PLACES; i++) w->places[i].wd = -1;
  fstree_drop(&w->tree, &w->tree.root); /* the new set, which is empty, knows nothing of what it had */
  w->overflowed = false;
  w->replaced = w->look = true;
  w->notes.lost = true;
}

void fswatch_work(FsWatch *w) {
  for (int i = 0; i < ROUNDS && fswatch_has_work(w); i++) {
    bool anew = w->overflowed;
    if (anew) begin_anew(w);
    if (w->look && !w->status) look(w, w->recursive && !anew);
    watch_todo(w);
    fswatch_tell_lost(w);
    if (!w->status) fswatch_read(w);
  }
}

#else

void fswatch_arm(FsWatch *w) { fswatch_fail(w, UV_ENOSYS, "inotify_init1", w->path); }
void fswatch_work(FsWatch *w) { (void)w; }

#endif
