/*
** spot.h - a descriptor of ours that tasks wait for, one to read and one to write; its owner says when it is closed.
**
** A wake-up is a hint and no more: who is woken tries again, and waits again if there was nothing. So the kernel is told
** once a wait and never asked to forget, and what it tells of a descriptor that has gone harms nobody.
*/
#ifndef ASY_SPOT_H
#define ASY_SPOT_H

#include "core/task.h"

ASY_HIDDEN

typedef enum SpotWay { SPOT_READ, SPOT_WRITE, SPOT_WAYS } SpotWay;

/* What a task is woken with. */
enum { SPOT_LATE, SPOT_READY, SPOT_CLOSED };

typedef struct Spot {
  int fd;                 /* -1: none */
  uint8_t armed;          /* the ways that the kernel will tell of, by bit */
  struct Spots *all;      /* of the loop, while any is armed; else NULL */
  uint64_t known;         /* the id of the loop whose set has had this descriptor; 0: none */
  Task *tasks[SPOT_WAYS]; /* those whose calls have parked, until these go on */
} Spot;

void spot_init(Spot *s, int fd);

/* Whether a task's call waits this way; raises BusyError then. */
bool spot_is_claimed(const Spot *s, SpotWay way);
void asy_spot_claim(lua_State *L, Spot *s, SpotWay way);

/* Suspends the task until then, or until `deadline` (ns on the loop's clock): return its value from the C function.
** The spot is memory of the userdata at idx. kind's finish and abort begin with spot_left. */
int asy_spot_park(lua_State *L, Task *t, Spot *s, SpotWay way, uint64_t deadline, const WaitKind *kind, int idx);

/* The task waits no more. False: it was the parent's, in a forked child, to whom the descriptor may be of use yet.
** C only. */
bool spot_left(Spot *s, Task *t);

/* Whoever waits is woken, and the descriptor is the caller's: to close it, or for another's use. C only. */
int spot_release(Spot *s);
void spot_close(Spot *s);

ASY_HIDDEN_END

#endif
