/*
** items.c - rings, stacks and heaps of items.
**
** Items stand in a table, the heap's in pairs item, running number. The heap's comparisons may run Lua and
** fail: each change first finds its way, then moves.
*/
#include "sync/items.h"

#include <limits.h>

#define MAX_DEPTH 64

const char items_nil = 0;

/* stack: ..., item → ... */
static void set_item(lua_State *L, int items, lua_Integer i) {
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushlightuserdata(L, (void *)&items_nil);
  }
  lua_rawseti(L, items, i);
}

static void clear(lua_State *L, int items, lua_Integer i) {
  lua_pushboolean(L, 0); /* keeps the place in the table's array */
  lua_rawseti(L, items, i);
}

/* Code of the user's that runs in the middle of a change must not make another. */
static void check_unchanged(lua_State *L, const Items *it, lua_Integer version) {
  if (it->version != version) luaL_error(L, "the queue was used while it was being changed");
}

lua_Integer asy_items_clear(lua_State *L, Items *it, int queue) {
  lua_newtable(L);
  lua_setiuservalue(L, queue, ITEMS_UV_TABLE);
  lua_Integer count = it->count;
  it->count = it->head = it->size = 0;
  it->version++;
  return count;
}

/* The ring */

/* Makes the ring twice as large, unless a finaliser uses the queue while it gets the memory: then the
** table of items may be another, but nothing else has been done. */
static void ring_grow(lua_State *L, Items *it, int queue, int items) {
  lua_Integer size = it->size ? 2 * it->size : 8, version = it->version;
  if (size > INT_MAX) luaL_error(L, "the queue is too large");
  lua_createtable(L, (int)size, 0);
  int bigger = lua_gettop(L);
  if (it->version != version) {
    lua_pop(L, 1);
    lua_getiuservalue(L, queue, ITEMS_UV_TABLE);
    lua_replace(L, items);
    return;
  }
  for (lua_Integer i = 0; i < size; i++) {
    if (i < it->count)
      lua_rawgeti(L, items, items_place(it, i));
    else
      lua_pushboolean(L, 0);
    lua_rawseti(L, bigger, i + 1);
  }
  lua_pushvalue(L, bigger);
  lua_setiuservalue(L, queue, ITEMS_UV_TABLE);
  lua_replace(L, items);
  it->head = 0;
  it->size = size;
}

/* The heap */

/* A table that `<` can't compare. */
static bool plain_table(lua_State *L, int idx) {
  if (!lua_istable(L, idx)) return false;
  if (luaL_getmetafield(L, idx, "__lt") == LUA_TNIL) return true;
  lua_pop(L, 1);
  return false;
}

static bool less(lua_State *L, int queue, int a, int b) {
  if (lua_getiuservalue(L, queue, ITEMS_UV_COMPARE) != LUA_TNIL) {
    lua_pushvalue(L, a);
    lua_pushvalue(L, b);
    lua_call(L, 2, 1);
    bool result = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return result;
  }
  lua_pop(L, 1);
  if (plain_table(L, a) && plain_table(L, b)) {
    lua_geti(L, a, 1);
    lua_geti(L, b, 1);
    bool result = lua_compare(L, -2, -1, LUA_OPLT);
    lua_pop(L, 2);
    return result;
  }
  return lua_compare(L, a, b, LUA_OPLT);
}

/* Whether the item at stack index a, with number na, goes before the heap's i-th. */
static bool before(lua_State *L, int queue, int items, int a, lua_Integer na, lua_Integer i) {
  asy_items_push(L, items, 2 * i - 1);
  int b = lua_gettop(L);
  bool result = less(L, queue, a, b);
  if (!result && !less(L, queue, b, a)) {
    lua_rawgeti(L, items, 2 * i);
    result = na < lua_tointeger(L, -1);
  }
  lua_settop(L, b - 1);
  return result;
}

static void heap_copy(lua_State *L, int items, lua_Integer from, lua_Integer to) {
  for (int k = 0; k < 2; k++) {
    lua_rawgeti(L, items, 2 * from - k);
    lua_rawseti(L, items, 2 * to - k);
  }
}

/* stack: ..., item → ... */
static void heap_push(lua_State *L, Items *it, int queue, int items, const ListNode *bringer) {
  lua_Integer i = it->count + 1, place = i, version = it->version, number = it->number + 1;
  int item = lua_gettop(L);
  for (; place > 1 && before(L, queue, items, item, number, place / 2); place /= 2) continue;
  check_unchanged(L, it, version);
  if (bringer && !list_linked(bringer)) luaL_error(L, "who brings the item no longer waits");
  for (int k = 0; k < 2; k++) clear(L, items, 2 * i - k); /* may raise: before anything has moved */
  for (; i > place; i /= 2) heap_copy(L, items, i / 2, i);
  lua_pushinteger(L, number);
  lua_rawseti(L, items, 2 * place);
  set_item(L, items, 2 * place - 1);
  it->number = number;
}

