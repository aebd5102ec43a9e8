/*
** inbox.c - the locked list of messages from other threads to a loop.
*/
#include "base/inbox.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/mutex.h"

struct Inbox {
  atomic_int refs;
  uv_mutex_t lock; /* guards all below */
  uv_async_t *async; /* NULL once closed */
  Message *first, **last;
  atomic_bool filled; /* there are some; to be read without the lock */
};

Inbox *inbox_new(uv_async_t *async) {
  Inbox *box = mem_calloc(1, sizeof *box);
  if (!box) return NULL;
  if (mutex_init(&box->lock)) {
    mem_free(box);
    return NULL;
  }
  atomic_store(&box->refs, 1);
  box->async = async;
  box->last = &box->first;
  return box;
}

Inbox *inbox_ref(Inbox *box) {
  atomic_fetch_add(&box->refs, 1);
  return box;
}

void inbox_unref(Inbox *box) {
  if (atomic_fetch_sub(&box->refs, 1) != 1) return;
  uv_mutex_destroy(&box->lock);
  mem_free(box);
}

bool inbox_post(Inbox *box, Message *msg) {
  uv_mutex_lock(&box->lock);
  bool open = box->async != NULL;
  if (open) {
    bool first = box->first == NULL; /* the others need no wake-up of their own */
    msg->next = NULL;
    *box->last = msg;
    box->last = &msg->next;
    if (first) {
      atomic_store_explicit(&box->filled, true, memory_order_relaxed);
      uv_async_send(box->async);
    }
  }
  uv_mutex_unlock(&box->lock);
  return open;
}

bool inbox_filled(const Inbox *box) { return atomic_load_explicit(&box->filled, memory_order_relaxed); }

bool inbox_is_open(Inbox *box) {
  uv_mutex_lock(&box->lock);
  bool open = box->async != NULL;
  uv_mutex_unlock(&box->lock);
  return open;
}

void inbox_deliver(Inbox *box) {
  uv_mutex_lock(&box->lock);
  Message *msg = box->first;
  atomic_store_explicit(&box->filled, false, memory_order_relaxed);
  box->first = NULL;
  box->last = &box->first;
  uv_mutex_unlock(&box->lock);
  while (msg) {
    Message *next = msg->next; /* arrive may free it */
    msg->arrive(msg);
    msg = next;
  }
}

void inbox_in_child(Inbox *box) { mutex_init(&box->lock); }

void inbox_close(Inbox *box) {
  uv_mutex_lock(&box->lock);
  box->async = NULL;
  uv_mutex_unlock(&box->lock);
  inbox_deliver(box);
}
