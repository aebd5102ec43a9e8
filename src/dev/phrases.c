/*
** phrases.c - a table of texts. Its places are found by hash, and taken anew when nothing kept says their texts.
*/
#include "dev/phrases.h"

#include <stdio.h>

#include "base/alloc.h"

#define FIRST_SIZE 64

static uint32_t hash_text(const char *text, size_t n) {
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)text[i]) * 16777619u;
  return h;
}

static uint32_t hash_place(const void *key, int line) {
  uint64_t h =
      ((uint64_t)(uintptr_t)key + (uint64_t)line * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
  return (uint32_t)(h >> 32);
}

static void enter(Phrases *p, uint32_t i) {
  uint32_t mask = 2 * p->size - 1, at = p->all[i].hash & mask;
  while (p->table[at]) at = (at + 1) & mask;
  p->table[at] = i;
}

static void enter_all(Phrases *p) {
  memset(p->table, 0, 2 * (size_t)p->size * sizeof *p->table);
  for (uint32_t i = 1; i < p->n; i++)
    if (p->all[i].text) enter(p, i);
}

static bool grow(Phrases *p) {
  uint32_t size = p->size ? 2 * p->size : FIRST_SIZE;
  Phrase *all = mem_realloc(p->all, size * sizeof *all);
  if (!all) return false;
  p->all = all;
  uint32_t *table = mem_realloc(p->table, 2 * (size_t)size * sizeof *table);
  if (!table) return false; /* the larger one is as good */
  p->table = table;
  p->size = size;
  if (!p->n) p->all[p->n++] = (Phrase){0};
  enter_all(p);
  return true;
}

/* Forgets the texts that nothing kept says. */
static void sweep(Phrases *p, uint64_t oldest) {
  for (uint32_t i = 1; i < p->n; i++) {
    Phrase *it = &p->all[i];
    if (!it->text || it->used >= oldest) continue;
    mem_free(it->text);
    it->text = NULL;
    p->live--;
  }
  enter_all(p);
}

static uint32_t find_hole(Phrases *p) {
  for (; p->hole < p->n; p->hole++)
    if (p->hole && !p->all[p->hole].text) return p->hole++;
  return 0;
}

/* A free place; 0: there is no memory. */
static uint32_t take_place(Phrases *p, uint64_t oldest) {
  uint32_t i;
  if (p->n < p->size) return p->n++;
  if ((i = find_hole(p))) return i;
  if (p->size) sweep(p, oldest);
  p->hole = 1;
  if (p->live <= p->size / 2 && (i = find_hole(p))) return i;
  return grow(p) ? p->n++ : find_hole(p);
}

/* Its text is gone if there is no place for it. */
static uint32_t add(Phrases *p, Phrase made, uint64_t oldest) {
  if (!made.text) return 0;
  uint32_t i = take_place(p, oldest);
  if (!i) {
    mem_free(made.text);
    return 0;
  }
  p->all[i] = made;
  p->live++;
  enter(p, i);
  return i;
}

static char *copy_of(const char *text, size_t n) {
  char *made = mem_alloc(n + 1);
  if (!made) return NULL;
  memcpy(made, text, n);
  made[n] = '\0';
  return made;
}

uint32_t phrases_add(Phrases *p, const char *text, size_t n, uint64_t used, uint64_t oldest) {
  if (n > PHRASE_MOST) n = PHRASE_MOST;
  uint32_t hash = hash_text(text, n), mask = 2 * p->size - 1, i;
  for (uint32_t at = hash & mask; p->size && (i = p->table[at]); at = (at + 1) & mask) {
    Phrase *it = &p->all[i];
    if (it->hash != hash || it->line || it->n != n || memcmp(it->text, text, n) != 0) continue;
    it->used = used;
    return i;
  }
  return add(p, (Phrase){.text = copy_of(text, n), .n = (uint32_t)n, .hash = hash, .used = used},
             oldest);
}

uint32_t phrases_add_place(Phrases *p, const void *key, const char *source, int line, uint64_t used,
                           uint64_t oldest) {
  char text[PHRASE_MOST];
  uint32_t hash = hash_place(key, line), mask = 2 * p->size - 1, i;
  size_t n = strlen(source);
  for (uint32_t at = hash & mask; p->size && (i = p->table[at]); at = (at + 1) & mask) {
    Phrase *it = &p->all[i];
    if (it->hash != hash || it->line != line || strncmp(it->text, source, n) != 0 ||
        it->text[n] != ':')
      continue;
    it->used = used;
    return i;
  }
  snprintf(text, sizeof text, "%s:%d", source, line);
  n = strlen(text);
  return add(
      p,
      (Phrase){.text = copy_of(text, n), .n = (uint32_t)n, .hash = hash, .line = line, .used = used},
      oldest);
}

void phrases_free(Phrases *p) {
  for (uint32_t i = 1; i < p->n; i++) mem_free(p->all[i].text);
  mem_free(p->all);
  mem_free(p->table);
  *p = (Phrases){0};
}
