/*
** fuzz/frame.c - WebSocket's frames: however the bytes arrive, the events are the same; no text is given out that isn't
** UTF-8, no message that is too long; and what is written is read again as it was.
**
** Input: whose frames, the longest message, seed of the arrivals; the rest is what the peer sends.
*/
#include "http/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum { MOST = 4096 };

typedef struct Said { /* all that was read, pieces of data joined */
  char bytes[4 * MOST];
  size_t n;
  size_t message; /* bytes of the message under way */
  Utf8 text;
  bool in_message;
} Said;

static void check(bool holds) {
  if (!holds) abort();
}

static void say(Said *s, const void *bytes, size_t n) {
  if (n > sizeof s->bytes - s->n) n = sizeof s->bytes - s->n;
  if (n) memcpy(s->bytes + s->n, bytes, n);
  s->n += n;
}

static void say_data(Said *s, const FrameReader *r, const char *piece, const FrameFound *found) {
  if (!s->in_message) {
    say(s, found->kind == FRAME_TEXT ? "T" : "B", 1);
    s->message = 0;
    s->text = (Utf8){0};
  }
  s->in_message = !found->final;
  s->message += found->length;
  check(s->message <= r->most);
  if (found->kind == FRAME_TEXT) check(utf8_feed(&s->text, piece, found->length));
  if (found->kind == FRAME_TEXT && found->final) check(utf8_is_whole(&s->text));
  say(s, piece, found->length);
  if (found->final) say(s, "!", 1);
}

/* False: nothing more will come. */
static bool note(Said *s, const FrameReader *r, FrameEvent event, const char *piece, const FrameFound *found) {
  char number[3] = {(char)(r->code >> 8), (char)r->code, (char)found->kind};
  if (event == FRAME_DATA) say_data(s, r, piece, found);
  if (event == FRAME_CONTROL || event == FRAME_CLOSED) {
    check(found->length <= FRAME_MOST_CONTROL);
    say(s, "C", 1);
    say(s, number, 3);
    say(s, r->control + (event == FRAME_CLOSED ? 2 : 0), found->length);
  }
  if (event == FRAME_FAILED) {
    check(r->wrong && frame_may_say(r->code));
    say(s, "F", 1);
    say(s, number, 2);
  }
  return event != FRAME_FAILED;
}

/* Reads all, up to `step` bytes at a time; 0: at random. What the failing piece brought beyond what is said may differ. */
static void read_all(Said *s, const char *bytes, size_t n, bool masked, uint64_t most, unsigned step, unsigned seed) {
  FrameReader r;
  FrameFound found;
  char *to = malloc(n + 1);
  frame_reader_init(&r, masked, most);
  for (size_t at = 0; at < n;) {
    seed = seed * 1103515245 + 12345;
    size_t have = step ? step : 1 + (seed >> 16) % 40;
    if (have > n - at) have = n - at;
    FrameEvent event;
    do {
      event = frame_read(&r, bytes + at, have, to, &found);
      check(found.used <= have && found.length <= (event == FRAME_DATA ? have : FRAME_MOST_CONTROL));
      if (!note(s, &r, event, to, &found)) goto done;
      at += found.used;
      have -= found.used;
    } while (event != FRAME_WANTS);
    check(have == 0);
  }
done:
  free(to);
}

/* The short way reads it, too, into just as much room, and nothing that isn't whole, nor has it. */
static void read_at_once(const FrameReader *r, const char *frame, size_t length, const char *bytes, size_t n) {
  char *to = malloc(n ? n : 1);
  FrameFound found;
  bool whole = frame_read_whole(r, frame, length, to, n, &found);
  check(whole && found.used == length && found.length == n && found.final && (!n || !memcmp(to, bytes, n)));
  check(!frame_read_whole(r, frame, length - 1, to, n, &found));
  check(!n || !frame_read_whole(r, frame, length, to, n - 1, &found));
  free(to);
}

static void reread(const char *bytes, size_t n, FrameKind kind, const uint8_t *mask) {
  uint8_t *frame = malloc(FRAME_MOST_HEAD + n);
  char *to = malloc(FRAME_MOST_HEAD + n);
  FrameReader r;
  FrameFound found;
  size_t head = frame_write_head(frame, kind, n, mask);
  if (mask)
    frame_mask((char *)frame + head, bytes, n, mask, 0);
  else if (n)
    memcpy(frame + head, bytes, n);
  frame_reader_init(&r, mask != NULL, n);
  FrameEvent event = frame_read(&r, (char *)frame, head + n, to, &found);
  check(found.used == head + n && found.length == n);
  if (kind == FRAME_BINARY)
    check(event == FRAME_DATA && found.final && !memcmp(to, bytes, n));
  else
    check(event == FRAME_CONTROL && !memcmp(r.control, bytes, n));
  if (kind == FRAME_BINARY) read_at_once(&r, (char *)frame, head + n, bytes, n);
  free(frame);
  free(to);
}

/* Of a text that fails, as much was given out as had come: only what stands before the failure must be the same. */
static void same(const Said *a, const Said *b, bool whole) {
  if (whole) check(a->n == b->n && !memcmp(a->bytes, b->bytes, a->n));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
  static Said whole, single, pieces;
  if (length < 3) return 0;
  bool masked = bytes[0] & 1;
  const uint8_t mask[4] = {bytes[0], bytes[1], bytes[2], 0x5A};
  uint64_t most = (uint64_t)bytes[1] * 16;
  const char *stream = (const char *)bytes + 3;
  size_t n = length - 3 < MOST ? length - 3 : MOST;
  whole.n = single.n = pieces.n = 0;
  whole.in_message = single.in_message = pieces.in_message = false;
  read_all(&whole, stream, n, masked, most, (unsigned)n + 1, 0);
  read_all(&single, stream, n, masked, most, 1, 0);
  read_all(&pieces, stream, n, masked, most, 0, bytes[2]);
  bool text_failed = whole.n >= 3 && whole.bytes[whole.n - 3] == 'F' && (uint8_t)whole.bytes[whole.n - 2] == 3 &&
                     (uint8_t)whole.bytes[whole.n - 1] == 0xEF; /* 1007 */
  same(&whole, &single, !text_failed);
  same(&whole, &pieces, !text_failed);
  reread(stream, n, FRAME_BINARY, masked ? mask : NULL);
  reread(stream, n < FRAME_MOST_CONTROL ? n : FRAME_MOST_CONTROL, FRAME_PING, masked ? mask : NULL);
  return 0;
}
