/*
** words.h - what OpenSSL's reasons mean, in sentences for people.
*/
#ifndef ASY_TLS_WORDS_H
#define ASY_TLS_WORDS_H

#include "base/asy.h"

ASY_HIDDEN

/* NULL: it has none of its own. */
const char *words_of(int library, int reason);

/* The name of a reason that some releases have no words for; or NULL. */
const char *words_name(int library, int reason);

ASY_HIDDEN_END

#endif
