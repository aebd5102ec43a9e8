/*
** peer.c - the addresses of a connection: noted, or the kernel's word.
*/
#include "net/peer.h"

#include <string.h>

void peer_note(Stream *s, const struct sockaddr *sa) {
  if (sa->sa_family == AF_INET) memcpy(&s->peer, sa, sizeof s->peer.in);
  if (sa->sa_family == AF_INET6) memcpy(&s->peer, sa, sizeof s->peer.in6);
}

/* Asks the kernel. */
static bool get_name(const Stream *s, bool peer, struct sockaddr_storage *sa, socklen_t *n) {
  int fd;
  return s->handle.open && uv_fileno(&s->uv.handle, &fd) == 0 &&
         (peer ? getpeername : getsockname)(fd, (struct sockaddr *)sa, n) == 0;
}

void peer_text(const Stream *s, char *text) {
  struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
  socklen_t n = sizeof sa;
  *text = 0;
  if (s->peer.any.sa_family)
    address_text(&s->peer.any, sizeof s->peer, text);
  else if (get_name(s, true, &sa, &n))
    address_text((struct sockaddr *)&sa, n, text);
}

bool asy_peer_push(lua_State *L, const Stream *s, bool peer) {
  struct sockaddr_storage sa;
  socklen_t n = sizeof sa;
  if (peer && s->peer.any.sa_family)
    asy_address_push(L, &s->peer.any, sizeof s->peer);
  else if (get_name(s, peer, &sa, &n))
    asy_address_push(L, (struct sockaddr *)&sa, n);
  else
    return false;
  return true;
}
