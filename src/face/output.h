/*
** output.h - send: all of a string, or a part.
*/
#ifndef ASY_FACE_OUTPUT_H
#define ASY_FACE_OUTPUT_H

#include "face/face.h"

ASY_HIDDEN

/* The method, for the socket at 1. */
int asy_face_send(lua_State *L, FaceSocket *s);

ASY_HIDDEN_END

#endif
