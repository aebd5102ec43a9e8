/*
** crew.c - a queue of chores, and the threads that take them.
**
** Each thread is idle (it waits, has just been started, or looks for a chore), works, or has been left with its chore.
** Those that aren't left are no more than there are places; so one that comes back from a chore that was left may be one
** too many, and ends.
*/
#include "base/crew.h"

#include <uv.h>

#include "base/alloc.h"
#include "base/detached.h"
#include "base/mutex.h"

#define PATIENCE 10000000000u /* ns that a thread waits for a chore */
#define GRACE 1000000000u     /* ns that the close waits for what is owed */

struct Crew {
  uv_mutex_t lock; /* guards all below */
  uv_cond_t more;  /* there is a chore, or the end */
  uv_cond_t paid;  /* nothing is owed any more */
  Inbox *inbox;
  int *under_way;  /* the loop's thread alone */
  int places, most;
  ListNode queue;  /* Jobs */
  int queued;
  int owed;        /* chores, wherever they are */
  int idle, working, left; /* threads, by what they do */
  int refs;                /* the loop's, and each thread's */
  bool closed;
};

static int threads(const Crew *c) { return c->idle + c->working + c->left; }

Crew *crew_new(Inbox *inbox, int *under_way, int places, int most) {
  Crew *c = mem_calloc(1, sizeof *c);
  if (!c) return NULL;
  if (mutex_init(&c->lock)) {
    mem_free(c);
    return NULL;
  }
  uv_cond_init(&c->more);
  uv_cond_init(&c->paid);
  c->inbox = inbox_ref(inbox);
  c->under_way = under_way;
  c->places = places;
  c->most = most;
  c->refs = 1;
  list_init(&c->queue);
  return c;
}

/* Unlocks it, too. */
static void let_go(Crew *c) {
  bool last = --c->refs == 0;
  uv_mutex_unlock(&c->lock);
  if (!last) return;
  inbox_unref(c->inbox);
  uv_cond_destroy(&c->more);
  uv_cond_destroy(&c->paid);
  uv_mutex_destroy(&c->lock);
  mem_free(c);
}

/* The threads. All these are called with the lock held. */

static Chore *take(Crew *c) {
  ListNode *node = list_take(&c->queue);
  if (!node) return NULL;
  c->queued--;
  return asy_container(node, Chore, link);
}

static void *thread_main(void *arg);

/* Sees to it that a thread will take the next chore, if one may. An errno: nothing runs that ever will, and none is to be
** had. */
static int call_thread(Crew *c) {
  if (c->idle >= c->queued) {
    uv_cond_signal(&c->more);
    return 0;
  }
  if (threads(c) - c->left >= c->places || threads(c) >= c->most) return 0;
  int status = detached_start(thread_main, c); /* it waits for the lock */
  if (status) return c->idle || c->working ? 0 : status;
  c->refs++;
  c->idle++;
  return 0;
}

/* It is done, or never will be. */
static void pay(Crew *c, Chore *chore) {
  if (!chore->owed) return;
  chore->owed = false;
  if (--c->owed == 0) uv_cond_signal(&c->paid);
}

static void do_chore(Crew *c, Chore *chore) {
  bool left = chore->state == CHORE_FORSAKEN;
  chore->state = left ? CHORE_LEFT : CHORE_WORKS;
  c->idle--;
  if (left)
    c->left++;
  else
    c->working++;
  if (left && c->queued) call_thread(c);
  uv_mutex_unlock(&c->lock);
  chore->work(chore);
  uv_mutex_lock(&c->lock);
  if (chore->state == CHORE_LEFT)
    c->left--;
  else
    c->working--;
  c->idle++;
  chore->state = CHORE_DONE;
  pay(c, chore);
  uv_mutex_unlock(&c->lock);
  if (!inbox_post(c->inbox, &chore->message)) chore->lost(chore);
  uv_mutex_lock(&c->lock);
}

/* False: this thread is to end. */
static bool wait_for_more(Crew *c) {
  if (c->closed) return false;
  return uv_cond_timedwait(&c->more, &c->lock, PATIENCE) == 0 || c->queued > 0;
}

static void *thread_main(void *arg) {
  Crew *c = arg;
  uv_mutex_lock(&c->lock);
  do {
    Chore *chore;
    while (threads(c) - c->left <= c->places && (chore = take(c))) do_chore(c, chore);
  } while (threads(c) - c->left <= c->places && wait_for_more(c));
  c->idle--;
  let_go(c);
  return NULL;
}

/* The loop's thread */

static void uncount(Chore *chore) {
  if (chore->counted) --*chore->crew->under_way;
  chore->counted = false;
}

