/*
** read.c - what the peer's bytes say (connection.h).
*/
#include <string.h>

#include "http/chars.h"
#include "http/connection.h"

#define MOST_INFORMED 64  /* answers before the final one */
#define MOST_EXTENSIONS 4 /* chunk lines' worth of them, in a body */

/* Faults */

bool http_refuse(HttpConnection *c, int status, const char *what, uint64_t at) {
  c->theirs = HTTP_ERROR;
  c->keep = false;
  return http_wrong(&c->fault, status, what, at);
}

static HttpEvent fail(HttpConnection *c, int status, const char *what, uint64_t at) {
  http_refuse(c, status, what, at);
  return HTTP_FAULT;
}

/* A fault was noted whose place is counted from the bytes at hand. */
static HttpEvent faulty(HttpConnection *c) {
  return fail(c, c->fault.status, c->fault.what, c->seen + c->fault.at);
}

static HttpEvent partial(HttpConnection *c, const char *what, size_t n) {
  fail(c, 400, what, c->seen + n);
  c->fault.partial = true;
  return HTTP_FAULT;
}

/* Beginnings and ends */

static void settle(HttpConnection *c) {
  if (c->keep) return;
  if (c->theirs == HTTP_DONE) c->theirs = HTTP_MUST_CLOSE;
  if (c->ours == HTTP_DONE) c->ours = HTTP_MUST_CLOSE;
}

static void be_over(HttpConnection *c) {
  c->phase = PHASE_OVER;
  c->theirs = HTTP_DONE;
  if (c->server && c->asks) c->theirs = HTTP_MIGHT_SWITCH;
  settle(c);
}

/* Heads */

static bool read_start(HttpConnection *c, const char *bytes, size_t n, HttpFault *fault) {
  c->started = true;
  return c->server ? http_request_line(bytes, n, &c->start, fault)
                   : http_status_line(bytes, n, &c->start, fault);
}

static HttpEvent begin_wrong(HttpConnection *c, char first) {
  if (!c->server) return fail(c, 400, "the answer doesn't begin with HTTP/1.1", c->seen);
  return fail(c, 400, first == 0x16 ? "this is TLS" : "the method is no token", c->seen);
}

/* The head's first byte, and what may be before it. False: *event is what to return. */
static bool begin_head(HttpConnection *c, const char **bytes, size_t *n, HttpFound *found,
                       HttpEvent *event) {
  *event = HTTP_MORE;
  if (c->server && !c->skipped && *n && **bytes == '\r') {
    if (*n == 1) return false;
    if ((*bytes)[1] != '\n') {
      *event = fail(c, 400, "a line has a CR without LF", c->seen);
      return false;
    }
    c->skipped = true;
    c->seen += 2;
    found->used = 2;
    *bytes += 2;
    *n -= 2;
  }
  if (!*n) return false;
  if (c->server ? http_is(**bytes, CHAR_TOKEN) : **bytes == 'H') return true;
  *event = begin_wrong(c, **bytes);
  return false;
}

static HttpEvent find_head(HttpConnection *c, const char *bytes, size_t n, HttpFound *found) {
  HttpEvent event;
  if (!c->lines.looked && !begin_head(c, &bytes, &n, found, &event)) return event;
  for (;;) {
    uint32_t from = c->lines.line;
    switch (http_line(&c->lines, bytes, n, &c->limits.head, true, &c->fault)) {
    case LINE_MORE: return HTTP_MORE;
    case LINE_WRONG: return faulty(c);
    case LINE_WHOLE:
      if (!c->started && !read_start(c, bytes + from, c->lines.line - from - 2, &c->fault))
        return faulty(c);
      break;
    case LINE_EMPTY:
      c->phase = PHASE_HEAD_WHOLE;
      found->used += c->lines.line;
      found->data = bytes;
      found->n = c->lines.line;
      return HTTP_HEAD;
    }
  }
}

/* What the fields say of a body, for all messages alike. */
static bool check_framing(HttpConnection *c, const HttpSaid *said) {
  if (!said->codings) return true;
  if (said->has_length)
    return http_refuse(c, 400, "there are both Content-Length and Transfer-Encoding", c->seen);
  if (c->start.old) return http_refuse(c, 400, "HTTP/1.0 has no Transfer-Encoding", c->seen);
  return true;
}

