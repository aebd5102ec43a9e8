/*
** packets.c - datagrams that wait to be taken.
*/
#include "net/packets.h"

#include <string.h>

#include "base/alloc.h"

typedef struct PacketBlock {
  struct PacketBlock *next;
  size_t start, end, size; /* packets are at [start..end) of it */
} PacketBlock;

static size_t length_of(const Packet *p) { return sizeof *p + packet_rounded(p->salen) + packet_rounded(p->size); }

static Packet *packet_at(PacketBlock *b, size_t at) { return (void *)((char *)b + at); }

static PacketBlock *new_block(BlockPool *pool, size_t need, size_t former) {
  Buffer b;
  size_t least = need > 2 * former ? need : 2 * former, size = buffer_block_for(least);
  if (!buffer_take_block(&b, pool, size < need ? need : size)) return NULL;
  PacketBlock *block = (void *)b.data;
  *block = (PacketBlock){.start = sizeof *block, .end = sizeof *block, .size = b.size};
  return block;
}

static void free_block(PacketBlock *block, BlockPool *pool) {
  Buffer b = {.data = (char *)block, .size = block->size};
  if (pool)
    buffer_give_back(&b, pool);
  else
    buffer_free(&b);
}

bool packets_add(Packets *q, BlockPool *pool, const struct sockaddr *sa, socklen_t salen, const char *bytes, size_t n) {
  Packet p = {.size = (uint32_t)n, .salen = salen};
  size_t length = length_of(&p);
  PacketBlock *b = q->last;
  if (!b || b->size - b->end < length) {
    PacketBlock *fresh = new_block(pool, sizeof *b + length, b ? b->size : 0);
    if (!fresh) return false;
    if (b) b->next = fresh; else q->first = fresh;
    q->last = b = fresh;
  }
  Packet *at = packet_at(b, b->end);
  *at = p;
  if (salen) memcpy(at + 1, sa, salen);
  if (n) memcpy((char *)(at + 1) + packet_rounded(salen), bytes, n);
  b->end += length;
  q->n++;
  return true;
}

const Packet *packets_walk(const Packets *q, PacketPlace *place) {
  if (!place->block) {
    if (!q->first) return NULL;
    *place = (PacketPlace){q->first, q->first->start};
  }
  if (place->at == place->block->end) {
    if (!place->block->next) return NULL;
    *place = (PacketPlace){place->block->next, place->block->next->start};
  }
  const Packet *p = packet_at(place->block, place->at);
  place->at += length_of(p);
  return p;
}

void packets_drop(Packets *q, BlockPool *pool, int n) {
  asy_assert(n <= q->n);
  q->n -= n;
  q->taken += (uint64_t)n;
  while (n-- > 0) {
    PacketBlock *b = q->first;
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): n is of those that there are
    b->start += length_of(packet_at(b, b->start));
    if (b->start < b->end) continue;
    if (!(q->first = b->next)) q->last = NULL;
    free_block(b, pool);
  }
}

void packets_cut(Packets *q, BlockPool *pool, int n) {
  PacketPlace place = {NULL, 0};
  if (n >= q->n) return;
  for (int i = 0; i < n; i++) packets_walk(q, &place);
  PacketBlock *last = n ? place.block : NULL, *b = last ? last->next : q->first;
  for (PacketBlock *next; b; b = next) {
    next = b->next;
    free_block(b, pool);
  }
  if (last) {
    last->next = NULL;
    last->end = place.at;
  } else
    q->first = NULL;
  q->last = last;
  q->n = n;
}
