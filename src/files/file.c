/*
** file.c - the loop's side of an open file: whose turn it is, and who has its descriptor.
*/
#include "files/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "files/work.h"

#define BLOCK 16384       /* bytes that are read at once, at first; twice as many each time ... */
#define BLOCK_MOST 262144 /* ... up to so many */
#define SMALL 65536       /* a whole file of that size is read at once */

static void swap(Buffer *a, Buffer *b) {
  Buffer c = *a;
  *a = *b;
  *b = c;
}

/* Turns */

void file_pass(File *f) {
  Task *next = waitq_first(&f->line);
  f->taken = next != NULL;
  if (next) waitq_hand(&f->line, next, 0);
}

static void wake(File *f, int code) {
  Task *t = f->task;
  f->task = NULL;
  if (t) task_wake(t, code);
}

/* Buffers and position */

static bool appends_at_end(const File *f) { return f->work->mode & FILE_APPENDS; }

void file_drop_ahead(File *f) {
  if (f->work->seekable) buffer_consume(&f->in, buffer_length(&f->in));
}

bool file_append(File *f, const char *bytes, size_t n) {
  if (!buffer_append(&f->out, bytes, n)) return false;
  file_drop_ahead(f);
  f->own += n;
  if (!appends_at_end(f)) f->pos += (int64_t)n;
  return true;
}

void file_drop_own(File *f) {
  size_t n = buffer_length(&f->out);
  if (n > f->own) n = f->own;
  f->out.end -= n;
  if (!appends_at_end(f)) f->pos -= (int64_t)n;
  f->own = 0;
}

void file_move(File *f, int64_t to) {
  asy_assert(!buffer_length(&f->out) || to == f->pos);
  if (to >= f->pos && to - f->pos <= (int64_t)buffer_length(&f->in)) {
    buffer_consume(&f->in, (size_t)(to - f->pos));
  } else {
    file_drop_ahead(f);
    f->block = BLOCK;
  }
  f->pos = to;
  if (f->work->shared && !buffer_length(&f->in)) lseek(f->work->fd, to, SEEK_SET);
}

int file_share(File *f) {
  Work *w = f->work;
  asy_assert(!buffer_length(&f->out));
  file_drop_ahead(f);
  if (w->seekable && !w->shared) lseek(w->fd, f->pos, SEEK_SET);
  w->shared = w->slow = true;
  return w->fd;
}

void file_follow(File *f) {
  bool empty = !buffer_length(&f->in) && !buffer_length(&f->out);
  if (f->work->seekable && empty) f->pos = lseek(f->work->fd, 0, SEEK_CUR);
}

/* Work that was left behind: what is still to be written is written, and the descriptor closed, by a thread, since that
** may hang. */
static void finish_alone(Work *w, Loop *loop) {
  bool owed = buffer_length(&w->out) > 0;
  w->file = NULL;
  w->act = FILE_CLOSE;
  int status = w->fd < 0 ? ECANCELED : loop_add_forsaken(loop, CREW_FILES, &w->chore, owed);
  if (!status) return;
  if (status != ECANCELED && owed && w->seekable) work_do(&w->chore); /* no thread: better late than lost */
  work_free(w);
}

static void on_lost(Chore *chore) { work_free(asy_container(chore, Work, chore)); }

/* Its Work is back, or was never out. */
static void take_back(File *f) {
  swap(&f->in, &f->work->in);
  swap(&f->out, &f->work->out);
}

static void apply(File *f, const Work *w) {
  int no_thread = w->chore.no_thread;
  take_back(f);
  f->ended = w->ended && !no_thread;
  f->status = no_thread ? -no_thread : w->status;
  f->call = no_thread ? "thread" : w->call;
  if (!no_thread && w->wrote && w->seekable && w->mode & FILE_APPENDS) f->pos = w->after;
}

static bool acts_on_file(const Work *w) { return w->act == FILE_SYNC || w->act == FILE_RESIZE; }

void file_lose(File *f) {
  if (!f->status) return;
  bool output = buffer_length(&f->out) || acts_on_file(f->work);
  file_drop_own(f);
  if (!output || f->lost) return;
  f->lost = f->status;
  f->lost_call = f->call;
}

bool file_has_left_output(const File *f) {
  const Work *w = f->work;
  return w && !f->task && chore_is_out(&w->chore) && (w->owes || acts_on_file(w));
}

void file_rejoin(File *f, Task *t) {
  f->task = t;
  crew_rejoin(&f->work->chore);
}

static void on_done(Chore *chore) {
  Work *w = asy_container(chore, Work, chore);
  File *f = w->file;
  if (!f) {
    finish_alone(w, w->loop);
    return;
  }
  apply(f, w);
  if (f->task) {
    wake(f, 0);
  } else {
    file_lose(f);
    file_pass(f);
  }
}