/* Pushes the first item and takes it off. */
static void heap_pop(lua_State *L, Items *it, int queue, int items) {
  lua_Integer path[MAX_DEPTH], n = it->count - 1, i = 1, version = it->version;
  int depth = 0;
  asy_items_push(L, items, 1);
  asy_items_push(L, items, 2 * it->count - 1);
  int last = lua_gettop(L);
  lua_rawgeti(L, items, 2 * it->count);
  lua_Integer number = lua_tointeger(L, -1);
  while (2 * i <= n) {
    lua_Integer child = 2 * i;
    if (child < n) {
      asy_items_push(L, items, 2 * child + 1);
      lua_rawgeti(L, items, 2 * child + 2);
      if (before(L, queue, items, lua_gettop(L) - 1, lua_tointeger(L, -1), child)) child++;
      lua_pop(L, 2);
    }
    if (before(L, queue, items, last, number, child)) break;
    path[depth++] = i = child;
  }
  check_unchanged(L, it, version);
  i = 1;
  for (int k = 0; k < depth; i = path[k++]) heap_copy(L, items, path[k], i);
  heap_copy(L, items, it->count, i);
  for (int k = 0; k < 2; k++) {
    lua_pushnil(L);
    lua_rawseti(L, items, 2 * it->count - k);
  }
  lua_settop(L, last - 1);
}

/* In and out */

/* stack: ..., item → ... */
static void add(lua_State *L, Items *it, int queue, const ListNode *bringer) {
  int items = lua_gettop(L);
  lua_getiuservalue(L, queue, ITEMS_UV_TABLE);
  lua_insert(L, items); /* ..., items, item */
  if (it->order == PRIORITY)
    heap_push(L, it, queue, items, bringer);
  else if (it->order == LIFO)
    set_item(L, items, it->count + 1);
  else {
    while (it->count == it->size) ring_grow(L, it, queue, items);
    set_item(L, items, items_place(it, it->count));
  }
  lua_settop(L, items - 1);
  it->count++;
  it->version++;
}

void asy_items_add_any(lua_State *L, Items *it, int queue) { add(L, it, queue, NULL); }

void asy_items_take_any(lua_State *L, Items *it, int queue) {
  lua_getiuservalue(L, queue, ITEMS_UV_TABLE);
  int items = lua_gettop(L);
  if (it->order == PRIORITY)
    heap_pop(L, it, queue, items);
  else {
    lua_Integer place = it->order == LIFO ? it->count : items_place(it, 0);
    asy_items_push(L, items, place);
    clear(L, items, place);
    if (it->order == FIFO) it->head = (it->head + 1) & (it->size - 1);
  }
  lua_replace(L, items);
  it->count--;
  it->version++;
}

/* Puts an item back where it came from. stack: ..., item → ... */
static void untake(lua_State *L, Items *it, int queue) {
  if (it->order != FIFO || it->count == 0) {
    asy_items_add_any(L, it, queue);
    return;
  }
  asy_items_add_any(L, it, queue); /* makes the room */
  lua_getiuservalue(L, queue, ITEMS_UV_TABLE);
  int items = lua_gettop(L);
  lua_rawgeti(L, items, items_place(it, it->count - 1));
  it->head = (it->head - 1) & (it->size - 1);
  clear(L, items, items_place(it, it->count));
  lua_rawseti(L, items, items_place(it, 0));
  lua_pop(L, 1);
}

/* Protected */

/* args: queue, Items, who brings it (both light), item */
static int add_protected(lua_State *L) {
  add(L, lua_touserdata(L, 2), 1, lua_touserdata(L, 3));
  return 0;
}

/* args: queue, Items (light) → item */
static int take_protected(lua_State *L) {
  asy_items_take_any(L, lua_touserdata(L, 2), 1);
  return 1;
}

/* args: queue, Items, NULL (both light), item */
static int untake_protected(lua_State *L) {
  untake(L, lua_touserdata(L, 2), 1);
  return 0;
}

/* stack: ..., item → ..., [error] */
static bool call_with_item(lua_State *L, lua_CFunction fn, Items *it, int queue, const ListNode *bringer) {
  lua_pushcfunction(L, fn);
  lua_pushvalue(L, queue);
  lua_pushlightuserdata(L, it);
  lua_pushlightuserdata(L, (void *)bringer);
  lua_rotate(L, -5, 4);
  return lua_pcall(L, 4, 0, 0) == LUA_OK;
}

bool asy_items_try_add(lua_State *L, Items *it, int queue, const ListNode *bringer) {
  if (it->order == PRIORITY) return call_with_item(L, add_protected, it, queue, bringer);
  asy_items_add_any(L, it, queue);
  return true;
}

bool asy_items_try_take(lua_State *L, Items *it, int queue) {
  lua_pushcfunction(L, take_protected);
  lua_pushvalue(L, queue);
  lua_pushlightuserdata(L, it);
  return lua_pcall(L, 2, 1, 0) == LUA_OK;
}

bool asy_items_try_untake(lua_State *L, Items *it, int queue) {
  return call_with_item(L, untake_protected, it, queue, NULL);
}
