/*
** sockname.h - getsockname and getpeername.
*/
#ifndef ASY_FACE_SOCKNAME_H
#define ASY_FACE_SOCKNAME_H

#include "face/face.h"

ASY_HIDDEN

/* The methods of IP sockets: address, port and family. */
int asy_face_getsockname(lua_State *L, const FaceSocket *s);
int asy_face_getpeername(lua_State *L, const FaceSocket *s);
int asy_face_getfamily(lua_State *L, const FaceSocket *s);

/* Methods of all. */
int asy_face_getfd(lua_State *L, const FaceSocket *s);
int asy_face_setfd(lua_State *L, FaceSocket *s);
int asy_face_dirty(lua_State *L, const FaceSocket *s);

ASY_HIDDEN_END

#endif
