/*
** place.c - where the sockets of monitors are: in $XDG_RUNTIME_DIR/asyncio, else in /tmp/asyncio-UID.
*/
#include "dev/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The folder */

static int fail(char why[PLACE_WHY], int status, const char *words, const char *path) {
  snprintf(why, PLACE_WHY, words, path);
  return status;
}

/* Opened, not looked at: what is checked is what is used. */
static int check_folder(const char *path, char why[PLACE_WHY]) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), status = 0;
  if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
    return fail(why, ENOTDIR, "the folder of monitors, '%s', is a link or no folder", path);
  if (fd < 0 || fstat(fd, &st))
    status = fail(why, errno, "open the folder of monitors, '%s'", path);
  else if (st.st_uid != geteuid())
    status = fail(why, EPERM, "the folder of monitors, '%s', is another user's", path);
  else if ((st.st_mode & 0777) != 0700 && fchmod(fd, 0700))
    status = fail(why, errno, "chmod of the folder of monitors, '%s'", path);
  if (fd >= 0) close(fd);
  return status;
}

static void folder_path(char *path, size_t size) {
  const char *runtime = getenv("XDG_RUNTIME_DIR");
  struct stat st;
  if (runtime && *runtime == '/' && stat(runtime, &st) == 0 && st.st_uid == geteuid())
    snprintf(path, size, "%s/asyncio", runtime);
  else
    snprintf(path, size, "/tmp/asyncio-%lu", (unsigned long)geteuid());
}

int place_of_process(char *path, size_t size, char why[PLACE_WHY]) {
  char folder[1024];
  folder_path(folder, sizeof folder);
  if (mkdir(folder, 0700) && errno != EEXIST)
    return fail(why, errno, "make the folder of monitors, '%s'", folder);
  int status = check_folder(folder, why);
  if (status) return status;
  int n = snprintf(path, size, "%s/%ld.sock", folder, (long)getpid());
  if (n > 0 && (size_t)n < size) return 0;
  return fail(why, ENAMETOOLONG, "the socket of a monitor in '%s'", folder);
}

/* The socket */

static int fill_address(struct sockaddr_un *address, const char *path) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  if (strlen(path) >= sizeof address->sun_path) return ENAMETOOLONG;
  memcpy(address->sun_path, path, strlen(path));
  return 0;
}

static int new_socket(void) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return -1;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

/* Whether it is a socket of ours at which nobody listens. */
static bool is_stale(const struct sockaddr_un *address) {
  struct stat st;
  if (lstat(address->sun_path, &st) || !S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
    return false;
  int fd = new_socket();
  if (fd < 0) return false;
  bool stale =
      connect(fd, (const struct sockaddr *)address, sizeof *address) && errno == ECONNREFUSED;
  close(fd);
  return stale;
}

int place_listen(const char *path, char why[PLACE_WHY]) {
  struct sockaddr_un address;
  if (fill_address(&address, path))
    return -fail(why, ENAMETOOLONG, "the socket of a monitor at '%s'", path);
  int fd = new_socket(), status = 0;
  if (fd < 0) return -fail(why, errno, "the socket of a monitor at '%s'", path);
  fchmod(fd, 0600); /* on Linux the file's mode comes of it */
  const struct sockaddr *any = (const struct sockaddr *)&address;
  if (bind(fd, any, sizeof address)) {
    status = errno;
    if (status == EADDRINUSE && is_stale(&address) && !unlink(path))
      status = bind(fd, any, sizeof address) ? errno : 0;
  }
  if (!status && (chmod(path, 0600) || listen(fd, 16))) {
    status = errno;
    unlink(path);
  }
  if (!status) return fd;
  close(fd);
  return -fail(why, status, "listen at '%s'", path);
}

bool place_is_ours(int fd) {
#if defined(SO_PEERCRED)
  struct ucred who;
  socklen_t n = sizeof who;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n)) return false;
  return who.uid == geteuid() || who.uid == 0;
#else
  uid_t uid;
  gid_t gid;
  if (getpeereid(fd, &uid, &gid)) return false;
  return uid == geteuid() || uid == 0;
#endif
}
