/*
** file.h - an open file: a descriptor, its position, what has been read ahead and what has not been written yet.
**
** A call of a file's has its turn, in the order of the calls. What it can do with the buffers it does at once; else it has
** a Work done by the crew, which writes what is to be written and then does one thing more: reads on, say. Whoever calls
** leaves when it is cancelled; the Work is done whole, and only then the next call has its turn.
**
** The position is ours, so what a cancelled read has read stays in `in`, and is read by the next. A file whose Work does
** not come back can be closed: descriptor and buffers are the Work's then, which closes and frees when it comes.
*/
#ifndef ASY_FILE_H
#define ASY_FILE_H

#include "core/handle.h"
#include "core/waitq.h"

ASY_HIDDEN

/* A file's mode, in bits. */
enum { FILE_READS = 1, FILE_WRITES = 2, FILE_APPENDS = 4, FILE_MAKES = 8, FILE_EMPTIES = 16 };

typedef enum FileAct {
  FILE_WRITE_OUT, /* nothing but that */
  FILE_OPEN,
  FILE_FILL,      /* `want` bytes at least, unless it ends; from what isn't seekable what is there */
  FILE_SYNC,
  FILE_RESIZE,    /* to `size` */
  FILE_MEASURE,   /* `size` is how long it is */
  FILE_CLOSE
} FileAct;

#define FILE_ALL SIZE_MAX /* `want`: up to the end */

/* What a thread has while the chore is out. */
typedef struct Work {
  Chore chore;
  struct File *file; /* the loop's thread alone, as the next two are; NULL: it has been left behind */
  Loop *loop;
  bool owes;         /* there was something to be written */
  FileAct act;
  int fd;            /* -1: none */
  int mode;          /* FILE_READS | ... */
  bool seekable;
  bool slow;         /* only a thread can read it */
  bool shared;       /* a program has it, too: the position is the descriptor's, as far as we have read nothing ahead */
  bool terminal;     /* nothing of the output is kept back */
  int64_t at;        /* where it writes, then reads */
  int64_t after;     /* where it stood between these */
  int64_t size;
  size_t want, block;
  Buffer in, out;
  int status;        /* negative; `call` has failed */
  const char *call;
  bool wrote, ended; /* something has been written; a read found the end */
  char path[];
} Work;

typedef struct File {
  Handle handle;     /* open as long as it is */
  Work *work;        /* NULL: closed */
  Waitq line;        /* calls that wait for their turn */
  bool taken;        /* a call has its turn: its Work is out, or it has been woken */
  Task *task;        /* which waits for the Work */
  const char *doing; /* what the call is, for people */
  int64_t pos;       /* of what is read or written next, where it is seekable; unknown while an append is unwritten */
  Buffer in;         /* what stands behind `pos` */
  Buffer out;        /* what stands before it, and is not written yet: where it is seekable one of them is empty */
  size_t own;        /* the last bytes of `out` are those of the call that has its turn: so many, or all */
  size_t used;       /* bytes in `in` that the read under way has taken, for good when it is over */
  size_t searched;   /* bytes behind these without an end of line */
  size_t want, block; /* how many more it needs; how many are read at once */
  bool ended;        /* there were no more */
  int arg, last;     /* its formats on the stack: the next, the last; 0: none is given */
  int top;           /* of the stack, without what it has read */
  bool closes;       /* it closes the file when there is nothing more */
  int got;           /* what a protected read came to */
  int status;        /* of the last Work: negative, or 0; what failed */
  const char *call;
  int lost;          /* likewise, of output whose caller has left: for flush, sync or close to tell */
  const char *lost_call;
  bool closing;      /* no call begins any more */
  bool copied;       /* it is the parent's, in a forked child */
  char *site;        /* debug mode: where it was opened; or NULL */
  char path[];
} File;

/* A record for a file that isn't open; NULL: no memory. The caller is its box. */
File *file_new(Loop *loop, const char *path);

/* FILE_OPEN has succeeded: it is open. */
void file_opened(File *f);

/* It has the descriptor of a regular file that was opened elsewhere: it is open. */
static inline void file_adopt(File *f, int fd, int mode) {
  f->work->fd = fd;
  f->work->mode = mode;
  f->work->seekable = true;
  file_opened(f);
}

/* Others may have moved the position of one that is shared. */
void file_follow(File *f);

/* A call begins that has its turn. */
static inline void file_begin(File *f, const char *doing) {
  if (f->work->shared) file_follow(f);
  f->doing = doing;
  f->own = f->used = f->searched = 0;
  f->ended = false;
  f->status = 0;
}

/* Keeps bytes back, to be written at the position. False: no memory, and nothing has changed. */
bool file_append(File *f, const char *bytes, size_t n);

/* Forgets what the call has appended and has not been written. */
void file_drop_own(File *f);

/* Forgets what has been read ahead, where it can be read again. */
void file_drop_ahead(File *f);

/* Moves the position of one that is seekable and has nothing unwritten. */
void file_move(File *f, int64_t to);

/* Another program is given the descriptor, and goes on at the position. Nothing of it may be unwritten. */
int file_share(File *f);

/* Has something done; t waits, and is woken when it is done, or with FILE_CLOSED. 0, or an errno: nothing is under way. */
int file_start(File *f, Task *t, FileAct act);
#define FILE_CLOSED 1

/* Reads on what the system has in memory, without waiting; how many bytes, 0: the end. Negative: there is none to be had
** so. */
int file_fill_now(File *f);

/* The call that had its turn is over: the next one has it. */
void file_pass(File *f);

/* Who waits for its Work doesn't any more. True: that had not begun, and was taken back. Otherwise it keeps its turn
** until it is done. */
bool file_leave(File *f);

/* The Work is back, and nobody else will be told of its failure. */
void file_lose(File *f);

/* Whether the Work of a caller that has left is out, and changes the file. */
bool file_has_left_output(const File *f);

/* t waits for that; is woken as by file_start. */
void file_rejoin(File *f, Task *t);

/* Closes it, without waiting for anything: what is unwritten is written by a thread, which closes the descriptor then.
** Those that wait are told. It may have been closed before, by FILE_CLOSE or otherwise. */
void file_close(File *f);

/* Visits those that are open. */
void files_each(Loop *loop, void (*visit)(Handle *h, void *arg), void *arg);
static inline File *file_of_handle(Handle *h) { return asy_container(h, File, handle); }

/* In a forked child. */
void files_in_child(Loop *loop, bool live);

static inline bool file_is_open(const File *f) { return f->handle.open && !f->closing; }

ASY_HIDDEN_END

#endif
