/*
** inbox.h - how other threads tell a loop something: a locked list and one uv_async.
**
** An inbox is reference-counted and may outlive its loop: posting to a closed one fails, and the
** poster keeps its message. Messages are C data in memory of the poster's.
*/
#ifndef ASY_INBOX_H
#define ASY_INBOX_H

#include "base/asy.h"

#include <uv.h>

ASY_HIDDEN

typedef struct Message {
  struct Message *next;
  void (*arrive)(struct Message *); /* called on the loop's thread, from libuv: C only */
} Message;

typedef struct Inbox Inbox;

/* One reference, or NULL. `async` is the loop's; its callback must call inbox_deliver. */
Inbox *inbox_new(uv_async_t *async);
Inbox *inbox_ref(Inbox *box);
void inbox_unref(Inbox *box);

/* From any thread. False when the loop is gone: the message stays the caller's. */
bool inbox_post(Inbox *box, Message *msg);

/* Whether something has been posted, as far as can be seen without waiting for who posts. */
bool inbox_filled(const Inbox *box);

/* From any thread: whether the loop is there still. */
bool inbox_is_open(Inbox *box);

/* On the loop's thread: hands over what has been posted. */
void inbox_deliver(Inbox *box);

/* On the loop's thread, before its async is closed: delivers what is there, takes nothing more. */
/* In a forked child: nobody holds its lock. */
void inbox_in_child(Inbox *box);
void inbox_close(Inbox *box);

ASY_HIDDEN_END

#endif
