/*
** link.h - one side of a TLS connection on a descriptor: an SSL, as face/secure.h wants it.
*/
#ifndef ASY_SEC_LINK_H
#define ASY_SEC_LINK_H

#include "face/secure.h"
#include "sec/context.h"

ASY_HIDDEN

#define LINK_CONTEXT 1 /* user values: its context; ... */
#define LINK_NAMES 2   /* ... a server's: name → context; ... */
#define LINK_LIST 3    /* ... the same as a LinkName[] */
#define LINK_VALUES 3

#define LINK_NAME_MOST 255 /* bytes */

typedef struct LinkName {
  const char *name;
  const SecContext *context;
} LinkName;

/* What was wrong with a certificate. */
typedef struct LinkNote {
  int depth, error;
} LinkNote;

typedef struct Link {
  Secure secure;
  SSL *ssl;        /* NULL: it has ended */
  SecMode mode;
  int fd;          /* of the step under way */
  bool shaken;
  bool cut;        /* the descriptor has ended */
  bool no_memory;
  const char *why; /* it failed; OpenSSL's words, or NULL */
  LinkNote *notes;
  size_t nnotes;
  const LinkName *names; /* in LINK_LIST */
  size_t nnames;
  bool strict;
  char name[LINK_NAME_MOST + 1]; /* a server's: what the client asks for */
  unsigned char *offered, *chosen; /* a server's: protocols of the client, and of its function's answer; or NULL */
  unsigned noffered, nchosen;
  bool asked;      /* the function */
} Link;

/* create(context) → a Secure of its mode, or nil and a sentence */
int asy_link_create(lua_State *L);

/* The Link of the connection at idx; one that hasn't ended. The second: NULL, and nil and "closed" are pushed. */
Link *asy_link_check(lua_State *L, int idx);
Link *asy_link_open(lua_State *L);

/* OpenSSL's callbacks. */
int link_hello(SSL *ssl, int *alert, void *arg);
int link_select_alpn(SSL *ssl, const unsigned char **out, unsigned char *nout, const unsigned char *in, unsigned nin,
                     void *arg);
int link_choose(SSL *ssl, int *alert, void *arg);

/* False: no memory. */
bool link_note(Link *link, int depth, int error);

/* Makes the class, and what all links of the state share. */
void asy_link_open_class(lua_State *L);

ASY_HIDDEN_END

#endif
