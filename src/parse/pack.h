/*
** pack.h - limits that hold where the caller says none.
*/
#ifndef ASY_PARSE_PACK_H
#define ASY_PARSE_PACK_H

#define PACK_MOST ((lua_Integer)1 << 24) /* bytes */

#endif
