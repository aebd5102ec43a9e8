/*
** fuzz/resp.c - Redis' protocol from whoever sends it: however the bytes arrive, the events are the same and lie
** where they are said to; what is read can be written, and is the same again.
**
** Input: seed of the arrivals (2 bytes); the rest is the stream.
*/
#include "resp/resp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS 8192
#define STREAM 8192
#define ARGUMENTS 64

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check(bool holds) {
  if (!holds) abort();
}

/* All that a stream is: its events, with their places from its beginning on, and how it ended. */
typedef struct Run {
  RespEvent events[EVENTS];
  int n;
  RespStatus status;
  size_t used;
  const char *why;
} Run;

/* What every event keeps to. */
static void check_event(const RespEvent *e, size_t used, size_t n) {
  check(used <= n && e->depth >= 0 && e->depth < RESP_DEPTH + (e->kind < RESP_LIST));
  if (e->end) {
    check(used == 0 && e->kind >= RESP_LIST);
    return;
  }
  check(used >= 3 && e->at + e->length + 2 <= used);
  if (e->kind >= RESP_LIST) check(e->integer >= 0 && (e->kind < RESP_MAP || e->integer % 2 == 0));
  if (e->depth > 0) check(e->parent >= RESP_LIST && (e->index >= 1 || e->kind == RESP_ATTRIBUTE));
}

/* Parses with arrivals of that seed; 0: all comes at once. */
static void run(const char *stream, size_t length, unsigned seed, Run *r) {
  static RespParser p; /* large */
  size_t arrived = seed ? 0 : length;
  resp_init(&p);
  memset(r, 0, sizeof *r);
  for (;;) {
    RespEvent e;
    size_t used;
    char *copy = malloc(arrived - r->used + 1); /* exactly what is there, so that whoever looks further is seen */
    check(copy != NULL);
    memcpy(copy, stream + r->used, arrived - r->used);
    r->status = resp_next(&p, copy, arrived - r->used, &used, &e);
    free(copy);
    if (r->status == RESP_EVENT) {
      check_event(&e, used, arrived - r->used);
      e.at += r->used;
      r->used += used;
      check(r->n < EVENTS);
      r->events[r->n++] = e;
    } else if (r->status == RESP_WRONG || arrived == length)
      break;
    else {
      seed = seed * 1103515245 + 12345;
      size_t more = 1 + (seed >> 16) % (seed >> 30 ? 4 : 300);
      arrived = more < length - arrived ? arrived + more : length;
    }
  }
  r->why = p.why;
  check((r->status == RESP_WRONG) == (p.why != NULL));
}

static void check_same(const Run *a, const Run *b) {
  check(a->n == b->n && a->status == b->status && a->used == b->used && a->why == b->why);
  for (int i = 0; i < a->n; i++) {
    const RespEvent *x = &a->events[i], *y = &b->events[i];
    check(x->kind == y->kind && x->end == y->end && x->depth == y->depth && x->integer == y->integer);
    check(x->end || (x->at == y->at && x->length == y->length && x->index == y->index && x->parent == y->parent));
  }
}

/* The strings of a stream, written as a command, are these strings. */
static void write_back(const char *stream, const Run *r) {
  static Run again;
  const RespEvent *strings[ARGUMENTS];
  size_t n = 0, size = RESP_HEAD_ROOM;
  for (int i = 0; i < r->n && n < ARGUMENTS; i++)
    if (r->events[i].kind == RESP_STRING) {
      strings[n++] = &r->events[i];
      size += RESP_ARGUMENT_ROOM(r->events[i].length);
    }
  if (!n) return;
  char *text = malloc(size), *to;
  check(text != NULL);
  to = resp_put_head(text, n);
  for (size_t i = 0; i < n; i++) to = resp_put_argument(to, stream + strings[i]->at, strings[i]->length);
  check(to <= text + size);
  run(text, (size_t)(to - text), 0, &again);
  check(again.status == RESP_MORE && again.used == (size_t)(to - text) && again.n == (int)n + 2);
  for (size_t i = 0; i < n; i++) {
    const RespEvent *e = &again.events[i + 1];
    check(e->length == strings[i]->length && memcmp(text + e->at, stream + strings[i]->at, e->length) == 0);
  }
  free(text);
}

static void write_double(const uint8_t *bytes) {
  char text[RESP_NUMBER + 8];
  double number;
  memcpy(&number, bytes, sizeof number);
  if (isnan(number)) return;
  check(resp_double(number, text) < RESP_NUMBER + 8 && strtod(text, NULL) == number);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
  static Run whole, split;
  if (length < 2 || length > STREAM) return 0;
  unsigned seed = (unsigned)bytes[0] << 8 | bytes[1] | 0x10000;
  const char *stream = (const char *)bytes + 2;
  run(stream, length - 2, 0, &whole);
  run(stream, length - 2, seed, &split);
  check_same(&whole, &split);
  write_back(stream, &whole);
  if (length >= 10) write_double(bytes + 2);
  return 0;
}
