/*
** fuzz/http_events.h - what a connection makes of bytes, as text: for the fuzzers of HTTP's grammar.
**
** Each time only the bytes that are left are given, in a block of exactly that size, so that a sanitizer sees who reads
** beyond. Pieces of a body that follow each other are one.
*/
#include "http/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

typedef struct Log {
  char *text;
  size_t n, size;
  bool in_data;
  bool over; /* there is nothing more to be told */
} Log;

static void check(bool holds) {
  if (!holds) abort();
}

static void log_bytes(Log *log, const char *bytes, size_t n) {
  if (log->n + n > log->size) {
    log->size = 2 * (log->n + n) + 256;
    char *grown = realloc(log->text, log->size);
    if (!grown) exit(0);
    log->text = grown;
  }
  memcpy(log->text + log->n, bytes, n);
  log->n += n;
}

static void log_line(Log *log, const char *format, unsigned long long a, unsigned long long b) {
  char line[256];
  log->in_data = false;
  int n = snprintf(line, sizeof line, format, a, b);
  check(n > 0 && (size_t)n < sizeof line);
  log_bytes(log, line, (size_t)n);
}

static void log_span(Log *log, const char *bytes, size_t n, HttpSpan span) {
  check((size_t)span.from + span.n <= n);
  log_bytes(log, bytes + span.from, span.n);
  log_bytes(log, "|", 1);
}

static char *exact(const char *bytes, size_t n) {
  char *copy = malloc(n ? n : 1);
  if (!copy) exit(0);
  memcpy(copy, bytes, n);
  return copy;
}

static void log_fields(Log *log, const char *bytes, size_t n, const HttpField *fields, int count) {
  for (int i = 0; i < count; i++) {
    log_span(log, bytes, n, fields[i].name);
    log_span(log, bytes, n, fields[i].value);
    check(fields[i].name.n > 0);
    for (uint32_t k = 0; k < fields[i].value.n; k++) { /* nothing in it could be another line */
      char c = bytes[fields[i].value.from + k];
      check(c != '\r' && c != '\n' && c != '\0');
    }
  }
}

static void log_start(Log *log, const char *bytes, size_t n, const HttpConnection *c) {
  const HttpStart *s = &c->start;
  log_line(log, "head %llu %llu ", s->status, s->form);
  log_span(log, bytes, n, c->server ? s->method : s->reason);
  if (!c->server) return;
  const char *target = bytes + s->target.from;
  log_span(log, bytes, n, s->target);
  log_span(log, target, s->target.n, s->path);
  log_span(log, target, s->target.n, s->query);
  log_span(log, target, s->target.n, s->host);
}

/* A head or trailers that are whole. */
static bool log_block(Log *log, HttpConnection *c, bool head, const HttpFound *found) {
  HttpSaid said;
  int count = http_count(c);
  check(count >= 0 && (uint32_t)count <= c->limits.head.fields);
  char *copy = exact(found->data, found->n);
  HttpField *fields = malloc((size_t)count * sizeof *fields + 1);
  if (!fields) exit(0);
  bool fine = head ? http_read_head(c, copy, found->n, fields, &said)
                   : http_read_trailers(c, copy, found->n, fields);
  if (fine && head) {
    log_start(log, copy, found->n, c);
    log_line(log, " %llu %llu", said.chunked, said.length);
    check(!(said.chunked && said.has_length));
  } else if (fine) {
    log_line(log, "trailers %llu %llu ", (unsigned long long)count, 0);
  }
  if (fine) log_fields(log, copy, found->n, fields, count);
  free(fields);
  free(copy);
  return fine;
}

static void log_states(Log *log, const HttpConnection *c) {
  log_bytes(log, "\n", 1);
  log_line(log, "%llu %llu: ", c->ours, c->theirs);
}

