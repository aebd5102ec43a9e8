/*
** frame.h - WebSocket's frames (RFC 6455): what the peer's bytes say, and how ours are written. No Lua, no loop, no memory
** of its own: data comes in pieces, as the bytes do, and is written unmasked to where the caller says.
**
** What always holds: an error is final, and nothing is read after a Close frame.
*/
#ifndef ASY_HTTP_FRAME_H
#define ASY_HTTP_FRAME_H

#include "http/utf8.h"

#pragma GCC visibility push(hidden)

typedef enum FrameKind { /* the opcodes */
  FRAME_MORE = 0,
  FRAME_TEXT = 1,
  FRAME_BINARY = 2,
  FRAME_CLOSE = 8,
  FRAME_PING = 9,
  FRAME_PONG = 10
} FrameKind;

enum {
  FRAME_MOST_CONTROL = 125, /* bytes of a Ping, a Pong or a Close */
  FRAME_MOST_HEAD = 14
};

enum { /* codes of closing that are ours to say */
  CLOSE_NORMAL = 1000,
  CLOSE_PROTOCOL = 1002,
  CLOSE_NONE = 1005, /* never sent: a Close frame without one */
  CLOSE_NOT_TEXT = 1007,
  CLOSE_TOO_BIG = 1009
};

typedef enum FrameEvent {
  FRAME_WANTS, /* all bytes are used; there is no more to say */
  FRAME_DATA,  /* a piece of a message, perhaps empty: kind, length, final */
  FRAME_CONTROL, /* kind: a Ping or Pong with `length` bytes in reader.control */
  FRAME_CLOSED,  /* a Close frame: code; its reason: `length` bytes in reader.control + 2 */
  FRAME_FAILED   /* code and words; again with every call */
} FrameEvent;

typedef struct FrameReader {
  uint64_t left;     /* bytes of the frame's payload that are still to come */
  uint64_t message;  /* bytes of the message so far, its frames' announced ones included */
  uint64_t most;     /* that they may be */
  const char *wrong; /* words; NULL: nothing is */
  uint16_t code;     /* with which they are closed */
  Utf8 text;
  uint8_t head[FRAME_MOST_HEAD];
  uint8_t have;       /* bytes of a head */
  uint8_t opcode;     /* of the frame, once its head is whole */
  uint8_t kind;       /* of the message under way; 0: none */
  uint8_t at;         /* the mask's next byte */
  uint8_t mask[4];
  uint8_t ncontrol;
  bool masked;        /* the peer's frames must be, ours must not: the server's side */
  bool final;
  bool in_payload;
  bool closed;
  char control[FRAME_MOST_CONTROL];
} FrameReader;

typedef struct FrameFound {
  size_t used; /* of the bytes given */
  FrameKind kind;
  size_t length;
  bool final; /* the message's last piece */
} FrameFound;

/* masked: the peer is a client. most: bytes of a message. */
void frame_reader_init(FrameReader *r, bool masked, uint64_t most);

/* What comes next in `bytes`. A piece of data is written to `to`, which has room for n bytes. */
FrameEvent frame_read(FrameReader *r, const char *bytes, size_t n, char *to, FrameFound *found);

/* The same for the busiest case, and then true: the bytes begin with a message in one frame, of `room` bytes at most, and
** all of it is there; nothing of another is under way. The reader need not know of it. */
bool frame_read_whole(const FrameReader *r, const char *bytes, size_t n, char *to, size_t room, FrameFound *found);

/* Writes the head of a whole message or control frame; returns its length. mask: four bytes, NULL for a server. */
size_t frame_write_head(uint8_t to[FRAME_MOST_HEAD], FrameKind kind, uint64_t length, const uint8_t *mask);

/* `at`: the offset in the payload. */
void frame_mask(char *to, const char *from, size_t n, const uint8_t mask[4], size_t at);

/* Whether a Close frame may carry it. */
bool frame_may_say(unsigned code);

/* The value of Sec-WebSocket-Accept for a key, 28 characters. */
void frame_accept(char accept[28], const char *key, size_t n);

/* Whether it is the base64 of 16 bytes, as a key must be. */
bool frame_is_key(const char *key, size_t n);

/* The key that these bytes are, 24 characters. */
void frame_key(char key[24], const uint8_t bytes[16]);

#pragma GCC visibility pop

#endif
