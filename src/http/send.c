/*
** send.c - what may be said to the peer (connection.h).
*/
#include <string.h>

#include "http/connection.h"

const char *const http_state_names[] = {
    "idle",   "send_response",         "send_body",         "done", "must_close",
    "closed", "might_switch_protocol", "switched_protocol", "error"};

void http_init(HttpConnection *c, bool server, const HttpLimits *limits) {
  *c = (HttpConnection){.limits = *limits, .server = server, .keep = true};
}

static void settle(HttpConnection *c) {
  if (c->keep) return;
  if (c->ours == HTTP_DONE) c->ours = HTTP_MUST_CLOSE;
  if (c->theirs == HTTP_DONE) c->theirs = HTTP_MUST_CLOSE;
}

void http_must_close(HttpConnection *c) {
  c->keep = false;
  settle(c);
}

void http_switch(HttpConnection *c) {
  c->ours = c->theirs = HTTP_SWITCHED;
  c->phase = PHASE_OVER;
}

/* Heads */

/* Whether a length by hand and the body agree; then what the length is. */
static const char *agree(HttpPlan *p) {
  if (!p->by_hand) return NULL;
  if (p->has_length && p->hand != p->length) return "Content-Length is not the body's length";
  if (!p->body && p->hand && !p->drops) return "Content-Length is not 0, but there is no body";
  if (p->body && !p->has_length) p->length = p->hand;
  p->has_length = true;
  return NULL;
}

static void frame(HttpPlan *p, bool chunked) {
  if (!p->body && !p->has_length) {
    p->framing = FRAMING_NONE;
    return;
  }
  p->framing = p->has_length ? FRAMING_LENGTH : chunked ? FRAMING_CHUNKED : FRAMING_CLOSE;
  p->says_chunked = p->framing == FRAMING_CHUNKED;
  p->says_length = p->framing == FRAMING_LENGTH;
}

static const char *plan_empty(HttpPlan *p) {
  if (p->body && (!p->has_length || p->length)) return "such an answer has no body";
  if (p->by_hand && p->status != 304) return "such an answer has no Content-Length";
  p->framing = FRAMING_NONE;
  p->says_length = p->by_hand;
  p->length = p->hand;
  p->drops = true;
  return NULL;
}

/* What Connection is to say. */
static void plan_connection(const HttpConnection *c, HttpPlan *p) {
  bool keep = c->keep && !p->close && p->framing != FRAMING_CLOSE && c->theirs != HTTP_ERROR;
  p->says_close = !keep;
  p->says_keep = keep && c->old && c->said_keep;
  p->says_upgrade = p->upgrade;
}

const char *http_plan_response(const HttpConnection *c, HttpPlan *p) {
  bool failed = c->theirs == HTTP_ERROR || c->theirs == HTTP_CLOSED;
  if (c->ours != HTTP_SEND_RESPONSE && !(c->ours == HTTP_IDLE && failed))
    return "no request waits for an answer";
  if (p->status < 200) return "this is no final answer's status";
  if (c->connect && p->status / 100 == 2) {
    if (p->body) return "such an answer has no body";
    p->framing = FRAMING_NONE;
    return p->by_hand ? "such an answer has no Content-Length" : NULL;
  }
  if (p->status == 204 || p->status == 304) {
    const char *wrong = plan_empty(p);
    if (wrong) return wrong;
  } else {
    p->drops = c->head_only;
    const char *wrong = agree(p);
    if (wrong) return wrong;
    if (!p->body && !p->by_hand && !c->head_only) {
      p->has_length = true;
      p->length = 0;
    }
    if (!p->body && p->by_hand) p->length = p->hand;
    frame(p, !c->old);
    if (p->framing == FRAMING_CLOSE && c->head_only) p->framing = FRAMING_NONE;
  }
  plan_connection(c, p);
  return NULL;
}

static void begin_sending(HttpConnection *c, const HttpPlan *p) {
  c->sending = (uint8_t)p->framing;
  c->to_send = p->framing == FRAMING_LENGTH ? p->length : 0;
  c->ours = p->drops || p->framing == FRAMING_NONE || (p->framing == FRAMING_LENGTH && !p->length)
                ? HTTP_DONE
                : HTTP_SEND_BODY;
}

