/*
** transit.h - output on its way: what one of the loop's handles has sent and another, which reads, may not have yet.
*/
#ifndef ASY_TRANSIT_H
#define ASY_TRANSIT_H

#include "core/loop.h"

ASY_HIDDEN

/* For how long to wait for it now, in real time, ns; 0: nothing is on its way, or nothing comes of it. */
uint64_t transit_patience(Loop *loop);

/* So long has been waited, in full or until something came. False: in vain, and there is no more to wait for before
** something moves. What doesn't move itself is waited for half a second in all. */
bool transit_waited(Loop *loop, uint64_t ns, bool in_full);

ASY_HIDDEN_END

#endif