static void begin_body(HttpConnection *c, const HttpSaid *said, HttpFraming otherwise) {
  c->framing = said->chunked ? FRAMING_CHUNKED : said->has_length ? FRAMING_LENGTH : otherwise;
  c->left = said->length;
  c->extensions = 0;
  if (c->framing == FRAMING_LENGTH && !c->left) c->framing = FRAMING_NONE;
  c->phase = c->framing == FRAMING_CHUNKED  ? PHASE_CHUNK
             : c->framing == FRAMING_LENGTH ? PHASE_LENGTH
             : c->framing == FRAMING_CLOSE  ? PHASE_CLOSE
                                            : PHASE_OVER;
  c->theirs = HTTP_SEND_BODY;
  if (c->framing == FRAMING_NONE) be_over(c);
}

static bool begin_request(HttpConnection *c, const char *bytes, HttpSaid *said) {
  const HttpStart *s = &c->start;
  if (!s->old && said->host < 0) return http_refuse(c, 400, "there is no Host", c->seen);
  if (said->expects_other && !s->old)
    return http_refuse(c, 417, "Expect has something else than 100-continue", c->seen);
  c->old = s->old;
  c->connect = s->form == FORM_AUTHORITY;
  c->head_only = s->method.n == 4 && memcmp(bytes, "HEAD", 4) == 0;
  c->said_keep = s->old && said->keep_alive && !said->close;
  c->asks = c->connect || (!s->old && said->asks_upgrade && said->upgrade >= 0);
  if (said->close || (s->old && !said->keep_alive)) c->keep = false;
  c->ours = HTTP_SEND_RESPONSE;
  begin_body(c, said, FRAMING_NONE);
  return true;
}

static void begin_answer(HttpConnection *c, HttpSaid *said) {
  int status = c->start.status;
  c->old = c->start.old;
  if (said->close || (c->old && !said->keep_alive)) c->keep = false;
  if ((c->connect && status / 100 == 2) || status == 101) {
    http_switch(c);
    c->framing = FRAMING_NONE;
  } else if (c->head_only || status == 204 || status == 304) {
    said->has_length = said->has_length && status != 204;
    c->framing = FRAMING_NONE;
    be_over(c);
  } else {
    begin_body(c, said, FRAMING_CLOSE);
    if (c->framing == FRAMING_CLOSE) c->keep = false;
  }
}

static bool read_answer(HttpConnection *c, HttpSaid *said) {
  int status = c->start.status;
  if (status >= 200) {
    begin_answer(c, said);
    return true;
  }
  if (status == 101) {
    if (!c->asks || c->connect) return http_refuse(c, 400, "101 was not asked for", c->seen);
    if (said->upgrade < 0 || !said->asks_upgrade)
      return http_refuse(c, 400, "101 has no Upgrade", c->seen);
    if (c->ours != HTTP_DONE && c->ours != HTTP_MIGHT_SWITCH && c->ours != HTTP_MUST_CLOSE)
      return http_refuse(c, 400, "101 came before the request's end", c->seen);
    begin_answer(c, said);
    return true;
  }
  if (++c->informed > MOST_INFORMED)
    return http_refuse(c, 400, "there are too many answers that are no final one", c->seen);
  c->phase = PHASE_HEAD;
  return true;
}

bool http_read_head(HttpConnection *c, const char *bytes, size_t n, HttpField *fields,
                    HttpSaid *said) {
  int lines = http_count(c);
  size_t first = (size_t)((const char *)memchr(bytes, '\n', n) - bytes) + 1;
  bool fine = http_fields(bytes, (uint32_t)first, fields, lines, c->server, said, &c->fault);
  if (!fine) faulty(c);
  c->lines = (HttpLines){0};
  c->started = c->skipped = false;
  fine = fine && check_framing(c, said) &&
         (c->server ? begin_request(c, bytes, said) : read_answer(c, said));
  c->seen += n;
  return fine;
}

/* Bodies */

static HttpEvent give(HttpConnection *c, const char *bytes, size_t n, HttpFound *found) {
  found->data = bytes;
  found->n = n;
  found->used = n;
  c->seen += n;
  return HTTP_DATA;
}

