/*
** handle.h - the lifetime of what stands on a uv_handle_t: malloc'ed, owned by a userdata (its box)
** and by libuv, and freed when both have let go. What stands on nothing of libuv's lives likewise: its owner says
** when it has closed.
*/
#ifndef ASY_HANDLE_H
#define ASY_HANDLE_H

#include "core/loop.h"

ASY_HIDDEN

#define ASY_HANDLE_TEXT 200 /* room for one in words */

typedef struct Handle {
  Shutter shutter; /* first: the uv_handle_t's data */
  Loop *loop;      /* NULL once `closed`: the loop may be gone then, and what stands on this may not */
  uv_handle_t *uv; /* inside the same block; NULL: libuv knows nothing of it */
  void (*on_close)(struct Handle *h); /* libuv has let go; C only. May be NULL */
  void (*destroy)(struct Handle *h);  /* frees the block */
  bool (*may_come)(const struct Handle *h); /* whether it can still bring anything; C only. NULL: while it is open */
  /* Writes what it is; where it was opened, or NULL. C only. May be NULL. */
  const char *(*tell)(const struct Handle *h, char *text, size_t size);
  bool open;    /* libuv knows it, and it is not closing */
  bool closing; /* uv_close has been called */
  bool closed;  /* ... and has called back, or libuv never knew it */
  bool kept;    /* the loop's own: nobody is expected to close it */
  bool boxed;   /* a userdata points to it */
  void **box;   /* where that is, when no finaliser of it will come, as the state is being closed; or NULL: where ... */
                /* ... Lua lacks the memory to call one, a pointer to the userdata would outlive it */
  ListNode link; /* in the loop's handles, until that closes */
  uint64_t walk; /* the last handles_each that came by */
  size_t transit;    /* of its output on its way, at the last look (transit.c) ... */
  uint64_t patience; /* ... and how long that may still be waited for, ns */
} Handle;

/* Zeroes nothing: the block is the caller's, calloc'ed. The handle counts as closed at first. */
void handle_init(Handle *h, Loop *loop, uv_handle_t *uv, void (*destroy)(Handle *),
                 void (*shut)(Shutter *));

/* After a successful uv_*_init. */
void handle_opened(Handle *h);

/* Closes it, if it is open. Where libuv knows nothing of it, handle_gone is to follow, in another turn: who closes it
** may still have use for it. */
void handle_close(Handle *h);
void handle_gone(Handle *h);

/* The loop closes: all that libuv knows nothing of is shut, and gone. */
void handles_shut(Loop *loop);

/* Its userdata is gone. */
void handle_unbox(Handle *h);

/* Frees one that is in use by nobody. */
void handle_free(Handle *h);

/* The loop has closed, and with it all handles. Those for which no finaliser will come lose their userdata now. */
void handles_forget(Loop *loop);

/* Whether it is open, and libuv's loop would wait for it. */
static inline bool handle_counts(const Handle *h) { return h->open && (!h->uv || uv_has_ref(h->uv)); }

/* How many such users' objects have: sockets, signals, watched descriptors. */
int handles_open(const Loop *loop);

/* Whether any, the loop's own, too, is libuv's, to which something may come from outside. */
bool handles_outside(const Loop *loop);

/* Visits the open handles of a loop that are shut by that function, by which one kind knows its own. */
void handles_each(Loop *loop, void (*shut)(Shutter *), void (*visit)(Handle *h, void *arg), void *arg);

ASY_HIDDEN_END

#endif