/* Answers a request that is complete, or asks again; false: there is no next message. */
static bool go_on(HttpConnection *c, Log *log) {
  HttpPlan plan = {.status = 200};
  if (c->server) {
    if (http_plan_response(c, &plan)) return false;
    http_sent_response(c, &plan);
  }
  int next = http_next_cycle(c);
  log_line(log, "next %llu %llu", (unsigned long long)(next + 1), 0);
  if (next != 1) return false;
  plan = (HttpPlan){0};
  if (c->server) return true;
  check(!http_plan_request(c, "GET", 3, &plan));
  http_sent_request(c, "GET", 3, &plan);
  return true;
}

/* One event more; false: there will be none without more bytes. *from moves behind what was used. */
static bool log_event(Log *log, HttpConnection *c, const char *bytes, size_t *from, size_t n) {
  HttpFound found;
  uint64_t seen = c->seen;
  char *left = exact(bytes + *from, n - *from);
  HttpEvent event = http_read(c, left, n - *from, &found);
  check(found.used <= n - *from);
  bool more = event != HTTP_MORE;
  if (event == HTTP_DATA) {
    check(found.n > 0);
    if (!log->in_data) log_states(log, c);
    log->in_data = true;
    log_bytes(log, found.data, found.n);
  } else if (more) {
    log_states(log, c);
    if (event == HTTP_HEAD || event == HTTP_TRAILERS) {
      if (!log_block(log, c, event == HTTP_HEAD, &found)) event = HTTP_FAULT;
    } else
      log_line(log, "event %llu %llu", event, 0);
    if (event == HTTP_FAULT) {
      check(c->theirs == HTTP_ERROR && c->fault.status >= 400 && c->fault.what &&
            c->fault.at <= seen + (n - *from));
      log_line(log, " fault %llu at %llu ", (unsigned long long)c->fault.status, c->fault.at);
      log_bytes(log, c->fault.what, strlen(c->fault.what));
      check(http_read(c, "GET /", 5, &(HttpFound){0, NULL, 0}) == HTTP_FAULT &&
            c->theirs == HTTP_ERROR);
    }
    log->over =
        event == HTTP_FAULT || event == HTTP_CLOSE || (event == HTTP_PAUSED && !go_on(c, log));
    more = !log->over;
  }
  free(left);
  *from += found.used;
  check(event == HTTP_FAULT || c->seen == seen + found.used);
  return more;
}

/* All bytes, in pieces: of `step` bytes, or of random lengths where that is 0; then the end. */
static void log_all(Log *log, HttpConnection *c, const char *bytes, size_t n, size_t step,
                    unsigned seed) {
  size_t from = 0, given = 0;
  while (!log->over && (given < n || !c->ended)) {
    if (given == n) {
      c->ended = true;
    } else {
      seed = seed * 1103515245u + 12345u;
      size_t piece = step ? step : 1 + (seed >> 16) % 40;
      given = piece > n - given ? n : given + piece;
    }
    while (log_event(log, c, bytes, &from, given)) continue;
  }
}

/* The same however the bytes come. start: puts the connection where the bytes are for it. */
static void check_splits(void (*start)(HttpConnection *, unsigned), unsigned how, const char *bytes,
                         size_t n) {
  Log whole = {NULL, 0, 0, false, false};
  HttpConnection c;
  start(&c, how);
  log_all(&whole, &c, bytes, n, n ? n : 1, 0);
  for (unsigned i = 0; i < 3; i++) {
    Log split = {NULL, 0, 0, false, false};
    start(&c, how);
    log_all(&split, &c, bytes, n, i == 0 ? 1 : 0, i + how);
    check(split.n == whole.n && memcmp(split.text, whole.text, whole.n) == 0);
    free(split.text);
  }
  free(whole.text);
}

static const HttpLimits http_usual = {{8190, 8190, 16384, 128}, {0, 8190, 4096, 128}, 4096};
static const HttpLimits http_small = {{40, 30, 120, 4}, {0, 20, 40, 2}, 10};
