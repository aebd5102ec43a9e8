/*
** items.h - what a queue holds: a ring (first in, first out), a stack, or a heap. Knows nobody who waits.
**
** `queue` is the stack index, absolute, of the userdata that the items belong to. Comparisons of the heap
** run the user's code, which may fail, and may use the same queue: then what compares fails, and the items
** are as if it had not been tried.
*/
#ifndef ASY_ITEMS_H
#define ASY_ITEMS_H

#include "base/asy.h"

#include "base/list.h"

ASY_HIDDEN

typedef enum ItemsOrder { FIFO, LIFO, PRIORITY } ItemsOrder;

typedef struct Items {
  ItemsOrder order;
  lua_Integer count;
  lua_Integer head, size; /* of the ring: first item's place, from 0; places, a power of 2 */
  lua_Integer number;     /* the last running number of the heap */
  lua_Integer version;    /* counts changes: a comparison must not make any */
} Items;

/* User values of the userdata: the table of items, nil as items_nil; what goes before what, or nil. */
#define ITEMS_UV_TABLE 1
#define ITEMS_UV_COMPARE 2

extern const char items_nil;

/* Throws away what is there and says how many it was; once for new ones. */
lua_Integer asy_items_clear(lua_State *L, Items *it, int queue);

/* All but the usual cases of asy_items_add and asy_items_take. The item is on the top, and popped; pushed. */
void asy_items_add_any(lua_State *L, Items *it, int queue);
void asy_items_take_any(lua_State *L, Items *it, int queue);

/* The same, and back to where it came from, protected: false with the error in the item's place. What
** `bringer` tells of an item that is added: once it has left its line, the item is no longer wanted. */
bool asy_items_try_add(lua_State *L, Items *it, int queue, const ListNode *bringer);
bool asy_items_try_take(lua_State *L, Items *it, int queue);
bool asy_items_try_untake(lua_State *L, Items *it, int queue);

/* The place in the ring's table of the item i, from 0. */
static inline lua_Integer items_place(const Items *it, lua_Integer i) {
  return ((it->head + i) & (it->size - 1)) + 1;
}

/* Pushes what stands in the table. */
static inline void asy_items_push(lua_State *L, int table, lua_Integer i) {
  if (lua_rawgeti(L, table, i) == LUA_TLIGHTUSERDATA && lua_touserdata(L, -1) == &items_nil) {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
}

/* Adds the item at stack index `item`, where it stays. */
static inline void asy_items_add(lua_State *L, Items *it, int queue, int item) {
  if (it->order != FIFO || it->count == it->size) {
    lua_pushvalue(L, item);
    asy_items_add_any(L, it, queue);
    return;
  }
  lua_getiuservalue(L, queue, ITEMS_UV_TABLE);
  if (lua_isnil(L, item))
    lua_pushlightuserdata(L, (void *)&items_nil);
  else
    lua_pushvalue(L, item);
  lua_rawseti(L, -2, items_place(it, it->count));
  lua_pop(L, 1);
  it->count++;
  it->version++;
}

/* Pushes the item that is next and takes it off; there is one. May leave another value below it. */
static inline void asy_items_take(lua_State *L, Items *it, int queue) {
  if (it->order != FIFO) {
    asy_items_take_any(L, it, queue);
    return;
  }
  lua_getiuservalue(L, queue, ITEMS_UV_TABLE);
  asy_items_push(L, lua_gettop(L), items_place(it, 0));
  lua_pushboolean(L, 0); /* keeps the place in the table's array */
  lua_rawseti(L, -3, items_place(it, 0));
  it->head = (it->head + 1) & (it->size - 1);
  it->count--;
  it->version++;
}

ASY_HIDDEN_END

#endif
