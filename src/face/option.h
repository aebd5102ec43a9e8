/*
** option.h - setoption and getoption.
*/
#ifndef ASY_FACE_OPTION_H
#define ASY_FACE_OPTION_H

#include "face/face.h"

ASY_HIDDEN

/* Whose options, by bit. */
enum { OPTIONS_TCP = 1, OPTIONS_UDP = 2, OPTIONS_STREAM = 4, OPTIONS_DGRAM = 8 };

/* The methods: the option's name is at 2, its value at 3. */
int asy_option_set(lua_State *L, FaceSocket *s, int whose);
int asy_option_get(lua_State *L, FaceSocket *s, int whose);

ASY_HIDDEN_END

#endif
