/*
** engine.h - one side of a TLS connection, sans-IO: an SSL over the bytes that each step is given.
**
** It knows neither streams nor filters nor Lua. A step that fails leaves a failure, and an alert for the peer may have
** been put; no later step does anything.
*/
#ifndef ASY_TLS_ENGINE_H
#define ASY_TLS_ENGINE_H

#include <openssl/ssl.h>

#include "tls/bio.h"
#include "tls/context.h"
#include "tls/facts.h"
#include "tls/failure.h"

ASY_HIDDEN

typedef enum EngineStep {
  ENGINE_DONE,
  ENGINE_WANT_READ, /* more bytes are needed first */
  ENGINE_WANT_SNI,  /* ... or an answer about the client's name: sni.h */
  ENGINE_END,       /* the peer has ended its output */
  ENGINE_FAILED
} EngineStep;

/* What became of a server's question which context a name takes. */
typedef enum EngineName { NAME_NOT_ASKED, NAME_ASKED, NAME_ANSWERED, NAME_REFUSED } EngineName;

typedef struct Engine {
  SSL *ssl;          /* NULL once it is retired; then ... */
  Facts past;        /* ... this is what was known */
  Context *context;  /* that of its order */
  Context *chosen;   /* a server's: that of the client's name; or NULL */
  char *name;        /* a client's: the peer's, NULL: none; a server's: what the client asks for */
  char *key;         /* a client's: of its sessions; or NULL */
  Failure *failure;  /* NULL: it hasn't failed, or there was no memory for that */
  BioState bio;
  size_t pushed;     /* of bytes that couldn't be written all */
  EngineName asked;
  bool failed;
  bool resumes;      /* a client's: it has offered a session */
} Engine;

/* `name`: a client's: what the peer's certificate must be for, where the context checks that; or NULL.
** `key`: a client's: "host:port", for resumption; or NULL. False: no memory; it is to be freed nevertheless. */
bool engine_init(Engine *engine, Context *context, bool server, const char *name, const char *key);
void engine_free(Engine *engine);

/* No step follows: frees what only steps need. */
void engine_retire(Engine *engine);

EngineStep engine_shake(Engine *engine, EngineIo *io);
/* At most `room` plain bytes; DONE: at least one. */
EngineStep engine_read(Engine *engine, EngineIo *io, char *to, size_t room, size_t *got);
/* All of them, where it is DONE; asked again after anything else it must be the same ones. */
EngineStep engine_write(Engine *engine, EngineIo *io, const char *bytes, size_t n);
/* Puts close_notify; does not wait for the peer's. */
EngineStep engine_finish(Engine *engine, EngineIo *io);

/* The context that counts for it. */
static inline Context *engine_context(const Engine *e) { return e->chosen ? e->chosen : e->context; }

ASY_HIDDEN_END

#endif
