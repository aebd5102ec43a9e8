/*
** fswatch.c - the kernel's records become notes, and work.
*/
#include "files/fswatch.h"

#include "files/inotify.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>
#if defined(ASY_HAS_INOTIFY)
#include <sys/inotify.h>
#endif

#include "base/alloc.h"

#define READS 16 /* at once: who writes without end is not read without end */

/* Telling */

/* Room for the path that is told of a name in a folder. */
static size_t told_length(const FsWatch *w, const FsEntry *folder, const char *name) {
  return strlen(w->path) + fstree_path_length(folder) + (*name ? strlen(name) + 1 : 0);
}

static void write_told(const FsWatch *w, const FsEntry *folder, const char *name, char *to, size_t n) {
  char *end = to + n;
  if (*name) {
    size_t length = strlen(name);
    end -= length;
    memcpy(end, name, length); // NOLINT(bugprone-not-null-terminated-result): the end is there
    *--end = '/';
  }
  end = fstree_write_path(folder, end);
  asy_assert((size_t)(end - to) == strlen(w->path));
  memcpy(to, w->path, (size_t)(end - to));
}

static void tell(FsWatch *w, FsKind kind, const FsEntry *folder, const char *name, const FsEntry *from_folder,
                 const char *from) {
  size_t n = told_length(w, folder, name), from_n = from ? told_length(w, from_folder, from) : 0;
  if (!n) return; /* "/" itself */
  FsNote *note = w->notes.n < FSNOTES_MOST ? fsnote_new(kind, n, from_n) : NULL;
  if (!note) {
    w->notes.lost = true;
    return;
  }
  write_told(w, folder, name, note->path, n);
  if (from) write_told(w, from_folder, from, note->from, from_n);
  fsnotes_add(&w->notes, note);
}

void fswatch_tell(FsWatch *w, FsKind kind, const FsEntry *folder, const char *name) {
  tell(w, kind, folder, name, NULL, NULL);
}

static FsNote *new_rescan(const FsWatch *w) {
  const char *path = *w->path ? w->path : "/";
  FsNote *note = fsnote_new(FS_RESCAN, strlen(path), 0);
  return note ? memcpy(note->path, path, strlen(path)), note : NULL;
}

void fswatch_tell_lost(FsWatch *w) {
  if (!w->notes.lost) return;
  if (!w->rescan) w->rescan = new_rescan(w);
  if (!w->rescan) return;
  fsnotes_add(&w->notes, w->rescan);
  w->rescan = NULL;
  w->notes.lost = false;
}

void fswatch_fail(FsWatch *w, int status, const char *call, const char *path) {
  if (w->status) return;
  w->status = status;
  w->call = call;
  w->failed = path ? mem_strdup(path) : NULL;
}

void fswatch_queue(FsWatch *w, FsEntry *parent, const char *name, bool is_new) {
  FsEntry *e = fstree_find(&w->tree, parent, name);
  if (!e) e = fstree_add(&w->tree, parent, name, true);
  if (!e) {
    fswatch_fail(w, UV_ENOMEM, "watch", NULL);
    return;
  }
  e->folder = true;
  e->tell |= is_new;
  if (!list_linked(&e->todo)) list_append(&w->tree.todo, &e->todo);
}

/* Its life */

static void unwatch(void *arg, int wd) {
#if defined(ASY_HAS_INOTIFY)
  const FsWatch *w = arg;
  for (int i = 0; i < FSWATCH_PLACES; i++)
    if (w->places[i].wd == wd) return;
  if (w->fd >= 0) inotify_rm_watch(w->fd, wd);
#else
  (void)arg;
  (void)wd;
#endif
}

/* "/" alone is "". */
static void cut_slashes(char *path) {
  size_t n = strlen(path);
  while (n && path[n - 1] == '/') path[--n] = 0;
}

/* Absolute: the process may go elsewhere meanwhile. */
static char *make_absolute(const char *path) {
  char cwd[4096];
  if (*path == '/' || !getcwd(cwd, sizeof cwd)) return mem_strdup(path);
  size_t n = strlen(cwd);
  char *whole = mem_alloc(n + strlen(path) + 2);
  if (!whole) return NULL;
  memcpy(whole, cwd, n); // NOLINT(bugprone-not-null-terminated-result)
  whole[n] = '/';
  memcpy(whole + n + 1, path, strlen(path) + 1);
  return whole;
}

