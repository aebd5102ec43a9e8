/*
** face.h - a socket of asyncio.socket: LuaSocket's objects, by their classes.
*/
#ifndef ASY_FACE_H
#define ASY_FACE_H

#include "base/buffer.h"
#include "face/result.h"
#include "face/spot.h"

ASY_HIDDEN

struct FaceSocket;
struct Secure;

/* What carries a socket's bytes: the kernel (face_plain), or something between, such as TLS. C only. */
typedef struct FaceIo {
  int (*recv)(struct FaceSocket *s, char *to, size_t room, size_t *got); /* one byte at least where it is DONE */
  int (*send)(struct FaceSocket *s, const char *bytes, size_t n, size_t *put);
  const char *(*words)(struct FaceSocket *s, int result); /* what a call says of it; NULL for DONE */
} FaceIo;

typedef enum FaceClass {
  FACE_NONE,
  TCP_MASTER,
  TCP_CLIENT,
  TCP_SERVER,
  UDP_UNCONNECTED,
  UDP_CONNECTED,
  STREAM_MASTER,
  STREAM_CLIENT,
  STREAM_SERVER,
  DGRAM_UNCONNECTED,
  DGRAM_CONNECTED,
  SECURE_CONNECTION, /* LuaSec's; user value 1: its Secure */
  FACE_CLASSES
} FaceClass;

/* Those of one kind, which stand side by side. */
#define TCP_ANY TCP_MASTER, TCP_SERVER
#define UDP_ANY UDP_UNCONNECTED, UDP_CONNECTED
#define STREAM_ANY STREAM_MASTER, STREAM_SERVER
#define DGRAM_ANY DGRAM_UNCONNECTED, DGRAM_CONNECTED

typedef struct FaceSocket {
  Spot spot;
  const FaceIo *io;
  int family;          /* AF_UNSPEC: it has no descriptor before it is used */
  double block, total; /* seconds; negative: no limit */
  Buffer in;           /* what has come and was not taken */
  uint64_t takes;      /* how often something was taken of it */
  size_t searched;     /* so much of it has no newline, as a call has found that waits now */
  double received, sent, born;
  struct Dial *dial;   /* the addresses that a call tries, or NULL */
  unsigned ends;       /* how often it was closed */
  struct Secure *secure; /* what encrypts; or NULL */
} FaceSocket;

/* Makes the classes from first to last, which have the names of LuaSocket's. */
void asy_face_classes(lua_State *L, FaceClass first, FaceClass last, const luaL_Reg *methods);

/* The userdata of that class, or of one of those, at 1; raises as LuaSocket does. */
FaceSocket *asy_face_check(lua_State *L, FaceClass cls);
FaceSocket *asy_face_check_any(lua_State *L, FaceClass first, FaceClass last);

/* Pushes a new one, with this descriptor or -1. It is `cls` from now on: the one at idx. */
FaceSocket *asy_face_new(lua_State *L, FaceClass cls, int fd, int family);
void asy_face_become(lua_State *L, int idx, FaceClass cls);
void asy_face_pushmeta(lua_State *L, FaceClass cls); /* pushes a class's metatable */

/* What a function returns that makes one: with a socket of its own, or, with AF_UNSPEC, without one yet. */
int asy_face_open(lua_State *L, FaceClass cls, int family, int type);

/* The method `close`, of all. */
int asy_face_close(lua_State *L);
void face_end(FaceSocket *s); /* C only */

ASY_HIDDEN_END

#endif
