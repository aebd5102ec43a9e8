/*
** fsnote.c - notes, and what several of a path come to.
*/
#include "files/fsnote.h"

#include <string.h>

#include "base/alloc.h"

static FsNote *from_link(ListNode *node) { return asy_container(node, FsNote, link); }

FsNote *fsnote_new(FsKind kind, size_t path, size_t from) {
  FsNote *note = mem_alloc(sizeof *note + path + 1 + (from ? from + 1 : 0));
  if (!note) return NULL;
  list_init(&note->link);
  note->kind = kind;
  note->chain = NULL;
  note->due = 0;
  note->path[path] = 0;
  note->from = from ? note->path + path + 1 : NULL;
  if (from) note->from[from] = 0;
  return note;
}

void fsnotes_init(FsNotes *notes) {
  list_init(&notes->list);
  notes->n = 0;
  notes->lost = false;
}

FsNote *fsnotes_take(FsNotes *notes) {
  ListNode *node = list_take(&notes->list);
  if (!node) return NULL;
  notes->n--;
  return from_link(node);
}

void fsnotes_free(FsNotes *notes) {
  for (FsNote *note; (note = fsnotes_take(notes));) mem_free(note);
}

static bool says_the_same(const FsNote *a, const FsNote *b) {
  return a->kind == b->kind && (a->kind == FS_RESCAN || (a->kind == FS_CHANGED && !strcmp(a->path, b->path)));
}

void fsnotes_add(FsNotes *notes, FsNote *note) {
  if (!list_empty(&notes->list) && says_the_same(from_link(notes->list.prev), note)) {
    mem_free(note);
    return;
  }
  list_append(&notes->list, &note->link);
  notes->n++;
}

void fsnotes_move(FsNotes *to, FsNotes *from) {
  for (FsNote *note; (note = fsnotes_take(from));) fsnotes_add(to, note);
}

/* Merging */

void fsmerger_init(FsMerger *m, uint64_t window) {
  *m = (FsMerger){.window = window};
  fsnotes_init(&m->held);
}

void fsmerger_free(FsMerger *m) {
  fsnotes_free(&m->held);
  mem_free(m->table);
  m->table = NULL;
  m->size = 0;
}

static size_t hash(const char *path) {
  size_t h = 5381;
  while (*path) h = h * 33 + (unsigned char)*path++;
  return h ^ h >> 15;
}

/* Where the table has the note of a path, or would. */
static FsNote **place(const FsMerger *m, const char *path) {
  FsNote **at = &m->table[hash(path) & (m->size - 1)];
  while (*at && strcmp((*at)->path, path) != 0) at = &(*at)->chain;
  return at;
}

static FsNote *find(const FsMerger *m, const char *path) { return m->size ? *place(m, path) : NULL; }

static bool grow(FsMerger *m) {
  size_t size = m->size ? 2 * m->size : 16;
  FsNote **table = mem_calloc(size, sizeof(FsNote *));
  if (!table) return m->size != 0;
  mem_free(m->table);
  m->table = table;
  m->size = size;
  list_each(node, &m->held.list) {
    FsNote *note = from_link(node), **at = &table[hash(note->path) & (size - 1)];
    note->chain = *at;
    *at = note;
  }
  return true;
}

/* Takes one out. */
static FsNote *take(FsMerger *m, FsNote *note) {
  FsNote **at = place(m, note->path);
  *at = note->chain;
  note->chain = NULL;
  list_remove(&note->link);
  m->held.n--;
  return note;
}

/* `before`: what stands behind it. */
static void insert(FsMerger *m, FsNote *note, ListNode *before) {
  FsNote **at = place(m, note->path);
  asy_assert(!*at);
  *at = note;
  list_append(before, &note->link);
  m->held.n++;
}

/* The new name stands in the old one's place, and is due when that was. */
static void replace(FsMerger *m, FsNote *old, FsNote *note) {
  ListNode *before = old->link.next;
  note->due = old->due;
  mem_free(take(m, old));
  insert(m, note, before);
}

/* What was to be told of the name that something had before: a new file's first name is nobody's business. */
static void merge_source(FsMerger *m, FsNote *note, FsNotes *out) {
  FsNote *source = find(m, note->from);
  if (!source) return;
  take(m, source);
  if (source->kind == FS_RENAMED) {
    fsnotes_add(out, source);
    return;
  }
  if (source->kind == FS_CREATED) {
    note->kind = FS_CREATED;
    note->from = NULL;
  }
  mem_free(source);
}

/* Two notes of one path, one behind the other. */
static void merge(FsMerger *m, FsNote *old, FsNote *note) {
  if (note->kind == FS_RENAMED) {
    replace(m, old, note);
    return;
  }
  bool gone = note->kind == FS_REMOVED, was_new = old->kind == FS_CREATED;
  mem_free(note);
  if (gone && was_new)
    mem_free(take(m, old));
  else if (gone)
    old->kind = FS_REMOVED;
  else if (old->kind == FS_REMOVED)
    old->kind = FS_CHANGED;
}

void fsmerger_add(FsMerger *m, FsNote *note, uint64_t now, FsNotes *out) {
  if (note->kind == FS_RESCAN || (m->held.n >= m->size && !grow(m))) {
    fsnotes_add(out, note);
    return;
  }
  if (note->kind == FS_RENAMED) merge_source(m, note, out);
  FsNote *old = find(m, note->path);
  bool ends = note->kind == FS_REMOVED || note->kind == FS_RENAMED;
  if (old && old->kind == FS_RENAMED && ends) {
    fsnotes_add(out, take(m, old)); /* what it was called before would get lost */
    old = NULL;
  }
  if (old) {
    merge(m, old, note);
    return;
  }
  note->due = m->window > UINT64_MAX - now ? UINT64_MAX : now + m->window;
  insert(m, note, &m->held.list);
}

void fsmerger_give(FsMerger *m, uint64_t now, FsNotes *out) {
  while (!list_empty(&m->held.list)) {
    FsNote *note = from_link(m->held.list.next); // NOLINT(clang-analyzer-unix.Malloc): what was freed has left it
    if (note->due > now) return;
    fsnotes_add(out, take(m, note));
  }
}

bool fsmerger_next(const FsMerger *m, uint64_t *due) {
  if (list_empty(&m->held.list)) return false;
  *due = from_link(m->held.list.next)->due;
  return true;
}