FsWatch *fswatch_new(const char *path, bool recursive) {
  FsWatch *w = mem_calloc(1, sizeof *w);
  if (!w) return NULL;
  w->fd = -1;
  w->recursive = recursive;
  for (int i = 0; i < FSWATCH_PLACES; i++) w->places[i].wd = -1;
  fsnotes_init(&w->notes);
  bool ready = fstree_init(&w->tree, unwatch, w);
  w->path = mem_strdup(path);
  w->real = make_absolute(path);
  if (ready && w->path && w->real) {
    cut_slashes(w->path);
    cut_slashes(w->real);
    w->rescan = new_rescan(w);
    if (w->rescan) return w;
  }
  fswatch_free(w);
  return NULL;
}

void fswatch_free(FsWatch *w) {
  if (w->fd >= 0) close(w->fd); /* takes all watches with it */
  w->fd = -1;
  fstree_free(&w->tree);
  fsnotes_free(&w->notes);
  for (int i = 0; i < FSWATCH_PLACES; i++) mem_free(w->places[i].path);
  mem_free(w->rescan);
  mem_free(w->failed);
  mem_free(w->path);
  mem_free(w->real);
  mem_free(w);
}

bool fswatch_has_work(const FsWatch *w) {
  return !w->status && !w->ended && (w->look || w->overflowed || !list_empty(&w->tree.todo));
}

#if defined(ASY_HAS_INOTIFY)

/* The root itself */

/* Its name leads to nothing, or to something else: what it was is watched no more. */
static void let_go(FsWatch *w) {
  fstree_drop(&w->tree, &w->tree.root);
  w->replaced = w->look = true;
}

static void root_gone(FsWatch *w) {
  if (w->present) fswatch_tell(w, FS_REMOVED, &w->tree.root, "");
  w->present = false;
  let_go(w);
}

static void root_came(FsWatch *w, bool folder) {
  if (w->present && !folder && !w->tree.root.folder)
    fswatch_tell(w, FS_CHANGED, &w->tree.root, ""); /* something was renamed over it */
  else {
    if (w->present) fswatch_tell(w, FS_REMOVED, &w->tree.root, "");
    fswatch_tell(w, FS_CREATED, &w->tree.root, "");
  }
  w->present = true;
  let_go(w);
}

static void take_place(FsWatch *w, FsPlace *place, const InotifyRecord *r) {
  if (r->mask & IN_IGNORED) place->wd = -1;
  if (r->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) w->look = true;
  if (strcmp(r->name, place->name) != 0) return;
  if (r->mask & (IN_DELETE | IN_MOVED_FROM)) root_gone(w);
  if (r->mask & (IN_CREATE | IN_MOVED_TO)) root_came(w, r->mask & IN_ISDIR);
}

static void take_self(FsWatch *w, const InotifyRecord *r) {
  if (r->mask & IN_MODIFY) fswatch_tell(w, FS_CHANGED, &w->tree.root, "");
  if (r->mask & IN_ATTRIB) w->touched = w->look = true; /* also of one whose last name has just gone */
  if (r->mask & (IN_DELETE_SELF | IN_MOVE_SELF)) w->look = true;
}

/* Names in a folder */

static bool is_fresh(const FsEntry *e) { return e && list_linked(&e->fresh); }

static void came(FsWatch *w, FsEntry *folder, const char *name, bool is_folder) {
  FsEntry *e = fstree_find(&w->tree, folder, name);
  if (is_fresh(e) && e->told) {
    e->told = false;
    if (e->folder && is_folder) fswatch_queue(w, folder, name, true); /* the one that was found may be gone */
    return;
  }
  if (e && !fstree_is_within(folder, e)) {
    fswatch_tell(w, FS_REMOVED, folder, name); /* with what was told of what it held */
    fstree_drop(&w->tree, e);
  }
  fswatch_tell(w, FS_CREATED, folder, name);
  if (w->recursive && is_folder) fswatch_queue(w, folder, name, true);
}

static void went(FsWatch *w, const FsEntry *folder, const char *name) {
  FsEntry *e = fstree_find(&w->tree, folder, name);
  fswatch_tell(w, FS_REMOVED, folder, name);
  if (e) fstree_drop(&w->tree, e);
}

/* What is known well keeps its watches. Of what isn't, it is told that it went and came, with what it holds now. */
static void renamed(FsWatch *w, FsEntry *from, const InotifyRecord *r, FsEntry *to, const char *name) {
  FsTree *tree = &w->tree;
  FsEntry *e = fstree_find(tree, from, r->name), *old = fstree_find(tree, to, name);
  bool is_folder = r->mask & IN_ISDIR, sure = !is_fresh(e) && !is_fresh(old) && (e || !is_folder || !w->recursive);
  if (sure && e) sure = !fstree_is_within(to, e) && !(old && (fstree_is_within(from, old) || fstree_is_within(to, old)));
  if (!sure) {
    if (e && fstree_is_within(to, e)) { /* nonsense */
      w->overflowed = true;
      return;
    }
    went(w, from, r->name);
    came(w, to, name, is_folder);
    return;
  }
  tell(w, FS_RENAMED, to, name, from, r->name);
  if (old) fstree_drop(tree, old);
  if (e && !fstree_move(tree, e, to, name)) fswatch_fail(w, UV_ENOMEM, "watch", NULL);
}