static size_t next_block(File *f) {
  size_t block = f->block;
  f->block = block * 2 < BLOCK_MOST ? block * 2 : BLOCK_MOST;
  return block;
}

int file_start(File *f, Task *t, FileAct act) {
  Work *w = f->work;
  asy_assert(w && !chore_is_out(&w->chore) && !f->task);
  size_t unwritten = buffer_length(&f->out);
  w->act = act;
  w->at = f->pos + (unwritten ? -(int64_t)unwritten : (int64_t)buffer_length(&f->in));
  w->want = f->want;
  if (act == FILE_FILL) w->block = next_block(f);
  w->owes = unwritten > 0;
  swap(&f->in, &w->in);
  swap(&f->out, &w->out);
  int status = loop_add_chore(f->handle.loop, CREW_FILES, &w->chore);
  if (status) {
    take_back(f);
    return status;
  }
  f->taken = true;
  f->task = t;
  f->status = 0;
  return 0;
}

/* How many bytes are worth it: the loop is not to copy for long. 0: a thread reads. */
static size_t portion_now(File *f) {
  if (f->want == FILE_ALL) return buffer_length(&f->in) < SMALL ? SMALL : 0;
  size_t block = next_block(f);
  return f->want <= block ? block : f->want <= BLOCK_MOST ? f->want : 0;
}

int file_fill_now(File *f) {
  Work *w = f->work;
  size_t n = w->seekable && !w->slow && !buffer_length(&f->out) ? portion_now(f) : 0;
  if (!n) return -1;
  w->at = f->pos + (int64_t)buffer_length(&f->in);
  swap(&f->in, &w->in);
  size_t before = buffer_length(&w->in);
  bool read = work_read_now(w, n);
  size_t got = buffer_length(&w->in) - before;
  swap(&f->in, &w->in);
  if (!read) return -1;
  f->ended = w->ended;
  return (int)got;
}

bool file_leave(File *f) {
  f->task = NULL;
  if (!f->work || !crew_leave(&f->work->chore)) return false;
  take_back(f);
  return true;
}

/* Opening and closing */

static void destroy(Handle *h) {
  File *f = file_of_handle(h);
  if (f->work) work_free(f->work);
  buffer_free(&f->in);
  buffer_free(&f->out);
  mem_free(f->site);
  mem_free(f);
}

static void shut(Shutter *s);

File *file_new(Loop *loop, const char *path) {
  size_t n = strlen(path) + 1;
  File *f = mem_calloc(1, sizeof *f + n);
  Work *w = mem_calloc(1, sizeof *w + n);
  if (!f || !w) {
    mem_free(f);
    mem_free(w);
    return NULL;
  }
  memcpy(f->path, path, n);
  memcpy(w->path, path, n);
  waitq_init(&f->line);
  f->block = BLOCK;
  f->work = w;
  w->file = f;
  w->loop = loop;
  w->fd = -1;
  w->chore.work = work_do;
  w->chore.done = on_done;
  w->chore.lost = on_lost;
  handle_init(&f->handle, loop, NULL, destroy, shut);
  return f;
}

void file_opened(File *f) {
  if (f->work->mode & FILE_APPENDS && !(f->work->mode & FILE_READS)) f->pos = f->work->size;
  handle_opened(&f->handle);
}

/* Nobody uses it any more; its Work is its own. */
static void leave_work(File *f, Work *w) {
  bool was_out = chore_is_out(&w->chore);
  f->work = NULL;
  w->file = NULL;
  if (f->copied) {
    work_free(w);
  } else if (!crew_leave(&w->chore)) {
    crew_forsake(&w->chore, w->owes);
  } else {
    if (!was_out) swap(&f->out, &w->out);
    finish_alone(w, w->loop);
  }
}

/* All that wait are told. */
static void let_go(File *f) {
  if (f->work) leave_work(f, f->work);
  handle_close(&f->handle);
  buffer_free(&f->in);
  buffer_free(&f->out);
  waitq_wake_all(&f->line, FILE_CLOSED);
  wake(f, FILE_CLOSED);
}

void file_close(File *f) {
  let_go(f);
  if (f->handle.closing && !f->handle.closed) handle_gone(&f->handle);
}

/* The loop closes. */
static void shut(Shutter *s) { let_go(file_of_handle(asy_container(s, Handle, shutter))); }

void files_each(Loop *loop, void (*visit)(Handle *h, void *arg), void *arg) { handles_each(loop, shut, visit, arg); }

/* What was unwritten is the parent's; the threads are not here. */
static void copy_one(Handle *h, void *arg) {
  File *f = file_of_handle(h);
  (void)arg;
  f->copied = true;
  if (chore_is_out(&f->work->chore)) f->work = NULL; /* a thread was in the middle of it: nothing of it can be trusted */
  buffer_free(&f->out);
}

void files_in_child(Loop *loop, bool live) {
  if (live) files_each(loop, copy_one, NULL);
}
