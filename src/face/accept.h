/*
** accept.h - methods of listening sockets, and of connections that aren't their bytes.
*/
#ifndef ASY_FACE_ACCEPT_H
#define ASY_FACE_ACCEPT_H

#include "face/face.h"

ASY_HIDDEN

/* What it accepts is a `client`. The socket listens, and is a `server`. */
int asy_face_accept(lua_State *L, FaceSocket *s, FaceClass client);
int asy_face_listen(lua_State *L, FaceSocket *s, FaceClass server);

int asy_face_shutdown(lua_State *L, const FaceSocket *s);
int asy_face_getstats(lua_State *L, const FaceSocket *s);
int asy_face_setstats(lua_State *L, FaceSocket *s);

ASY_HIDDEN_END

#endif
