/*
** sockfile.c - the file of a unix socket.
*/
#include "net/sockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <sys/stat.h>

#include "base/alloc.h"

static bool has_file(const struct sockaddr *sa, socklen_t len) {
  return sa->sa_family == AF_UNIX && len > offsetof(struct sockaddr_un, sun_path) &&
         *((const struct sockaddr_un *)(const void *)sa)->sun_path;
}

/* Whether a socket's file is left over: nobody has it open. (A server that listens sees a connection that is closed at
** once.) */
static bool is_stale(const struct sockaddr *sa, socklen_t len, int type) {
  const struct sockaddr_un *un = (const void *)sa;
  struct stat st;
  if (!has_file(sa, len) || lstat(un->sun_path, &st) || !S_ISSOCK(st.st_mode)) return false;
  int fd = socket(AF_UNIX, type, 0);
  if (fd < 0) return false;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  bool refused = connect(fd, sa, len) && errno == ECONNREFUSED;
  close(fd);
  return refused;
}

int sockfile_bind(int fd, const struct sockaddr *sa, socklen_t len, int type) {
  int status = bind(fd, sa, len);
  if (!status || errno != EADDRINUSE) return status;
  if (!is_stale(sa, len, type)) {
    errno = EADDRINUSE;
    return status;
  }
  unlink(((const struct sockaddr_un *)(const void *)sa)->sun_path);
  return bind(fd, sa, len);
}

void sockfile_note(SockFile *file, const struct sockaddr *sa, socklen_t len) {
  const struct sockaddr_un *un = (const void *)sa;
  struct stat st;
  if (!has_file(sa, len) || stat(un->sun_path, &st)) return;
  size_t n = len - offsetof(struct sockaddr_un, sun_path);
  if (!(file->path = mem_calloc(1, n + 1))) return;
  memcpy(file->path, un->sun_path, n);
  file->dev = st.st_dev;
  file->ino = st.st_ino;
}

void sockfile_remove(SockFile *file) {
  struct stat st;
  if (file->path && stat(file->path, &st) == 0 && st.st_dev == file->dev && st.st_ino == file->ino) unlink(file->path);
  sockfile_forget(file);
}

void sockfile_forget(SockFile *file) {
  mem_free(file->path);
  file->path = NULL;
}
