/*
** sockfile.h - the file of a unix socket: left over by who has gone, noted, removed.
*/
#ifndef ASY_SOCKFILE_H
#define ASY_SOCKFILE_H

#include "net/address.h"

#include <sys/types.h>

ASY_HIDDEN

/* One that is to go with its socket, known by device and inode. */
typedef struct SockFile {
  char *path; /* NULL: there is none */
  dev_t dev;
  ino_t ino;
} SockFile;

/* Binds a socket of that type (SOCK_STREAM); to the place of a file that is left over, where there is one. 0 or -1 with
** errno. */
int sockfile_bind(int fd, const struct sockaddr *sa, socklen_t len, int type);

/* Notes the file of a socket that has just been bound there. Without memory it is left to lie. */
void sockfile_note(SockFile *file, const struct sockaddr *sa, socklen_t len);

/* Removes it, if it is still that one; and forgets it. */
void sockfile_remove(SockFile *file);
void sockfile_forget(SockFile *file);

ASY_HIDDEN_END

#endif
