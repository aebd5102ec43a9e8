/*
** packets.h - datagrams that wait to be taken: one behind the other in blocks of memory, so that small ones take little.
** C only.
*/
#ifndef ASY_PACKETS_H
#define ASY_PACKETS_H

#include "base/buffer.h"

#include <sys/socket.h>

ASY_HIDDEN

/* One, its sender's address behind it, and behind that its bytes. */
typedef struct Packet {
  uint32_t size;  /* of the bytes */
  uint32_t salen; /* of the address; 0: it has none */
} Packet;

typedef struct Packets {
  struct PacketBlock *first, *last;
  int n;
  uint64_t taken; /* so many have been dropped off the front: the first one's number */
} Packets;

/* A place in the line, for who looks at several; all zero: the beginning. */
typedef struct PacketPlace {
  struct PacketBlock *block;
  size_t at;
} PacketPlace;

/* What two addresses of one socket, or one, take up. */
static inline size_t packet_rounded(size_t n) { return (n + 7) & ~(size_t)7; }

static inline const struct sockaddr *packet_address(const Packet *p) { return (const void *)(p + 1); }
static inline const char *packet_bytes(const Packet *p) { return (const char *)(p + 1) + packet_rounded(p->salen); }

/* Puts a copy at the end; false when there is no memory. */
bool packets_add(Packets *q, BlockPool *pool, const struct sockaddr *sa, socklen_t salen, const char *bytes, size_t n);

/* The one at a place, which goes on to the next; NULL at the end. */
const Packet *packets_walk(const Packets *q, PacketPlace *place);

static inline const Packet *packets_first(const Packets *q) {
  PacketPlace place = {NULL, 0};
  return packets_walk(q, &place);
}

/* The first n go. */
void packets_drop(Packets *q, BlockPool *pool, int n);

/* All but the first n go; pool: NULL when it is gone itself. */
void packets_cut(Packets *q, BlockPool *pool, int n);

ASY_HIDDEN_END

#endif