/* On its way back. */
static void on_message(Message *message) {
  Chore *chore = asy_container(message, Chore, message);
  uncount(chore);
  chore->crew = NULL;
  chore->state = CHORE_IDLE;
  chore->done(chore);
}

static int add(Crew *c, Chore *chore, bool forsaken, bool owed) {
  asy_assert(!chore->crew && chore->state == CHORE_IDLE);
  chore->message.arrive = on_message;
  chore->no_thread = 0;
  chore->crew = c;
  list_init(&chore->link);
  uv_mutex_lock(&c->lock);
  chore->state = forsaken ? CHORE_FORSAKEN : CHORE_QUEUED;
  list_append(&c->queue, &chore->link);
  c->queued++;
  int status = call_thread(c);
  if (status) {
    list_remove(&chore->link);
    c->queued--;
    chore->state = CHORE_IDLE;
    chore->crew = NULL;
  } else {
    chore->counted = !forsaken;
    *c->under_way += !forsaken;
    chore->owed = owed;
    c->owed += owed;
  }
  uv_mutex_unlock(&c->lock);
  return status;
}

int crew_add(Crew *c, Chore *chore) { return add(c, chore, false, false); }
int crew_add_forsaken(Crew *c, Chore *chore, bool owed) { return add(c, chore, true, owed); }

/* None of the threads that are left could take them: they are told so. */
static void fail_queued(Crew *c, int status) {
  for (Chore *chore; (chore = take(c));) {
    chore->no_thread = status;
    chore->state = CHORE_DONE;
    pay(c, chore);
    if (!inbox_post(c->inbox, &chore->message)) chore->lost(chore);
  }
}

/* Nobody waits for one that works. */
static void leave(Crew *c, Chore *chore) {
  chore->state = CHORE_LEFT;
  c->working--;
  c->left++;
  int status = c->queued && !c->closed ? call_thread(c) : 0;
  if (status) fail_queued(c, status);
}

bool crew_leave(Chore *chore) {
  Crew *c = chore->crew;
  if (!c) return true;
  uncount(chore);
  uv_mutex_lock(&c->lock);
  bool waits = chore->state == CHORE_QUEUED;
  if (waits) {
    list_remove(&chore->link);
    c->queued--;
    chore->state = CHORE_IDLE;
    chore->crew = NULL;
  } else if (chore->state == CHORE_WORKS)
    leave(c, chore);
  uv_mutex_unlock(&c->lock);
  return waits;
}

void crew_rejoin(Chore *chore) {
  if (chore->counted) return;
  chore->counted = true;
  ++*chore->crew->under_way;
}

void crew_forsake(Chore *chore, bool owed) {
  Crew *c = chore->crew;
  if (!c) return;
  uncount(chore);
  uv_mutex_lock(&c->lock);
  if (chore->state == CHORE_QUEUED)
    chore->state = CHORE_FORSAKEN;
  else if (chore->state == CHORE_WORKS)
    leave(c, chore);
  if (owed && !chore->owed && chore->state != CHORE_DONE) {
    chore->owed = true;
    c->owed++;
  }
  uv_mutex_unlock(&c->lock);
}

/* Takes what need not be done off the queue; `all`: whatever there is. */
static void drop_queued(Crew *c, ListNode *dropped, bool all) {
  ListNode queue;
  list_init(&queue);
  list_splice(&queue, &c->queue);
  c->queued = 0;
  for (ListNode *node; (node = list_take(&queue));) {
    Chore *chore = asy_container(node, Chore, link);
    if (all) pay(c, chore);
    list_append(chore->owed ? &c->queue : dropped, node);
    c->queued += chore->owed;
  }
}

void crew_close(Crew *c) {
  ListNode queue;
  list_init(&queue);
  uv_mutex_lock(&c->lock);
  c->closed = true;
  drop_queued(c, &queue, false);
  uv_cond_broadcast(&c->more);
  for (uint64_t now, end = uv_hrtime() + GRACE; c->owed && (now = uv_hrtime()) < end;)
    uv_cond_timedwait(&c->paid, &c->lock, end - now);
  drop_queued(c, &queue, true);
  let_go(c);
  for (ListNode *node; (node = list_take(&queue));) {
    Chore *chore = asy_container(node, Chore, link);
    chore->lost(chore);
  }
}

void crew_in_child(Crew *c) {
  mutex_init(&c->lock);
  uv_cond_init(&c->more);
  uv_cond_init(&c->paid);
  c->idle = c->working = c->left = c->owed = 0;
  c->refs = 1;
}
