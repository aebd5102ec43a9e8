/*
** crew.h - threads of a loop's that do what may block, and may block for ever: names, files. C only.
**
** A Chore is part of a record in memory of its owner's (alloc.h), zeroed and with its three functions set. crew_add hands
** it over. From then on, until one of these has happened, its memory must stay:
**
**   done  is called on the loop's thread, from libuv: it may wake tasks, free the chore, add it or another;
**   lost  in place of done, where the loop has closed: in whatever thread finds out, so it frees, closes and no more.
**
** `work` runs in a thread that is deaf to all signals, and knows nothing but the chore: what it reads and writes is the
** chore's own until done (or lost), so what others may change or free is copied into it before.
**
** Whoever doesn't want to wait any more calls crew_leave. A chore that hasn't begun is its owner's again then, and nothing
** is called for it. One that is under way is done whole, and its owner told as before, whenever that is; but its place
** is given to another meanwhile, so that those that hang for ever hold up nobody. It is for `done` to know that nobody
** waits, and for both to give back what the work has got: a descriptor, say.
**
** Or he calls crew_forsake: nobody waits for it, but it is to be done all the same, also if it hasn't begun. For what is
** owed, output say, the crew's close waits a second, and no longer.
**
** A crew does `places` chores at once, in the order of their coming; those that were left don't count, but for the number
** of all threads, `most`. A thread with nothing to do ends after some seconds. Nothing waits for a thread:
** neither the loop's close nor the exit of the process.
*/
#ifndef ASY_CREW_H
#define ASY_CREW_H

#include "base/inbox.h"
#include "base/list.h"

ASY_HIDDEN

typedef struct Crew Crew;

typedef enum ChoreState {
  CHORE_IDLE = 0,
  CHORE_QUEUED,
  CHORE_FORSAKEN, /* likewise, and nobody waits */
  CHORE_WORKS,
  CHORE_LEFT,
  CHORE_DONE
} ChoreState;

typedef struct Chore {
  void (*work)(struct Chore *);
  void (*done)(struct Chore *);
  void (*lost)(struct Chore *);
  int no_thread; /* for done: the errno for which there was no thread, so that nothing was done; or 0 */
  /* the crew's own */
  Message message;
  ListNode link;
  Crew *crew;
  ChoreState state; /* this and `owed` under the crew's lock */
  bool owed;
  bool counted;   /* in what the crew has under way; the loop's thread alone */
} Chore;

/* For the loop of that inbox; NULL: no memory. *under_way is how many chores of its crews somebody waits for; the loop's
** thread counts there. */
Crew *crew_new(Inbox *inbox, int *under_way, int places, int most);

/* On the loop's thread, as all that follows. 0, or an errno: there is no thread and none is to be had; then the chore stays
** its owner's. */
int crew_add(Crew *c, Chore *chore);

/* The same, forsaken from the beginning: nothing of it may be looked at any more, also if the loop is about to close. */
int crew_add_forsaken(Crew *c, Chore *chore, bool owed);

/* True: it had not begun, or wasn't added at all, and is its owner's again. False: see above. Once more does nothing. */
bool crew_leave(Chore *chore);

/* Somebody waits again for one that was left, and is out. */
void crew_rejoin(Chore *chore);

/* See above; of what is not out nothing happens. Before the inbox is closed, as crew_leave. */
void crew_forsake(Chore *chore, bool owed);

/* Whether it has been added, and neither told of as done nor taken back. */
static inline bool chore_is_out(const Chore *chore) { return chore->crew != NULL; }

/* The loop closes; its inbox is closed already. Jobs that have not begun are lost. */
void crew_close(Crew *c);

/* In a forked child, where none of its threads is: what they had is never heard of again. */
void crew_in_child(Crew *c);

ASY_HIDDEN_END

#endif