void http_sent_response(HttpConnection *c, const HttpPlan *p) {
  if (c->connect && p->status / 100 == 2) {
    http_switch(c);
    return;
  }
  if (p->says_close) c->keep = false;
  if (c->theirs == HTTP_MIGHT_SWITCH) c->theirs = HTTP_DONE;
  c->asks = false; /* it is refused */
  begin_sending(c, p);
  settle(c);
}

const char *http_plan_request(const HttpConnection *c, const char *method, size_t n, HttpPlan *p) {
  if (c->ours != HTTP_IDLE || c->theirs != HTTP_IDLE) return "the last exchange is not finished";
  if (c->ended) return "the server has ended";
  const char *wrong = agree(p);
  if (wrong) return wrong;
  bool connect = n == 7 && memcmp(method, "CONNECT", 7) == 0;
  if (connect && (p->body || p->by_hand)) return "a CONNECT has no body";
  bool usual = (n == 4 && memcmp(method, "POST", 4) == 0) ||
               (n == 3 && memcmp(method, "PUT", 3) == 0) ||
               (n == 5 && memcmp(method, "PATCH", 5) == 0);
  if (!p->body && usual) p->has_length = true;
  if (!p->body) p->length = 0;
  frame(p, true);
  p->says_close = p->close || !c->keep;
  p->says_upgrade = p->upgrade;
  return NULL;
}

void http_sent_request(HttpConnection *c, const char *method, size_t n, const HttpPlan *p) {
  c->head_only = n == 4 && memcmp(method, "HEAD", 4) == 0;
  c->connect = n == 7 && memcmp(method, "CONNECT", 7) == 0;
  c->asks = c->connect || p->upgrade;
  if (p->says_close) c->keep = false;
  c->theirs = HTTP_SEND_RESPONSE;
  begin_sending(c, p);
  if (c->ours == HTTP_DONE && c->asks) c->ours = HTTP_MIGHT_SWITCH;
  settle(c);
}

const char *http_may_inform(const HttpConnection *c) {
  return c->ours == HTTP_SEND_RESPONSE ? NULL : "no request waits for an answer";
}

const char *http_may_upgrade(const HttpConnection *c) {
  if (c->ours != HTTP_SEND_RESPONSE) return "no request waits for an answer";
  if (!c->asks || c->connect) return "the request asks for no other protocol";
  return c->theirs == HTTP_MIGHT_SWITCH ? NULL : "the request's body is not read";
}

/* Bodies */

const char *http_may_send(const HttpConnection *c, size_t n) {
  if (c->ours != HTTP_SEND_BODY) return "no body is being sent";
  if (c->sending == FRAMING_LENGTH && n > c->to_send)
    return "the body is longer than its Content-Length";
  return NULL;
}

void http_sent(HttpConnection *c, size_t n) {
  if (c->sending == FRAMING_LENGTH) c->to_send -= n;
}

const char *http_may_end(const HttpConnection *c) {
  if (c->ours != HTTP_SEND_BODY) return "no body is being sent";
  return c->sending == FRAMING_LENGTH && c->to_send ? "the body is shorter than its Content-Length"
                                                    : NULL;
}

void http_sent_end(HttpConnection *c) {
  c->ours = !c->server && c->asks ? HTTP_MIGHT_SWITCH : HTTP_DONE;
  settle(c);
}

/* Cycles */

static bool is_finished(uint8_t state) {
  return state == HTTP_DONE || state == HTTP_MUST_CLOSE || state == HTTP_CLOSED ||
         state == HTTP_ERROR;
}

int http_next_cycle(HttpConnection *c) {
  if (c->ours == HTTP_MIGHT_SWITCH && is_finished(c->theirs)) {
    c->ours = HTTP_DONE; /* it was refused */
    settle(c);
  }
  if (c->ours != HTTP_DONE || c->theirs != HTTP_DONE) {
    bool never = c->theirs == HTTP_ERROR || c->theirs == HTTP_CLOSED || c->theirs == HTTP_SWITCHED;
    return never || (is_finished(c->theirs) && is_finished(c->ours)) ? 0 : -1;
  }
  c->ours = c->theirs = HTTP_IDLE;
  c->phase = PHASE_HEAD;
  c->informed = 0;
  c->said_keep = c->old = c->head_only = c->connect = c->asks = false;
  return 1;
}
