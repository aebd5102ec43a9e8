/*
** address.h - socket addresses: a sockaddr to C, a table {host=, port=, family=} to Lua.
*/
#ifndef ASY_ADDRESS_H
#define ASY_ADDRESS_H

#include "base/asy.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

ASY_HIDDEN

#define ASY_ADDRESS_TEXT (sizeof(struct sockaddr_un) + 32) /* room for one in words */

/* The address of an IP peer; room for no other. */
typedef union IpAddress {
  struct sockaddr any;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
} IpAddress;

/* Pushes the table of an address; nil for a family that isn't known. */
void asy_address_push(lua_State *L, const struct sockaddr *sa, socklen_t len);

/* The address in a table at idx, or an argument error. → its length */
socklen_t asy_address_check(lua_State *L, int idx, struct sockaddr_storage *sa);

/* Writes it in words: "127.0.0.1:80", "[::1]:80", a path. */
void address_text(const struct sockaddr *sa, socklen_t len, char *text);

ASY_HIDDEN_END

#endif
