/*
** curve.h - elliptic curves by name.
*/
#ifndef ASY_SEC_CURVE_H
#define ASY_SEC_CURVE_H

#include "base/asy.h"

ASY_HIDDEN

/* Functions of ssl.context: setcurve(context, name), setcurveslist(context, "name:name"). */
int asy_curve_set(lua_State *L);
int asy_curve_setlist(lua_State *L);

void asy_curve_push(lua_State *L); /* pushes config.curves */

ASY_HIDDEN_END

#endif