/* A folder that could not be read before may be readable now. */
static void changed(FsWatch *w, FsEntry *folder, const char *name) {
  const FsEntry *e = fstree_find(&w->tree, folder, name);
  fswatch_tell(w, FS_CHANGED, folder, name);
  if (e && e->folder && e->wd < 0 && !list_linked(&e->todo)) fswatch_queue(w, folder, name, true);
}

/* The other record of a renaming, behind this one; it is taken out. To where: NULL, if it isn't there. */
static FsEntry *find_partner(FsWatch *w, size_t at, size_t n, uint32_t cookie, const char **name) {
  size_t start = at;
  for (InotifyRecord r; inotify_next(w->buffer, n, &at, &r); start = at) {
    FsEntry *to = r.mask & IN_MOVED_TO && r.cookie == cookie ? fstree_find_wd(&w->tree, r.wd) : NULL;
    if (!to || !to->folder || !*r.name) continue;
    memset(w->buffer + start, 0, 3 * sizeof(uint32_t)); /* its wd, mask and cookie: nobody's */
    *name = r.name;
    return to;
  }
  return NULL;
}

/* at, n: what is behind it */
static void take_name(FsWatch *w, FsEntry *folder, const InotifyRecord *r, size_t at, size_t n) {
  const char *name;
  FsEntry *to = r->mask & IN_MOVED_FROM ? find_partner(w, at, n, r->cookie, &name) : NULL;
  bool is_folder = r->mask & IN_ISDIR;
  if (to)
    renamed(w, folder, r, to, name);
  else if (r->mask & (IN_MOVED_FROM | IN_DELETE))
    went(w, folder, r->name);
  else if (r->mask & (IN_MOVED_TO | IN_CREATE))
    came(w, folder, r->name, is_folder);
  else if (r->mask & (IN_MODIFY | IN_ATTRIB))
    changed(w, folder, r->name);
}

/* Records */

static void take(FsWatch *w, const InotifyRecord *r, size_t at, size_t n) {
  if (r->mask & (IN_Q_OVERFLOW | IN_UNMOUNT)) w->overflowed = true;
  for (int i = 0; i < FSWATCH_PLACES; i++)
    if (w->places[i].wd == r->wd && r->wd >= 0 && r->mask) take_place(w, &w->places[i], r);
  FsEntry *e = r->mask ? fstree_find_wd(&w->tree, r->wd) : NULL;
  if (!e) return;
  if (r->mask & IN_IGNORED) {
    fstree_set_wd(&w->tree, e, -1);
    if (e == &w->tree.root) w->look = true;
  } else if (*r->name) {
    if (e->folder && strcmp(r->name, "..") != 0) take_name(w, e, r, at, n);
  } else if (e == &w->tree.root)
    take_self(w, r);
}

/* Takes the n bytes that are in the buffer. Half of a renaming at their end is carried on, unless nothing follows: the
** kernel writes both halves, but one after the other. */
static void take_all(FsWatch *w, size_t n, bool last) {
  size_t at = 0, start = 0;
  w->carried = 0;
  for (InotifyRecord r; inotify_next(w->buffer, n, &at, &r); start = at) {
    if (r.mask & IN_MOVED_FROM && at == n && !last) {
      w->carried = n - start;
      memmove(w->buffer, w->buffer + start, w->carried);
      return;
    }
    take(w, &r, at, n);
  }
}

/* All records that were there when something was found have been read. */
static void settle_fresh(FsWatch *w) {
  while (!list_empty(&w->tree.fresh))
    fstree_settle(&w->tree, asy_container(w->tree.fresh.next, FsEntry, fresh));
}

void fswatch_read(FsWatch *w) {
  bool drained = false;
  for (int i = 0; i < READS && !drained && !w->status && w->fd >= 0 && w->notes.n < FSNOTES_MOST / 2; i++) {
    ssize_t n = read(w->fd, w->buffer + w->carried, sizeof w->buffer - w->carried);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) fswatch_fail(w, -errno, "read", w->real);
    drained = n <= 0;
    take_all(w, w->carried + (n > 0 ? (size_t)n : 0), drained);
  }
  if (w->carried) take_all(w, w->carried, true);
  if (drained) settle_fresh(w);
  fswatch_tell_lost(w);
}

#else

void fswatch_read(FsWatch *w) { (void)w; }

#endif
