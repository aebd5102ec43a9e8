/*
** signals.h - the names of signals.
*/
#ifndef ASY_SIGNALS_H
#define ASY_SIGNALS_H

#include "base/asy.h"

ASY_HIDDEN

#define SIGNAL_MOST 64 /* the highest number */

/* "SIGTERM"; NULL: it has no name. */
const char *signal_name(int number);
/* 0: there is none of that name. */
int signal_number(const char *name);

ASY_HIDDEN_END

#endif
