/*
** fstree.c - the folders of a watched tree.
*/
#include "files/fstree.h"

#include <string.h>

#include "base/alloc.h"

#define FIRST_SIZE 16

static void entry_init(FsEntry *e, FsEntry *parent, bool folder) {
  *e = (FsEntry){.parent = parent, .wd = -1, .folder = folder};
  list_init(&e->siblings);
  list_init(&e->children);
  list_init(&e->todo);
  list_init(&e->fresh);
}

bool fstree_init(FsTree *tree, void (*unwatch)(void *arg, int wd), void *arg) {
  *tree = (FsTree){.size = FIRST_SIZE, .unwatch = unwatch, .arg = arg};
  entry_init(&tree->root, NULL, true);
  list_init(&tree->todo);
  list_init(&tree->fresh);
  tree->by_name = mem_calloc(FIRST_SIZE, sizeof(FsEntry *));
  tree->by_wd = mem_calloc(FIRST_SIZE, sizeof(FsEntry *));
  return tree->by_name && tree->by_wd;
}

void fstree_free(FsTree *tree) {
  if (tree->by_name && tree->by_wd) fstree_drop(tree, &tree->root);
  mem_free(tree->by_name);
  mem_free(tree->by_wd);
}

/* Finding */

static size_t hash_name(const FsEntry *parent, const char *name) {
  size_t h = (size_t)(uintptr_t)parent >> 4;
  while (*name) h = h * 33 + (unsigned char)*name++;
  return h ^ h >> 15;
}

static FsEntry **name_place(const FsTree *tree, const FsEntry *parent, const char *name) {
  FsEntry **at = &tree->by_name[hash_name(parent, name) & (tree->size - 1)];
  while (*at && ((*at)->parent != parent || strcmp((*at)->name, name) != 0)) at = &(*at)->name_chain;
  return at;
}

static FsEntry **wd_place(const FsTree *tree, int wd) {
  FsEntry **at = &tree->by_wd[(size_t)wd & (tree->size - 1)];
  while (*at && (*at)->wd != wd) at = &(*at)->wd_chain;
  return at;
}

FsEntry *fstree_find(const FsTree *tree, const FsEntry *parent, const char *name) {
  return *name_place(tree, parent, name);
}

FsEntry *fstree_find_wd(const FsTree *tree, int wd) { return wd < 0 ? NULL : *wd_place(tree, wd); }

bool fstree_is_within(const FsEntry *entry, const FsEntry *ancestor) {
  while (entry && entry != ancestor) entry = entry->parent;
  return entry != NULL;
}

static void enter_name(FsTree *tree, FsEntry *e) {
  FsEntry **at = name_place(tree, e->parent, e->name);
  asy_assert(!*at);
  e->name_chain = NULL;
  *at = e;
}

static void leave_name(const FsTree *tree, FsEntry *e) {
  FsEntry **at = name_place(tree, e->parent, e->name); // NOLINT(clang-analyzer-unix.Malloc): freed leaves left it
  asy_assert(*at == e);
  *at = e->name_chain;
}

static void rehash_names(const FsTree *old, FsTree *tree) {
  for (size_t i = 0; i < old->size; i++) {
    for (FsEntry *e = old->by_name[i], *next; e; e = next) {
      next = e->name_chain;
      enter_name(tree, e);
    }
  }
}

static void rehash_wds(const FsTree *old, const FsTree *tree) {
  for (size_t i = 0; i < old->size; i++) {
    for (FsEntry *e = old->by_wd[i], *next; e; e = next) {
      next = e->wd_chain;
      FsEntry **at = wd_place(tree, e->wd);
      e->wd_chain = NULL;
      *at = e;
    }
  }
}

/* Without memory for it the chains get longer. */
static void grow(FsTree *tree) {
  FsTree old = *tree;
  size_t size = 2 * old.size;
  FsEntry **by_name = mem_calloc(size, sizeof(FsEntry *)), **by_wd = mem_calloc(size, sizeof(FsEntry *));
  if (!by_name || !by_wd) {
    mem_free(by_name);
    mem_free(by_wd);
    return;
  }
  tree->by_name = by_name;
  tree->by_wd = by_wd;
  tree->size = size;
  rehash_names(&old, tree);
  rehash_wds(&old, tree);
  mem_free(old.by_name);
  mem_free(old.by_wd);
}

/* Changing */

FsEntry *fstree_add(FsTree *tree, FsEntry *parent, const char *name, bool folder) {
  FsEntry *e = mem_alloc(sizeof *e);
  char *copy = mem_strdup(name);
  if (!e || !copy) {
    mem_free(e);
    mem_free(copy);
    return NULL;
  }
  if (tree->n >= tree->size) grow(tree);
  entry_init(e, parent, folder);
  e->name = copy;
  list_append(&parent->children, &e->siblings);
  enter_name(tree, e);
  tree->n++;
  return e;
}

bool fstree_move(FsTree *tree, FsEntry *e, FsEntry *parent, const char *name) {
  char *copy = mem_strdup(name);
  if (!copy) return false;
  leave_name(tree, e);
  mem_free(e->name);
  e->name = copy;
  e->parent = parent;
  list_remove(&e->siblings);
  list_append(&parent->children, &e->siblings);
  enter_name(tree, e);
  return true;
}

void fstree_set_wd(FsTree *tree, FsEntry *e, int wd) {
  if (e->wd >= 0) {
    *wd_place(tree, e->wd) = e->wd_chain;
    e->wd_chain = NULL;
  }
  e->wd = wd;
  if (wd < 0) return;
  FsEntry **at = wd_place(tree, wd);
  asy_assert(!*at);
  *at = e;
}

static void unwatch(FsTree *tree, FsEntry *e) {
  int wd = e->wd;
  if (wd < 0) return;
  fstree_set_wd(tree, e, -1);
  tree->unwatch(tree->arg, wd);
}

static void drop_leaf(FsTree *tree, FsEntry *e) {
  unwatch(tree, e);
  list_remove(&e->todo);
  list_remove(&e->fresh);
  if (e == &tree->root) return;
  leave_name(tree, e);
  list_remove(&e->siblings);
  mem_free(e->name);
  mem_free(e);
  tree->n--;
}

/* Leaf by leaf, as a tree may be deeper than a stack. */
void fstree_drop(FsTree *tree, FsEntry *entry) {
  FsEntry *e = entry;
  while (e != entry || !list_empty(&e->children)) {
    if (!list_empty(&e->children)) {
      e = asy_container(e->children.next, FsEntry, siblings);
      continue;
    }
    FsEntry *parent = e->parent;
    drop_leaf(tree, e);
    e = parent;
  }
  drop_leaf(tree, entry); // NOLINT(clang-analyzer-unix.Malloc): likewise
}

void fstree_settle(FsTree *tree, FsEntry *e) {
  list_remove(&e->fresh);
  e->told = false;
  if (!e->folder) fstree_drop(tree, e);
}

/* Paths */

size_t fstree_path_length(const FsEntry *e) {
  size_t n = 0;
  for (; e->parent; e = e->parent) n += strlen(e->name) + 1;
  return n;
}

char *fstree_write_path(const FsEntry *e, char *end) {
  for (; e->parent; e = e->parent) {
    size_t n = strlen(e->name);
    end -= n;
    memcpy(end, e->name, n);
    *--end = '/';
  }
  return end;
}
