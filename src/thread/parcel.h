/*
** parcel.h - a message of the codec in a Buffer, with what it holds references to.
*/
#ifndef ASY_PARCEL_H
#define ASY_PARCEL_H

#include "thread/codec.h"

ASY_HIDDEN

/* stack: ..., n values → ...; never raises. False: nothing is held, and the error is pushed. */
bool asy_parcel_pack(lua_State *L, int n, CodecWhat what, Buffer *parcel);

/* Pushes the values and says how many; frees the parcel whatever comes. May raise. */
int asy_parcel_unpack(lua_State *L, Buffer *parcel);

/* Lets go of what it refers to; the memory is kept for the next one, unless that is a lot. */
void parcel_clear(Buffer *parcel);

/* The same, and gives the memory back. From any thread. */
void parcel_free(Buffer *parcel);
void parcel_free_into(Buffer *parcel, ListNode *dead); /* as for codec_release */

ASY_HIDDEN_END

#endif
