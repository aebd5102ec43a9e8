/*
** listener.c - listening sockets, and what they accept.
*/
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/filter.h>
#endif

#include "base/alloc.h"

/* Ending */

static void remove_file(Listener *l) {
  if (l->handle.loop && l->handle.loop->copied) return; /* the parent listens there */
  sockfile_remove(&l->file);
}

static void destroy(Handle *h) {
  Listener *l = asy_container(h, Listener, handle);
  if (l->fd >= 0) close(l->fd);
  sockfile_forget(&l->file);
  mem_free(l);
}

/* Now, not when libuv calls back: the port is free at once; and the file goes before another server could find
** it stale and take its place. */
void listener_close(Listener *l) {
  list_remove(&l->link);
  handle_close(&l->handle);
  remove_file(l);
  close(l->fd);
  l->fd = -1;
  handle_unbox(&l->handle);
}

/* The server has nothing of it any more. */
void listener_shut(Shutter *shutter) {
  listener_close(asy_container(asy_container(shutter, Handle, shutter), Listener, handle));
}

/* Listening */

#if defined(__linux__)
#define INHERITED true /* an accepted socket has the options of the listening one */
#else
#define INHERITED false
#endif

static int listen_on(const ListenOptions *options, const struct sockaddr *sa, socklen_t len) {
  int fd = socket(sa->sa_family, SOCK_STREAM, 0), on = 1;
  bool ip = sa->sa_family != AF_UNIX;
  if (fd < 0) return -errno;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  if (ip && options->reuse_address) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (ip && options->reuse_port) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (sa->sa_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (INHERITED && ip) tcp_options_set(&options->tcp, fd);
  int status = sockfile_bind(fd, sa, len, SOCK_STREAM);
  if (status || listen(fd, options->backlog)) {
    status = -errno;
    close(fd);
    return status;
  }
  return fd;
}

static Listener *new_block(Loop *loop) {
  Listener *l = mem_calloc(1, sizeof *l);
  if (!l) return NULL;
  l->fd = -1;
  list_init(&l->link);
  handle_init(&l->handle, loop, (uv_handle_t *)&l->poll, destroy, listener_shut);
  return l;
}

Listener *listener_new(Loop *loop, const ListenOptions *options, const struct sockaddr *sa, socklen_t len,
                       int *status) {
  Listener *l = new_block(loop);
  *status = UV_ENOMEM;
  if (!l) return NULL;
  *status = l->fd = listen_on(options, sa, len);
  if (l->fd >= 0) {
    if (options->cleanup_socket) sockfile_note(&l->file, sa, len);
    *status = uv_poll_init(&loop->uv, &l->poll, l->fd);
    if (*status) remove_file(l);
  }
  if (*status) {
    handle_unbox(&l->handle);
    return NULL;
  }
  handle_opened(&l->handle);
  return l;
}

Listener *listener_adopt(Loop *loop, int fd, int *status) {
  Listener *l = new_block(loop);
  *status = l ? uv_poll_init(&loop->uv, &l->poll, fd) : UV_ENOMEM;
  if (*status) {
    if (l) handle_unbox(&l->handle);
    return NULL;
  }
  l->fd = fd;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  handle_opened(&l->handle);
  return l;
}

/* Keeping out */

#if defined(__linux__)
/* The kernel drops what begins a connection, a SYN, and nothing else; such a client tries again a second later, and is
** refused. */
static bool drop_syns(int fd) {
  enum { FLAGS = 13, SYN = 2, WHOLE = 0x7fffffff }; /* of a TCP header */
  struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS),
                               BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, SYN, 0, 1),
                               BPF_STMT(BPF_RET | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, WHOLE)};
  struct sock_fprog filter = {.len = sizeof code / sizeof *code, .filter = code};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0;
}
#else
static bool drop_syns(int fd) {
  (void)fd;
  return false;
}
#endif

bool listener_keep_out(Listener *l) {
  struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
  socklen_t len = sizeof sa;
  if (l->file.path) {
    remove_file(l);
    return true;
  }
  return getsockname(l->fd, (struct sockaddr *)&sa, &len) == 0 && sa.ss_family != AF_UNIX && drop_syns(l->fd);
}

/* Accepting */

bool listener_accept(const Listener *l, Accepted *a) {
  socklen_t len = sizeof a->peer;
#if defined(__linux__)
  a->fd = accept4(l->fd, &a->peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
  a->fd = accept(l->fd, &a->peer.any, &len);
  if (a->fd >= 0) fcntl(a->fd, F_SETFD, FD_CLOEXEC);
#endif
  return a->fd >= 0;
}

void listener_set_options(const ListenOptions *options, const Accepted *a) {
  bool ip = a->peer.any.sa_family != AF_UNIX;
  if (ip && (!INHERITED || options->foreign)) tcp_options_set(&options->tcp, a->fd);
}
