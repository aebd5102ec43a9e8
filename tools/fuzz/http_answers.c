/*
** fuzz/http_answers.c - answers, to requests of several kinds; as http_requests.c.
**
** Input: how (1 byte: the limits, and what was asked), the bytes.
*/
#include "http_events.h"

static void start(HttpConnection *c, unsigned how) {
  static const char *const methods[] = {"GET", "HEAD", "CONNECT", "POST"};
  const char *method = methods[how >> 1 & 3];
  HttpPlan plan = {.upgrade = (how & 8) != 0, .close = (how & 16) != 0};
  http_init(c, false, how & 1 ? &http_small : &http_usual);
  check(!http_plan_request(c, method, strlen(method), &plan));
  http_sent_request(c, method, strlen(method), &plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
  if (!length) return 0;
  check_splits(start, bytes[0], (const char *)bytes + 1, length - 1);
  return 0;
}
