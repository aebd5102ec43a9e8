/*
** fscall.c - calls about files: made, run, freed; how they fail.
*/
#include "files/fscall.h"

#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

static void fscall_close(FsCall *c) {
  if (c->fd >= 0) close(c->fd);
  if (c->dir) closedir(c->dir);
  c->fd = -1;
  c->dir = NULL;
}

FsCall *fscall_new(FsWork *work, const char *path, const char *second, size_t length) {
  FsCall *c = mem_calloc(1, sizeof *c);
  if (!c) return NULL;
  c->work = work;
  c->a = c->b = c->fd = -1;
  c->length = length;
  c->path = mem_strdup(path);
  if (second && (c->second = mem_alloc(length + 1))) memcpy(c->second, second, length + 1);
  if (c->path && (c->second || !second)) return c;
  fscall_free(c);
  return NULL;
}

void fscall_free(FsCall *c) {
  fscall_close(c);
  buffer_free(&c->out);
  mem_free(c->path);
  mem_free(c->second);
  mem_free(c->failed);
  mem_free(c);
}

void fscall_give_back(FsCall *c) {
  fscall_close(c);
  if (c->undo) c->undo(buffer_bytes(&c->out));
  c->undo = NULL;
}

/* Who left is not told: it is taken away here, where it may hang. */
void fscall_run(FsCall *c) {
  c->status = c->work(c);
  if (c->left) fscall_give_back(c);
}

int fscall_fail(FsCall *c, const char *syscall) {
  c->syscall = syscall;
  return -errno;
}

int fscall_refuse(FsCall *c, int error, const char *syscall, const char *why) {
  c->syscall = syscall;
  c->why = why;
  return -error;
}

int fscall_answer(FsCall *c, const char *text, size_t n) {
  return buffer_append(&c->out, text, n) ? 0 : fscall_refuse(c, ENOMEM, "malloc", NULL);
}
