/*
** connection.h - one HTTP/1.1 connection, seen by a server or by a client: what the peer's bytes say, and what may be said
** to it. No Lua, no loop, no memory of its own: the bytes that were not used are given again, with those behind them.
**
** Its states are those of Python's h11. What always holds: an error of the peer's is final; a message without a body is done
** with its head; nothing is read beyond a message until http_next_cycle.
*/
#ifndef ASY_HTTP_CONNECTION_H
#define ASY_HTTP_CONNECTION_H

#include "http/head.h"
#include "http/lines.h"

#pragma GCC visibility push(hidden)

typedef enum HttpState {
  HTTP_IDLE,
  HTTP_SEND_RESPONSE, /* a server's: a request has begun */
  HTTP_SEND_BODY,
  HTTP_DONE,
  HTTP_MUST_CLOSE, /* done, and nothing may follow */
  HTTP_CLOSED,
  HTTP_MIGHT_SWITCH, /* done, and has asked for another protocol */
  HTTP_SWITCHED,
  HTTP_ERROR
} HttpState;

typedef enum HttpFraming {
  FRAMING_NONE,
  FRAMING_LENGTH,
  FRAMING_CHUNKED,
  FRAMING_CLOSE
} HttpFraming;

typedef enum HttpPhase { /* of what is read */
                         PHASE_HEAD,
                         PHASE_HEAD_WHOLE, /* found; http_read_head is to be called */
                         PHASE_LENGTH,
                         PHASE_CHUNK,
                         PHASE_CHUNK_DATA,
                         PHASE_CHUNK_END,
                         PHASE_TRAILERS,
                         PHASE_TRAILERS_WHOLE, /* likewise http_read_trailers */
                         PHASE_CLOSE,
                         PHASE_OVER
} HttpPhase;

typedef struct HttpLimits {
  HttpBounds head, trailers;
  uint32_t chunk_line;
} HttpLimits;

typedef struct HttpConnection {
  HttpLimits limits;
  uint64_t seen;       /* bytes used */
  uint64_t left;       /* of a body of known length, or of a chunk */
  uint64_t to_send;    /* likewise, of ours */
  uint32_t extensions; /* bytes of them in this body */
  HttpLines lines;
  HttpStart start;
  HttpFault fault;
  uint8_t ours, theirs;   /* HttpState */
  uint8_t phase, framing; /* HttpPhase, HttpFraming: of what is read */
  uint8_t sending;        /* HttpFraming: of what is sent */
  uint8_t informed;       /* answers that were no final ones */
  bool server;
  bool ended;     /* the peer sends no more */
  bool skipped;   /* an empty line before a request */
  bool started;   /* the first line has been read */
  bool keep;      /* both go on after this exchange, so far */
  bool said_keep; /* an old client asks for it */
  bool old;       /* the peer is an HTTP/1.0 one */
  bool head_only; /* the request is a HEAD */
  bool connect;   /* it is a CONNECT */
  bool asks;      /* for another protocol */
} HttpConnection;

void http_init(HttpConnection *c, bool server, const HttpLimits *limits);

/* Reading */

typedef enum HttpEvent {
  HTTP_MORE,     /* more bytes are needed */
  HTTP_HEAD,     /* a head is whole, `used` bytes: http_read_head, then these are used */
  HTTP_DATA,     /* a piece of the body: `data` */
  HTTP_TRAILERS, /* trailers are whole, `used` bytes: http_read_trailers, then these are used */
  HTTP_END,      /* the body is complete; no trailers */
  HTTP_PAUSED,
  HTTP_CLOSE, /* the peer has ended between messages */
  HTTP_FAULT  /* c->fault */
} HttpEvent;

typedef struct HttpFound {
  size_t used; /* bytes from the front that are not to be given again */
  const char *data;
  size_t n;
} HttpFound;

HttpEvent http_read(HttpConnection *c, const char *bytes, size_t n, HttpFound *found);

/* How many fields the head or the trailers have that are whole. */
static inline int http_count(const HttpConnection *c) {
  return (int)c->lines.n - (c->phase == PHASE_HEAD_WHOLE);
}

/* After HTTP_HEAD, with its bytes, or a copy. False: c->fault. The spans are places in them; c->start's too. */
bool http_read_head(HttpConnection *c, const char *bytes, size_t n, HttpField *fields,
                    HttpSaid *said);
bool http_read_trailers(HttpConnection *c, const char *bytes, size_t n, HttpField *fields);

/* A fault that was found by who looks at the values. False. */
bool http_refuse(HttpConnection *c, int status, const char *what, uint64_t at);

/* Sending. Each `plan` says what a head's lines are to be, or in words what is wrong; `sent` then moves the state. */

typedef struct HttpPlan {
  uint16_t status;
  bool body;       /* what the caller says: there is one */
  bool has_length; /* its length is known */
  uint64_t length;
  bool by_hand; /* Content-Length is among the fields */
  uint64_t hand;
  bool close;   /* "close" is among them */
  bool upgrade; /* so is Upgrade */
  /* out */
  HttpFraming framing;
  bool says_length, says_chunked, says_close, says_keep, says_upgrade;
  bool drops; /* the body isn't sent */
} HttpPlan;

const char *http_plan_response(const HttpConnection *c, HttpPlan *plan);
void http_sent_response(HttpConnection *c, const HttpPlan *plan);

const char *http_plan_request(const HttpConnection *c, const char *method, size_t n,
                              HttpPlan *plan);
void http_sent_request(HttpConnection *c, const char *method, size_t n, const HttpPlan *plan);

/* Whether an answer that is no final one may be sent now; NULL: yes. */
const char *http_may_inform(const HttpConnection *c);

/* Whether the connection may be given to another protocol; then it is. */
const char *http_may_upgrade(const HttpConnection *c);
void http_switch(HttpConnection *c);

/* Whether n more bytes of a body may be sent, and whether the body may end here. */
const char *http_may_send(const HttpConnection *c, size_t n);
void http_sent(HttpConnection *c, size_t n);
const char *http_may_end(const HttpConnection *c);
void http_sent_end(HttpConnection *c);

/* 1: the next message may come; 0: none does; -1: one side isn't done. */
int http_next_cycle(HttpConnection *c);

/* The answer says that it is the last. */
void http_must_close(HttpConnection *c);

extern const char *const http_state_names[];

/* A status's usual words; NULL: none. */
const char *http_reason(int status);

#pragma GCC visibility pop

#endif
