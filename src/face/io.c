/*
** io.c - one system call on a socket, and what LuaSocket calls its errors.
*/
#include "face/io.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#if !defined(MSG_NOSIGNAL)
#define MSG_NOSIGNAL 0
#endif

static int open_plain(int family, int type, int protocol) {
#if defined(SOCK_CLOEXEC)
  int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  return fd < 0 ? -errno : fd;
#else
  int fd = socket(family, type, protocol);
  if (fd < 0) return -errno;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
#if defined(SO_NOSIGPIPE)
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
  return fd;
#endif
}

/* One of IPv6 takes no IPv4, as LuaSocket has it. */
int face_open_socket(int family, int type, int protocol) {
  int fd = open_plain(family, type, protocol), on = 1;
  if (fd >= 0 && family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  return fd;
}

static int plain_recv(FaceSocket *s, char *to, size_t room, size_t *got) {
  ssize_t n;
  if (s->spot.fd < 0) return FACE_CLOSED;
  do n = recv(s->spot.fd, to, room, 0);
  while (n < 0 && errno == EINTR);
  if (n > 0) {
    *got = (size_t)n;
    return FACE_DONE;
  }
  return n == 0 ? FACE_CLOSED : errno == EAGAIN || errno == EWOULDBLOCK ? FACE_WANTS_READ : errno;
}

static int plain_send(FaceSocket *s, const char *bytes, size_t n, size_t *put) {
  ssize_t sent;
  if (s->spot.fd < 0) return FACE_CLOSED;
  do sent = send(s->spot.fd, bytes, n, MSG_NOSIGNAL);
  while (sent < 0 && (errno == EINTR || errno == EPROTOTYPE));
  if (sent >= 0) {
    *put = (size_t)sent;
    return FACE_DONE;
  }
  return errno == EPIPE ? FACE_CLOSED : errno == EAGAIN || errno == EWOULDBLOCK ? FACE_WANTS_WRITE : errno;
}

const char *face_words(int result) {
  switch (result) {
  case FACE_DONE: return NULL;
  case FACE_CLOSED: case ECONNABORTED: case ECONNRESET: return "closed";
  case FACE_TIMEOUT: case FACE_WANTS_READ: case FACE_WANTS_WRITE: case ETIMEDOUT: return "timeout";
  case EADDRINUSE: return "address already in use";
  case EISCONN: return "already connected";
  case EACCES: return "permission denied";
  case ECONNREFUSED: return "connection refused";
  default: return strerror(result);
  }
}

const char *face_gai_words(int eai) {
  switch (eai) {
  case 0: return NULL;
  case EAI_AGAIN: return "temporary failure in name resolution";
  case EAI_BADFLAGS: return "invalid value for ai_flags";
  case EAI_FAIL: return "non-recoverable failure in name resolution";
  case EAI_FAMILY: return "ai_family not supported";
  case EAI_MEMORY: return "memory allocation failure";
  case EAI_NONAME: return "host or service not provided, or not known";
#if defined(EAI_OVERFLOW)
  case EAI_OVERFLOW: return "argument buffer overflow";
#endif
  case EAI_SERVICE: return "service not supported for socket type";
  case EAI_SOCKTYPE: return "ai_socktype not supported";
  case EAI_SYSTEM: return strerror(errno);
  default: return gai_strerror(eai);
  }
}

int asy_face_fail(lua_State *L, int result) {
  lua_pushnil(L);
  lua_pushstring(L, face_words(result));
  return 2;
}

static const char *plain_words(FaceSocket *s, int result) {
  (void)s;
  return face_words(result);
}

const FaceIo face_plain = {plain_recv, plain_send, plain_words};
