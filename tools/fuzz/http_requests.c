/*
** fuzz/http_requests.c - requests: whatever the bytes are, however they come, the events are the same, what they tell lies
** in the bytes, and an error is final.
**
** Input: how (1 byte: small limits or the usual ones), the bytes.
*/
#include "http_events.h"

static void start(HttpConnection *c, unsigned how) {
  http_init(c, true, how & 1 ? &http_small : &http_usual);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
  if (!length) return 0;
  check_splits(start, bytes[0], (const char *)bytes + 1, length - 1);
  return 0;
}
