/*
** names.h - hosts and services looked up, in a thread where that may take time.
*/
#ifndef ASY_FACE_NAMES_H
#define ASY_FACE_NAMES_H

#include <netdb.h>

#include "core/errand.h"

ASY_HIDDEN

typedef enum Question {
  NAMES_ADDRESSES, /* getaddrinfo */
  NAMES_OF,        /* ... and then getnameinfo of each */
  NAMES_HOST       /* gethostbyname, or of an address gethostbyaddr */
} Question;

typedef struct Names {
  Errand errand; /* first */
  Question question;
  int status;    /* EAI_*; of NAMES_HOST h_errno */
  struct addrinfo hints, *list;
  const char *host, *service; /* in this block; or NULL */
  char (*names)[NI_MAXHOST];  /* NAMES_OF, one for each address */
  char last_service[NI_MAXSERV];
  struct hostent entry, *found; /* NAMES_HOST */
  char *room;
  void *owner;   /* a block of who asks, which is freed with it; or NULL */
} Names;

/* A question: host or service may be NULL. Its results function is called where only results are waited for. */
Names *asy_names_new(lua_State *L, Question question, const char *host, const char *service);
void names_free(Names *n);

/* Answers it at once if it can be, or where no loop runs. Otherwise false: then return
** asy_errand_run(L, *t, &n->errand, CREW_LOOKUPS, kind), on top of what is named in an error. Raises, and frees it, where
** nothing can wait. */
bool asy_names_ask(lua_State *L, Names *n, Task **t);

/* The table `dns`, pushed. */
void asy_names_dns(lua_State *L);

ASY_HIDDEN_END

#endif
