/*
** place.h - where the sockets of monitors are. C only.
*/
#ifndef ASY_PLACE_H
#define ASY_PLACE_H

#include "base/asy.h"

ASY_HIDDEN

#define PLACE_WHY 1200 /* room for what was to be done, or is wrong */

/* Writes the path for this process, and makes its folder, which is this user's alone. 0, or an errno, and why. */
int place_of_process(char *path, size_t size, char why[PLACE_WHY]);

/* A socket that listens there, for this user alone; one that nobody has any more is replaced. The descriptor, or an errno
** below 0, and why. */
int place_listen(const char *path, char why[PLACE_WHY]);

/* Whether the other side is this user, or root. */
bool place_is_ours(int fd);

ASY_HIDDEN_END

#endif
