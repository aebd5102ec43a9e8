/*
** list.h - intrusive doubly linked lists: the node lives in the thing that is listed, so nothing
** is allocated and removal is O(1). A node that is in no list points to itself.
*/
#ifndef ASY_LIST_H
#define ASY_LIST_H

#include <stdbool.h>

#include "base/asy.h"

typedef struct ListNode {
  struct ListNode *prev, *next;
} ListNode;

static inline void list_init(ListNode *n) { n->prev = n->next = n; }
static inline bool list_empty(const ListNode *head) { return head->next == head; }
static inline bool list_linked(const ListNode *n) { return n->next != n; }

static inline void list_append(ListNode *head, ListNode *n) {
  asy_assert(!list_linked(n) && n != head); /* it is in one list at most */
  n->prev = head->prev;
  n->next = head;
  head->prev->next = n;
  head->prev = n;
}

static inline void list_prepend(ListNode *head, ListNode *n) { list_append(head->next, n); }

static inline void list_remove(ListNode *n) {
  n->prev->next = n->next;
  n->next->prev = n->prev;
  list_init(n);
}

/* The first node, taken off; NULL when there is none. */
static inline ListNode *list_take(ListNode *head) {
  ListNode *n = head->next;
  if (n == head) return NULL;
  /* The analyser does not know that what was freed had left its list. */
  list_remove(n); // NOLINT(clang-analyzer-unix.Malloc)
  return n;
}

/* Moves everything in `from` to the end of `head`. */
static inline void list_splice(ListNode *head, ListNode *from) {
  if (list_empty(from)) return;
  asy_assert(head != from);
  from->next->prev = head->prev;
  head->prev->next = from->next;
  from->prev->next = head;
  head->prev = from->prev;
  list_init(from);
}

#define list_each(node, head) for (ListNode *node = (head)->next; node != (head); node = node->next)

#endif
