/*
** accept.c - what a WebSocket's opening handshake computes: SHA-1 (RFC 3174) and base64 (RFC 4648), neither of which
** keeps a secret here. They show that who answers has understood the question.
*/
#include "http/frame.h"

#include <string.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 1.3 */

enum { KEY = 24, BLOCK = 64, DIGEST = 20 };

static uint32_t rotate(uint32_t x, unsigned by) { return x << by | x >> (32 - by); }

static void digest_block(uint32_t h[5], const uint8_t block[BLOCK]) {
  static const uint32_t K[4] = {0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
  uint32_t w[80], v[5];
  for (size_t t = 0; t < 16; t++)
    w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 | (uint32_t)block[4 * t + 2] << 8 |
           block[4 * t + 3];
  for (size_t t = 16; t < 80; t++) w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
  memcpy(v, h, sizeof v);
  for (size_t t = 0; t < 80; t++) {
    uint32_t b = v[1], c = v[2], d = v[3];
    uint32_t f = t < 20 ? (b & c) | (~b & d) : t < 40 || t >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
    uint32_t next = rotate(v[0], 5) + f + v[4] + w[t] + K[t / 20];
    memmove(v + 1, v, 4 * sizeof *v);
    v[2] = rotate(b, 30);
    v[0] = next;
  }
  for (size_t i = 0; i < 5; i++) h[i] += v[i];
}

/* Of a text of up to 2 * BLOCK - 9 bytes. */
static void digest(uint8_t out[DIGEST], const char *text, size_t n) {
  uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
  uint8_t padded[2 * BLOCK] = {0};
  size_t length = n + 9 > BLOCK ? 2 * BLOCK : BLOCK;
  memcpy(padded, text, n);
  padded[n] = 0x80;
  padded[length - 2] = (uint8_t)(n * 8 >> 8);
  padded[length - 1] = (uint8_t)(n * 8);
  for (size_t at = 0; at < length; at += BLOCK) digest_block(h, padded + at);
  for (size_t i = 0; i < DIGEST; i++) out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i & 3)));
}

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Writes four characters for each three bytes begun. */
static void encode(char *to, const uint8_t *bytes, size_t n) {
  for (size_t i = 0; i < n; i += 3, to += 4) {
    size_t have = n - i < 3 ? n - i : 3;
    uint32_t three = (uint32_t)bytes[i] << 16;
    if (have > 1) three |= (uint32_t)bytes[i + 1] << 8;
    if (have > 2) three |= bytes[i + 2];
    for (size_t k = 0; k < 4; k++) to[k] = (char)(k <= have ? DIGITS[three >> (18 - 6 * k) & 63] : '=');
  }
}

void frame_key(char key[24], const uint8_t bytes[16]) { encode(key, bytes, 16); }

bool frame_is_key(const char *key, size_t n) {
  if (n != KEY || key[22] != '=' || key[23] != '=') return false;
  for (size_t i = 0; i < 22; i++)
    if (!key[i] || !strchr(DIGITS, key[i])) return false;
  return ((size_t)(strchr(DIGITS, key[21]) - DIGITS) & 15) == 0; /* the bits of its last byte, and no more */
}

void frame_accept(char accept[28], const char *key, size_t n) {
  char text[KEY + sizeof GUID];
  uint8_t sum[DIGEST];
  n = n < KEY ? n : KEY;
  memcpy(text, key, n);
  memcpy(text + n, GUID, sizeof GUID - 1);
  digest(sum, text, n + sizeof GUID - 1);
  encode(accept, sum, sizeof sum);
}
