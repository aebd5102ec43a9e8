/*
** load.h - what a context has from files, or from texts in PEM's form: certificates, keys, authorities, lists of
** what was revoked.
*/
#ifndef ASY_TLS_LOAD_H
#define ASY_TLS_LOAD_H

#include "tls/context.h"
#include "tls/failure.h"

ASY_HIDDEN

/* A path, or the contents; NULL: it isn't given. */
typedef struct LoadText {
  const char *text;
  size_t n;
} LoadText;

/* Each changes the context only where it says true; else the failure says why. Secrets stand in no failure. */
bool load_chain(Context *context, LoadText cert, LoadText key, LoadText password, Failure *failure);
/* `path`: it may be one. */
bool load_authorities(Context *context, LoadText file, bool path, Failure *failure);
bool load_directory(Context *context, const char *path, Failure *failure);
bool load_crl(Context *context, LoadText file, Failure *failure);
/* A file that the secrets of its connections are added to, so that others can read what passes. */
bool load_keylog(Context *context, const char *path, Failure *failure);

ASY_HIDDEN_END

#endif