static HttpEvent read_length(HttpConnection *c, const char *bytes, size_t n, HttpFound *found) {
  if (!n) return HTTP_MORE;
  if (n > c->left) n = (size_t)c->left;
  c->left -= n;
  if (!c->left) c->phase = PHASE_CHUNK_END; /* there is nothing but the end to be told */
  return give(c, bytes, n, found);
}

/* The text in quotes at the front, with them; 0: there is none. */
static size_t quoted(const char *bytes, size_t n) {
  if (!n || bytes[0] != '"') return 0;
  for (size_t i = 1; i < n; i++) {
    if (bytes[i] == '"') return i + 1;
    if (bytes[i] == '\\') i++;
  }
  return 0;
}

/* ;name=token;name="text";name ... */
static bool are_extensions(const char *bytes, size_t n) {
  size_t at = 0;
  while (at < n) {
    if (bytes[at++] != ';') return false;
    size_t name = http_run(bytes + at, n - at, CHAR_TOKEN);
    if (!name) return false;
    at += name;
    if (at == n || bytes[at] != '=') continue;
    at++;
    size_t value = http_run(bytes + at, n - at, CHAR_TOKEN);
    if (!value) value = quoted(bytes + at, n - at);
    if (!value) return false;
    at += value;
  }
  return http_is_value(bytes, n);
}

/* size [;extension] CR LF */
static bool read_chunk_line(HttpConnection *c, const char *line, size_t n) {
  uint64_t size = 0;
  size_t digits = http_run(line, n, CHAR_HEX);
  if (!digits || digits > 16)
    return http_wrong(&c->fault, 400, "a chunk's size is no hexadecimal number", 0);
  for (size_t i = 0; i < digits; i++) size = size << 4 | (uint64_t)http_hex(line[i]);
  if (size > HTTP_MOST) return http_wrong(&c->fault, 400, "a chunk is too large", 0);
  if (digits < n) {
    if (line[digits] != ';')
      return http_wrong(&c->fault, 400, "a chunk's size is no hexadecimal number", digits);
    if (!are_extensions(line + digits, n - digits))
      return http_wrong(&c->fault, 400, "a chunk's extensions are not ;name=value", digits);
    c->extensions += (uint32_t)(n - digits);
    if (c->extensions > MOST_EXTENSIONS * c->limits.chunk_line)
      return http_wrong(&c->fault, 400, "the chunks' extensions are too large", digits);
  }
  c->left = size;
  return true;
}

static HttpEvent read_chunk(HttpConnection *c, const char *bytes, size_t n, HttpFound *found) {
  const HttpBounds bounds = {
      .other = c->limits.chunk_line, .total = UINT32_MAX, .fields = UINT32_MAX - 1};
  switch (http_line(&c->lines, bytes, n, &bounds, false, &c->fault)) {
  case LINE_MORE: return HTTP_MORE;
  case LINE_WRONG:
    if (c->fault.status == 431)
      http_wrong(&c->fault, 400, "a chunk's line is too long", c->fault.at);
    return faulty(c);
  case LINE_EMPTY:
  case LINE_WHOLE: break;
  }
  size_t length = c->lines.line;
  if (!read_chunk_line(c, bytes, length - 2)) return faulty(c);
  c->lines = (HttpLines){0};
  c->phase = c->left ? PHASE_CHUNK_DATA : PHASE_TRAILERS;
  c->seen += length;
  found->used = length;
  return HTTP_MORE;
}

static HttpEvent read_chunk_data(HttpConnection *c, const char *bytes, size_t n, HttpFound *found) {
  if (!n) return HTTP_MORE;
  if (n > c->left) n = (size_t)c->left;
  c->left -= n;
  if (!c->left) c->phase = PHASE_CHUNK_END;
  return give(c, bytes, n, found);
}

/* CR LF behind a chunk's bytes; of a body of known length nothing but that it has ended. */
static HttpEvent read_chunk_end(HttpConnection *c, const char *bytes, size_t n, HttpFound *found) {
  if (c->framing == FRAMING_LENGTH) {
    be_over(c);
    return HTTP_END;
  }
  if ((n && bytes[0] != '\r') || (n > 1 && bytes[1] != '\n'))
    return fail(c, 400, "a chunk is longer than it says", c->seen);
  if (n < 2) return HTTP_MORE;
  c->seen += 2;
  found->used = 2;
  c->phase = PHASE_CHUNK;
  return HTTP_MORE;
}

