/*
** io.h - one system call on a socket, or what stands for it.
*/
#ifndef ASY_FACE_IO_H
#define ASY_FACE_IO_H

#include "face/face.h"

ASY_HIDDEN

extern const FaceIo face_plain; /* the kernel's sockets */

/* A socket that doesn't block and that programs don't inherit; a negative errno. */
int face_open_socket(int family, int type, int protocol);

/* What LuaSocket calls an errno, or one of ours; of EAI_*. NULL for 0. */
const char *face_words(int result);
const char *face_gai_words(int eai);

/* Pushes nil and what it was: 2. */
int asy_face_fail(lua_State *L, int result);

ASY_HIDDEN_END

#endif
