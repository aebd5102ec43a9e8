/*
** input.h - receive: LuaSocket's patterns, on what has come.
*/
#ifndef ASY_FACE_INPUT_H
#define ASY_FACE_INPUT_H

#include "face/face.h"

ASY_HIDDEN

/* The method, for the socket at 1. */
int asy_face_receive(lua_State *L, FaceSocket *s);

ASY_HIDDEN_END

#endif
