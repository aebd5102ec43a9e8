/*
** frame.c - WebSocket's frames, read and written.
*/
#include "http/frame.h"

#include <string.h>

enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0F, MASK = 0x80, LENGTH = 0x7F, LENGTH_16 = 126, LENGTH_64 = 127 };

void frame_reader_init(FrameReader *r, bool masked, uint64_t most) {
  *r = (FrameReader){.masked = masked, .most = most};
}

static FrameEvent fail(FrameReader *r, unsigned code, const char *words) {
  r->wrong = words;
  r->code = (uint16_t)code;
  return FRAME_FAILED;
}

static bool is_control(unsigned opcode) { return opcode >= FRAME_CLOSE; }

/* Heads */

/* How long the head is, as far as its first bytes tell. */
static size_t head_length(const FrameReader *r) {
  if (r->have < 2) return 2;
  unsigned length = r->head[1] & LENGTH;
  return 2 + (length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0) + (r->head[1] & MASK ? 4 : 0);
}

/* What is wrong with the first two bytes: RFC 6455 5.2, 5.4, 5.5; NULL: nothing. */
static const char *wrong_head(const FrameReader *r) {
  unsigned opcode = r->head[0] & OPCODE, length = r->head[1] & LENGTH;
  bool final = r->head[0] & FIN, masked = r->head[1] & MASK;
  if (r->head[0] & RESERVED) return "a frame has a reserved bit set, and no extension was agreed on";
  if ((opcode > FRAME_BINARY && opcode < FRAME_CLOSE) || opcode > FRAME_PONG) return "a frame has an unknown opcode";
  if (masked != r->masked) return masked ? "a server's frame is masked" : "a client's frame is not masked";
  if (is_control(opcode) && !final) return "a control frame is fragmented";
  if (is_control(opcode) && length > FRAME_MOST_CONTROL) return "a control frame has more than 125 bytes";
  if (opcode == FRAME_MORE && !r->kind) return "a continuation frame where no message has begun";
  if ((opcode == FRAME_TEXT || opcode == FRAME_BINARY) && r->kind) return "a message begins inside of another";
  return NULL;
}

/* The payload's length, and whether it is written in as few bytes as it can be. */
static uint64_t announced(const FrameReader *r, const char **wrong) {
  unsigned length = r->head[1] & LENGTH;
  if (length < LENGTH_16) return length;
  size_t bytes = length == LENGTH_16 ? 2 : 8;
  uint64_t n = 0;
  for (size_t i = 0; i < bytes; i++) n = n << 8 | r->head[2 + i];
  if (n >> 63) *wrong = "a frame's length has its highest bit set";
  if (n < (bytes == 2 ? LENGTH_16 : 0x10000U)) *wrong = "a frame's length is not written in as few bytes as it can be";
  return n;
}

/* The head is whole: the payload may come. */
static FrameEvent begin_payload(FrameReader *r) {
  const char *wrong = NULL;
  r->opcode = r->head[0] & OPCODE;
  r->final = r->head[0] & FIN;
  r->left = announced(r, &wrong);
  if (wrong) return fail(r, CLOSE_PROTOCOL, wrong);
  if (r->masked) memcpy(r->mask, r->head + head_length(r) - 4, sizeof r->mask);
  r->at = r->ncontrol = 0;
  r->in_payload = true;
  if (is_control(r->opcode)) return FRAME_WANTS;
  if (r->opcode != FRAME_MORE) {
    r->kind = r->opcode;
    r->message = 0;
    r->text = (Utf8){0};
  }
  if (r->left > r->most - r->message) return fail(r, CLOSE_TOO_BIG, "a message is longer than max_message");
  r->message += r->left;
  return FRAME_WANTS;
}

/* Takes bytes of the head; *used: how many. The first two are looked at as soon as they are there. */
static FrameEvent read_head(FrameReader *r, const char *bytes, size_t n, size_t *used) {
  for (*used = 0; *used < n && r->have < head_length(r);) {
    r->head[r->have++] = (uint8_t)bytes[(*used)++];
    const char *wrong = r->have == 2 ? wrong_head(r) : NULL;
    if (wrong) return fail(r, CLOSE_PROTOCOL, wrong);
  }
  return r->have >= 2 && r->have == head_length(r) ? begin_payload(r) : FRAME_WANTS;
}

/* Payloads */

static void unmask(FrameReader *r, char *to, const char *from, size_t n) {
  if (r->masked)
    frame_mask(to, from, n, r->mask, r->at);
  else if (n)
    memcpy(to, from, n);
  r->at = (uint8_t)((r->at + n) & 3);
  r->left -= n;
}

static void end_frame(FrameReader *r) {
  r->in_payload = false;
  r->have = 0;
}

static FrameEvent read_data(FrameReader *r, const char *bytes, size_t n, char *to, FrameFound *found) {
  size_t length = r->left < n ? (size_t)r->left : n;
  unmask(r, to, bytes, length);
  found->used += length;
  if (r->kind == FRAME_TEXT && !utf8_feed(&r->text, to, length))
    return fail(r, CLOSE_NOT_TEXT, "a text message is not UTF-8");
  if (r->kind == FRAME_TEXT && r->final && !r->left && !utf8_is_whole(&r->text))
    return fail(r, CLOSE_NOT_TEXT, "a text message ends in the middle of a character");
  found->kind = r->kind;
  found->length = length;
  if (r->left) return length ? FRAME_DATA : FRAME_WANTS;
  end_frame(r);
  if (!r->final) return length ? FRAME_DATA : FRAME_WANTS;
  r->kind = 0;
  found->final = true;
  return FRAME_DATA;
}

