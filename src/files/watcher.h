/*
** watcher.h - a watched path of a loop: the kernel is listened to, work goes to the loop's crew, and notes wait for those
** who want to hear them. C only.
*/
#ifndef ASY_WATCHER_H
#define ASY_WATCHER_H

#include "core/handle.h"
#include "core/waitq.h"
#include "files/fswatch.h"

ASY_HIDDEN

struct WatcherDuty;

typedef struct Watcher {
  Handle handle;      /* open while something can come */
  uv_poll_t poll;
  Timer timer;        /* a merged note is due */
  FsMerger merger;    /* its window is 0: nothing is merged */
  FsNotes notes;      /* to be told */
  Waitq line;         /* tasks that want to hear them */
  int handed;         /* so many of them have been woken for one */
  struct WatcherDuty *duty; /* NULL: closed */
  bool over;          /* nothing comes behind the notes, but `status` */
  int status;         /* what it failed with, or 0, as FsWatch has it */
  const char *call;
  char *failed;       /* the path of the failure, or NULL */
  char *site;         /* debug mode: where it was made; or NULL */
  char path[];
} Watcher;

/* One for a path that is watched already, which it takes; status: why there is none. The caller is its box. */
Watcher *watcher_new(Loop *loop, FsWatch *fs, uint64_t window, int *status);

/* Ends it: those who wait hear of it, what wasn't heard is gone. Once more does nothing. */
void watcher_close(Watcher *w);

/* Whether a task needn't wait: there is a note that is nobody else's, or nothing will come. */
static inline bool watcher_has_news(const Watcher *w) { return w->over || w->notes.n > (size_t)w->handed; }

/* Its next note, taken off, NULL when there is none; and back again, where it was. */
FsNote *watcher_take(Watcher *w);
void watcher_put_back(Watcher *w, FsNote *note);

/* Who was woken for one is gone: another may have it. */
void watcher_pass(Watcher *w);

/* Visits the open ones. */
void watchers_each(Loop *loop, void (*visit)(Handle *h, void *arg), void *arg);

/* The loop closes, or has been copied into a forked child: its threads have nothing to tell it any more. */
void watchers_leave(Loop *loop);

ASY_HIDDEN_END

#endif
