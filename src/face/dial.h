/*
** dial.h - a socket gets an address: its own (bind), or its peer's (connect), the first of several that will do.
*/
#ifndef ASY_FACE_DIAL_H
#define ASY_FACE_DIAL_H

#include "face/face.h"

ASY_HIDDEN

/* Ends what is tried. C only. */
void dial_free(FaceSocket *s);

/* What is called in the end: pushes what the call returns. result: 0, or what LuaSocket calls the error. */
typedef int DialEnd(lua_State *L, FaceSocket *s, const char *error);

/* The socket, at `idx`, is to be bound to, or connected with, host and port, texts at idx + 1 and idx + 2. Returns what
** the call does. type: SOCK_STREAM or SOCK_DGRAM. */
int asy_dial_bind(lua_State *L, FaceSocket *s, int idx, int type, int family, DialEnd *end);
int asy_dial_connect(lua_State *L, FaceSocket *s, int idx, int type, DialEnd *end);

/* For addresses that aren't looked up: of AF_UNIX. */
int asy_dial_connect_to(lua_State *L, FaceSocket *s, const struct sockaddr *sa, socklen_t len, DialEnd *end);

ASY_HIDDEN_END

#endif
