/*
** watcher.c - a watched path of a loop.
**
** What the kernel has to tell is read on the loop's thread, as that never waits; what that leads to is looked up by a
** chore, which may hang, and whose memory is its own then (WatcherDuty). Nothing is told before it is back.
*/
#include "files/watcher.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crew.h"

typedef struct WatcherDuty {
  Chore chore;
  FsWatch *fs;    /* the chore's alone while that is out */
  Watcher *owner; /* NULL: it is gone, or closed */
} WatcherDuty;

static Watcher *from_handle(const Handle *h) { return asy_container(h, Watcher, handle); }

static void duty_free(WatcherDuty *d) {
  fswatch_free(d->fs);
  mem_free(d);
}

/* Telling */

static void wake(Watcher *w) {
  while (!waitq_empty(&w->line) && watcher_has_news(w)) {
    w->handed++;
    waitq_hand(&w->line, waitq_first(&w->line), 0);
  }
}

void watcher_pass(Watcher *w) {
  w->handed--;
  wake(w);
}

static void on_timer(Timer *timer);

static void set_timer(Watcher *w) {
  uint64_t due;
  timer_cancel(&w->handle.loop->timers, &w->timer);
  if (fsmerger_next(&w->merger, &due) && !timer_set(&w->handle.loop->timers, &w->timer, due))
    fsmerger_give(&w->merger, UINT64_MAX, &w->notes); /* no memory: earlier is better than never */
}

static void on_poll(uv_poll_t *poll, int status, int events);

/* Too many that nobody has heard: the kernel keeps the rest, or says how many too many there were. */
static void hear(Watcher *w) {
  if (w->over || w->notes.n + w->merger.held.n >= FSNOTES_MOST)
    uv_poll_stop(&w->poll);
  else if (!uv_is_active((uv_handle_t *)&w->poll))
    uv_poll_start(&w->poll, UV_READABLE, on_poll);
}

/* Nothing will come any more. */
static void end(Watcher *w, FsWatch *fs) {
  w->over = true;
  w->status = fs->status;
  w->call = fs->call;
  w->failed = fs->failed;
  fs->failed = NULL;
  fsmerger_give(&w->merger, UINT64_MAX, &w->notes);
}

static void publish(Watcher *w) {
  FsWatch *fs = w->duty->fs;
  if (w->merger.window) {
    uint64_t now = loop_now(w->handle.loop);
    for (FsNote *note; (note = fsnotes_take(&fs->notes));) fsmerger_add(&w->merger, note, now, &w->notes);
  } else
    fsnotes_move(&w->notes, &fs->notes);
  if (fs->status || fs->ended) end(w, fs);
  set_timer(w);
  hear(w);
  wake(w);
}

static void on_timer(Timer *timer) {
  Watcher *w = asy_container(timer, Watcher, timer);
  fsmerger_give(&w->merger, loop_now(w->handle.loop), &w->notes);
  set_timer(w);
  wake(w);
}

/* Working */

static void work(Chore *chore) { fswatch_work(asy_container(chore, WatcherDuty, chore)->fs); }

/* The kernel has been listened to, or a chore is back. */
static void go_on(Watcher *w) {
  WatcherDuty *d = w->duty;
  if (fswatch_has_work(d->fs)) {
    uv_poll_stop(&w->poll);
    int error = loop_add_chore(w->handle.loop, CREW_FILES, &d->chore);
    if (!error) return;
    fswatch_fail(d->fs, -error, "thread", NULL);
  }
  publish(w);
}

static void on_done(Chore *chore) {
  WatcherDuty *d = asy_container(chore, WatcherDuty, chore);
  if (!d->owner) {
    duty_free(d);
    return;
  }
  if (chore->no_thread) fswatch_fail(d->fs, -chore->no_thread, "thread", NULL);
  go_on(d->owner);
}

static void on_lost(Chore *chore) { duty_free(asy_container(chore, WatcherDuty, chore)); }

