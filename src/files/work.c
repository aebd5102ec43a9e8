/*
** work.c - system calls on an open file, in a thread.
*/
#include "files/work.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <sys/stat.h>
#include <sys/uio.h>

#include "base/alloc.h"

#define MOST 0x40000000 /* bytes that one system call is asked for */

static void fail(Work *w, const char *call, int status) {
  if (w->status) return;
  w->status = status;
  w->call = call;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Opening */

static int64_t length_of(const Work *w, const struct stat *st) {
  return S_ISBLK(st->st_mode) ? (int64_t)lseek(w->fd, 0, SEEK_END) : (int64_t)st->st_size;
}

/* What kind of file it is. 0, or a negative status. */
static int look(Work *w) {
  struct stat st;
  if (fstat(w->fd, &st)) return -errno;
  if (S_ISDIR(st.st_mode)) return UV_EISDIR;
  w->seekable = lseek(w->fd, 0, SEEK_CUR) >= 0 && !S_ISCHR(st.st_mode);
  w->terminal = S_ISCHR(st.st_mode) && isatty(w->fd);
  w->size = length_of(w, &st);
  return 0;
}

static int flags_of(int mode) {
  int flags = O_CLOEXEC | O_NOCTTY;
  flags |= !(mode & FILE_WRITES) ? O_RDONLY : mode & FILE_READS ? O_RDWR : O_WRONLY;
  if (mode & FILE_MAKES) flags |= O_CREAT;
  if (mode & FILE_EMPTIES) flags |= O_TRUNC;
  if (mode & FILE_APPENDS) flags |= O_APPEND;
  return flags;
}

static void open_file(Work *w) {
  do w->fd = open(w->path, flags_of(w->mode), 0666);
  while (w->fd < 0 && errno == EINTR);
  int status = w->fd < 0 ? -errno : look(w);
  if (!status) return;
  fail(w, "open", status);
  if (w->fd >= 0) close(w->fd);
  w->fd = -1;
}

/* Writing */

static bool is_ours(const Work *w) { return w->seekable && !w->shared; }

/* The kernel knows the end better than we do: others append, too. */
static ssize_t write_some(const Work *w, const char *bytes, size_t n) {
  return is_ours(w) && !(w->mode & FILE_APPENDS) ? pwrite(w->fd, bytes, n, w->at) : write(w->fd, bytes, n);
}

static void write_out(Work *w) {
  size_t n;
  while ((n = buffer_length(&w->out))) {
    ssize_t wrote = write_some(w, buffer_bytes(&w->out), least(n, MOST));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      fail(w, "write", -errno);
      break;
    }
    w->wrote = true;
    buffer_consume(&w->out, (size_t)wrote);
    w->at += wrote;
  }
  if (w->wrote && w->seekable && w->mode & FILE_APPENDS) w->at = lseek(w->fd, 0, SEEK_CUR);
}

/* Reading */

/* How many bytes to ask for: what a regular file still has, but not less than a block; and one more, to see the end. */
static size_t portion(const Work *w, size_t want) {
  struct stat st;
  if (want <= w->block || !w->seekable) return w->block;
  if (fstat(w->fd, &st) || st.st_size <= w->at) return w->block;
  uint64_t rest = (uint64_t)(st.st_size - w->at) + 1;
  size_t n = least(want, rest < MOST ? (size_t)rest : MOST);
  return n > w->block ? n : w->block;
}

static ssize_t read_some(const Work *w, char *to, size_t n) {
  return is_ours(w) ? pread(w->fd, to, n, w->at) : read(w->fd, to, n);
}

static void fill(Work *w) {
  for (size_t want = w->want; want;) {
    size_t n = portion(w, want);
    char *room = buffer_reserve(&w->in, n);
    ssize_t got = room ? read_some(w, room, n) : -1;
    if (!room || (got < 0 && errno != EINTR)) {
      fail(w, "read", room ? -errno : UV_ENOMEM);
      return;
    }
    if (got < 0) continue;
    if (got == 0) {
      w->ended = true;
      return;
    }
    buffer_added(&w->in, (size_t)got);
    w->at += got;
    if (!w->seekable) return;
    if (want != FILE_ALL) want -= least(want, (size_t)got);
  }
}

#if defined(__linux__) && defined(RWF_NOWAIT)

bool work_read_now(Work *w, size_t n) {
  char *room = buffer_reserve(&w->in, n);
  if (!room) return false;
  struct iovec piece = {room, n};
  ssize_t got = preadv2(w->fd, &piece, 1, w->at, RWF_NOWAIT);
  if (got < 0 && errno != EAGAIN && errno != EINTR) w->slow = true;
  if (got < 0) return false;
  buffer_added(&w->in, (size_t)got);
  w->ended = got == 0;
  return true;
}

#else

bool work_read_now(Work *w, size_t n) {
  (void)w;
  (void)n;
  return false;
}

#endif

/* All */

static void measure(Work *w) {
  struct stat st;
  if (fstat(w->fd, &st))
    fail(w, "stat", -errno);
  else
    w->size = length_of(w, &st);
}

static int repeat(int (*call)(const Work *w), const Work *w) {
  int status;
  do status = call(w) ? errno : 0;
  while (status == EINTR);
  return -status;
}

static int sync_file(const Work *w) { return fsync(w->fd); }
static int resize_file(const Work *w) { return ftruncate(w->fd, w->size); }

static void act(Work *w) {
  switch (w->act) {
  case FILE_FILL: fill(w); break;
  case FILE_SYNC: fail(w, "sync", repeat(sync_file, w)); break;
  case FILE_RESIZE: fail(w, "truncate", repeat(resize_file, w)); break;
  case FILE_MEASURE: measure(w); break;
  default: break;
  }
}

void work_do(Chore *chore) {
  Work *w = asy_container(chore, Work, chore);
  w->status = 0;
  w->wrote = w->ended = false;
  if (w->act == FILE_OPEN) {
    open_file(w);
    return;
  }
  if (w->shared && w->seekable) lseek(w->fd, w->at, SEEK_SET);
  if (buffer_length(&w->out)) write_out(w);
  w->after = w->at;
  if (!w->status) act(w);
  if (w->act != FILE_CLOSE) return;
  if (close(w->fd) && errno != EINTR) fail(w, "close", -errno);
  w->fd = -1;
}

void work_free(Work *w) {
  if (w->fd >= 0) close(w->fd);
  buffer_free(&w->in);
  buffer_free(&w->out);
  mem_free(w);
}