bool frame_may_say(unsigned code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static FrameEvent read_close(FrameReader *r, FrameFound *found) {
  const uint8_t *said = (const uint8_t *)r->control;
  r->code = CLOSE_NONE;
  if (r->ncontrol == 1) return fail(r, CLOSE_PROTOCOL, "a Close frame has one byte");
  if (r->ncontrol) {
    r->code = (uint16_t)(said[0] << 8 | said[1]);
    if (!frame_may_say(r->code)) return fail(r, CLOSE_PROTOCOL, "a Close frame has a code that may not be sent");
    if (!utf8_is_text(r->control + 2, r->ncontrol - 2U))
      return fail(r, CLOSE_NOT_TEXT, "a Close frame's reason is not UTF-8");
    found->length = r->ncontrol - 2U;
  }
  r->closed = true;
  return FRAME_CLOSED;
}

static FrameEvent read_control(FrameReader *r, const char *bytes, size_t n, FrameFound *found) {
  size_t length = r->left < n ? (size_t)r->left : n;
  unmask(r, r->control + r->ncontrol, bytes, length);
  found->used += length;
  r->ncontrol = (uint8_t)(r->ncontrol + length);
  if (r->left) return FRAME_WANTS;
  end_frame(r);
  found->kind = r->opcode;
  if (r->opcode == FRAME_CLOSE) return read_close(r, found);
  found->length = r->ncontrol;
  return FRAME_CONTROL;
}

static bool is_between(const FrameReader *r) { return !r->have && !r->in_payload && !r->kind && !r->wrong && !r->closed; }

bool frame_read_whole(const FrameReader *r, const char *bytes, size_t n, char *to, size_t room, FrameFound *found) {
  const uint8_t *head = (const uint8_t *)bytes;
  if (n < 2 || !is_between(r) || !!(head[1] & MASK) != r->masked) return false;
  unsigned kind = head[0] ^ FIN, at = 2;
  size_t length = head[1] & LENGTH;
  if ((kind != FRAME_TEXT && kind != FRAME_BINARY) || length == LENGTH_64) return false;
  if (length == LENGTH_16) {
    if (n < 4 || (length = (size_t)head[2] << 8 | head[3]) < LENGTH_16) return false;
    at = 4;
  }
  const uint8_t *mask = head + at;
  if (r->masked) at += 4;
  if (length > room || length > r->most || n < at + length) return false;
  if (r->masked)
    frame_mask(to, bytes + at, length, mask, 0);
  else if (length)
    memcpy(to, bytes + at, length);
  if (kind == FRAME_TEXT && !utf8_is_text(to, length)) return false; /* frame_read says what is wrong */
  *found = (FrameFound){.used = at + length, .kind = kind, .length = length, .final = true};
  return true;
}

FrameEvent frame_read(FrameReader *r, const char *bytes, size_t n, char *to, FrameFound *found) {
  if (frame_read_whole(r, bytes, n, to, n, found)) return FRAME_DATA;
  *found = (FrameFound){0};
  while (!r->wrong) {
    if (r->closed) {
      found->used = n;
      return FRAME_WANTS;
    }
    if (!r->in_payload) {
      size_t used;
      if (read_head(r, bytes + found->used, n - found->used, &used) == FRAME_FAILED) break;
      found->used += used;
      if (!r->in_payload) return FRAME_WANTS;
    }
    FrameEvent event = is_control(r->opcode) ? read_control(r, bytes + found->used, n - found->used, found)
                                             : read_data(r, bytes + found->used, n - found->used, to, found);
    if (event != FRAME_WANTS || found->used == n) return event;
  }
  return FRAME_FAILED;
}

/* Written */

size_t frame_write_head(uint8_t to[FRAME_MOST_HEAD], FrameKind kind, uint64_t length, const uint8_t *mask) {
  size_t bytes = length < LENGTH_16 ? 0 : length < 0x10000U ? 2 : 8, at = 2;
  to[0] = (uint8_t)(FIN | kind);
  to[1] = (uint8_t)((mask ? MASK : 0) | (bytes == 0 ? length : bytes == 2 ? LENGTH_16 : LENGTH_64));
  for (size_t i = bytes; i-- > 0; at++) to[at] = (uint8_t)(length >> (8 * i));
  if (mask) {
    memcpy(to + at, mask, 4);
    at += 4;
  }
  return at;
}

void frame_mask(char *to, const char *from, size_t n, const uint8_t mask[4], size_t at) {
  size_t i = 0;
  uint8_t turned[8];
  uint64_t eight, key;
  for (size_t k = 0; k < sizeof turned; k++) turned[k] = mask[(at + k) & 3];
  memcpy(&key, turned, sizeof key);
  for (; i + sizeof eight <= n; i += sizeof eight) {
    memcpy(&eight, from + i, sizeof eight);
    eight ^= key;
    memcpy(to + i, &eight, sizeof eight);
  }
  for (; i < n; i++) to[i] = (char)((uint8_t)from[i] ^ mask[(at + i) & 3]);
}
