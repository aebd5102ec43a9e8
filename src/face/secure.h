/*
** secure.h - what encrypts a socket's bytes, for the objects of LuaSec's interface: a Secure.
**
** It is a userdata of the class SECURE, may come from another shared object, and is reached by its SecureOps alone. Each
** step is one that does not wait: it works on the descriptor as far as the kernel takes and has bytes.
*/
#ifndef ASY_FACE_SECURE_H
#define ASY_FACE_SECURE_H

#include "base/asy.h"
#include "face/result.h"

ASY_HIDDEN

#define SECURE "asyncio.Secure" /* the class */
#define SECURE_ABI 1            /* changes with anything that stands here */

struct Secure;

typedef struct SecureOps {
  unsigned abi; /* SECURE_ABI */
  /* Goes on with the handshake; may call Lua, and raise what that raises. DONE, also when it is over already. */
  int (*shake)(lua_State *L, struct Secure *s, int fd);
  int (*recv)(struct Secure *s, int fd, char *to, size_t room, size_t *got);
  int (*send)(struct Secure *s, int fd, const char *bytes, size_t n, size_t *put);
  const char *(*words)(const struct Secure *s); /* after FAILED; may be NULL */
  const char *(*wants)(const struct Secure *s);
  bool (*holds)(const struct Secure *s); /* plain bytes that need no more raw ones */
  void (*end)(struct Secure *s, int fd); /* tells the peer, and frees all; no more steps. May be called again */
  bool (*ended)(const struct Secure *s);
} SecureOps;

/* The first field of every such userdata. */
typedef struct Secure {
  const SecureOps *ops;
} Secure;

ASY_HIDDEN_END

#endif