static void on_poll(uv_poll_t *poll, int status, int events) {
  Watcher *w = asy_container(poll, Watcher, poll);
  (void)events;
  if (!w->duty || chore_is_out(&w->duty->chore)) return;
  if (status < 0) fswatch_fail(w->duty->fs, status, "poll", NULL);
  fswatch_read(w->duty->fs);
  go_on(w);
}

/* Its life */

/* A chore that is out goes on, and nobody hears of it; in a forked child it never comes back. */
static void leave_duty(Watcher *w) {
  WatcherDuty *d = w->duty;
  w->duty = NULL;
  if (!d) return;
  d->owner = NULL;
  if (chore_is_out(&d->chore) && (w->handle.loop->copied || !crew_leave(&d->chore))) return;
  duty_free(d);
}

void watcher_close(Watcher *w) {
  if (w->handle.loop) {
    timer_cancel(&w->handle.loop->timers, &w->timer);
    leave_duty(w);
    handle_close(&w->handle);
  }
  fsmerger_free(&w->merger);
  fsnotes_free(&w->notes);
  mem_free(w->failed);
  w->failed = NULL;
  w->status = 0;
  w->over = true;
  if (w->handle.loop && !w->handle.loop->copied) wake(w);
}

static void destroy(Handle *h) {
  Watcher *w = from_handle(h);
  fsmerger_free(&w->merger);
  fsnotes_free(&w->notes);
  mem_free(w->failed);
  mem_free(w->site);
  mem_free(w);
}

/* The loop closes: tasks that waited have been taken out of the line. */
static void shut(Shutter *shutter) { watcher_close(from_handle(asy_container(shutter, Handle, shutter))); }

static bool may_come(const Handle *h) { return !from_handle(h)->over; }

static const char *tell(const Handle *h, char *text, size_t size) {
  const Watcher *w = from_handle(h);
  snprintf(text, size, "a watch of %s", w->path);
  return w->site;
}

Watcher *watcher_new(Loop *loop, FsWatch *fs, uint64_t window, int *status) {
  size_t n = strlen(fs->rescan ? fs->rescan->path : fs->path);
  Watcher *w = mem_calloc(1, sizeof *w + n + 1);
  WatcherDuty *d = mem_calloc(1, sizeof *d);
  *status = UV_ENOMEM;
  if (w && d) {
    handle_init(&w->handle, loop, (uv_handle_t *)&w->poll, destroy, shut);
    w->handle.tell = tell;
    w->handle.may_come = may_come;
    w->timer.fire = on_timer;
    fsmerger_init(&w->merger, window);
    fsnotes_init(&w->notes);
    waitq_init(&w->line);
    memcpy(w->path, fs->rescan ? fs->rescan->path : fs->path, n);
    *status = uv_poll_init(&loop->uv, &w->poll, fs->fd);
    if (!*status) {
      d->chore = (Chore){.work = work, .done = on_done, .lost = on_lost};
      d->fs = fs;
      d->owner = w;
      w->duty = d;
      handle_opened(&w->handle);
      go_on(w);
      return w;
    }
    handle_unbox(&w->handle);
    w = NULL;
  }
  mem_free(w);
  mem_free(d);
  return NULL;
}

FsNote *watcher_take(Watcher *w) {
  FsNote *note = fsnotes_take(&w->notes);
  if (note && w->duty && !chore_is_out(&w->duty->chore)) hear(w);
  return note;
}

void watcher_put_back(Watcher *w, FsNote *note) {
  if (!w->duty) {
    mem_free(note);
    return;
  }
  list_prepend(&w->notes.list, &note->link);
  w->notes.n++;
}

void watchers_each(Loop *loop, void (*visit)(Handle *h, void *arg), void *arg) { handles_each(loop, shut, visit, arg); }

static void leave_one(Handle *h, void *arg) {
  (void)arg;
  leave_duty(from_handle(h));
}

void watchers_leave(Loop *loop) { watchers_each(loop, leave_one, NULL); }