static HttpEvent find_trailers(HttpConnection *c, const char *bytes, size_t n, HttpFound *found) {
  for (;;) {
    switch (http_line(&c->lines, bytes, n, &c->limits.trailers, false, &c->fault)) {
    case LINE_MORE: return HTTP_MORE;
    case LINE_WRONG: return faulty(c);
    case LINE_WHOLE: break;
    case LINE_EMPTY:
      found->used = found->n = c->lines.line;
      found->data = bytes;
      if (c->lines.n) {
        c->phase = PHASE_TRAILERS_WHOLE;
        return HTTP_TRAILERS;
      }
      c->seen += found->used;
      c->lines = (HttpLines){0};
      be_over(c);
      return HTTP_END;
    }
  }
}

bool http_read_trailers(HttpConnection *c, const char *bytes, size_t n, HttpField *fields) {
  bool fine = http_trailers(bytes, 0, fields, http_count(c), &c->fault);
  if (!fine) faulty(c);
  c->lines = (HttpLines){0};
  c->seen += n;
  if (fine) be_over(c);
  return fine;
}

/* All */

static HttpEvent read_phase(HttpConnection *c, const char *bytes, size_t n, HttpFound *found) {
  switch ((HttpPhase)c->phase) {
  case PHASE_HEAD: return find_head(c, bytes, n, found);
  case PHASE_LENGTH: return read_length(c, bytes, n, found);
  case PHASE_CHUNK: return read_chunk(c, bytes, n, found);
  case PHASE_CHUNK_DATA: return read_chunk_data(c, bytes, n, found);
  case PHASE_CHUNK_END: return read_chunk_end(c, bytes, n, found);
  case PHASE_TRAILERS: return find_trailers(c, bytes, n, found);
  case PHASE_CLOSE: return n ? give(c, bytes, n, found) : HTTP_MORE;
  default: return HTTP_MORE;
  }
}

/* The peer has ended, and there are no more than these bytes, which aren't enough. */
static HttpEvent end_here(HttpConnection *c, size_t n) {
  bool between = c->phase == PHASE_HEAD && !n && !c->informed;
  if (between) {
    c->theirs = HTTP_CLOSED;
    c->keep = false;
    settle(c);
    return HTTP_CLOSE;
  }
  if (c->phase == PHASE_CLOSE) {
    be_over(c);
    return HTTP_END;
  }
  return partial(
      c, c->phase == PHASE_HEAD ? "the peer ended in a head" : "the peer ended in a body", n);
}

static HttpEvent read_nothing(HttpConnection *c, size_t n, HttpFound *found) {
  switch ((HttpState)c->theirs) {
  case HTTP_ERROR: return HTTP_FAULT;
  case HTTP_CLOSED: return HTTP_CLOSE;
  case HTTP_MUST_CLOSE:
    found->used = n;
    c->seen += n;
    return HTTP_PAUSED;
  default: break;
  }
  if (!c->ended || n || c->theirs == HTTP_SWITCHED) return HTTP_PAUSED;
  c->theirs = HTTP_CLOSED;
  c->keep = false;
  settle(c);
  return HTTP_CLOSE;
}

HttpEvent http_read(HttpConnection *c, const char *bytes, size_t n, HttpFound *found) {
  size_t used = 0;
  *found = (HttpFound){0, NULL, 0};
  if (c->theirs == HTTP_ERROR || c->phase == PHASE_OVER) return read_nothing(c, n, found);
  if (!c->server && c->theirs == HTTP_IDLE) {
    if (n) return fail(c, 400, "the server says something that nobody asked for", c->seen);
    return c->ended ? end_here(c, n) : HTTP_MORE;
  }
  for (;;) { /* what is used without an event is behind us */
    uint8_t phase = c->phase;
    HttpEvent event = read_phase(c, bytes, n, found);
    if (event != HTTP_MORE || (!found->used && c->phase == phase)) {
      if (event == HTTP_MORE && c->ended) event = end_here(c, n);
      found->used += used;
      return event;
    }
    if (!found->used) continue;
    used += found->used;
    bytes += found->used;
    n -= found->used;
    found->used = 0;
  }
}
