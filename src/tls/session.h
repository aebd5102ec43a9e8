/*
** session.h - the sessions that a client keeps, to resume them: the 100 that were used last; how long a server's last.
**
** A session is found by a key that holds all it vouches for: host, port, and the name that was checked. One of TLS 1.3
** is used once, so that nobody can tell by it that two connections are the same client's; several may be kept then.
*/
#ifndef ASY_TLS_SESSION_H
#define ASY_TLS_SESSION_H

#include <openssl/ssl.h>

#include "base/asy.h"

ASY_HIDDEN

#define SESSIONS_MOST 100
#define SESSIONS_PER_KEY 4

typedef struct Sessions {
  struct SessionEntry *entries; /* the latest comes last; NULL: none yet */
  size_t n;
} Sessions;

/* Takes the session if it says true. */
bool sessions_put(Sessions *sessions, const char *key, SSL_SESSION *session);
/* One that is good still: the caller's. NULL: none. */
SSL_SESSION *sessions_take(Sessions *sessions, const char *key);
void sessions_forget(Sessions *sessions, const char *key);
void sessions_free(Sessions *sessions);

/* A server's: it isn't resumed any more once the client's certificate has expired. */
void session_limit(SSL_SESSION *session);

ASY_HIDDEN_END

#endif
