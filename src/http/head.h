/*
** head.h - the lines of a head: a request's first one, an answer's, and the fields; and what the fields say of the message.
*/
#ifndef ASY_HTTP_HEAD_H
#define ASY_HTTP_HEAD_H

#include "http/fault.h"

#include <stddef.h>

#pragma GCC visibility push(hidden)

typedef struct HttpSpan {
  uint32_t from, n;
} HttpSpan;

typedef struct HttpField {
  HttpSpan name, value;
} HttpField;

typedef enum HttpForm { FORM_ORIGIN, FORM_ABSOLUTE, FORM_AUTHORITY, FORM_ASTERISK } HttpForm;

/* A first line. Its spans are places in it. */
typedef struct HttpStart {
  HttpSpan method, target;    /* a request's */
  HttpSpan reason;            /* an answer's */
  HttpSpan host, path, query; /* within the target; a query may be empty */
  uint16_t status;
  uint8_t form; /* HttpForm */
  bool has_query, has_host, is_https;
  bool old; /* HTTP/1.0; otherwise it is 1.1, or is taken for that */
} HttpStart;

/* The fields that say how the message goes on, or what must not be said twice. */
typedef enum HttpName {
  NAME_OTHER = 0,
  NAME_CONTENT_LENGTH,
  NAME_TRANSFER_ENCODING,
  NAME_CONNECTION,
  NAME_HOST,
  NAME_UPGRADE,
  NAME_EXPECT,
  NAME_DATE,
  NAME_SET_COOKIE,
  NAME_SINGLE /* and above: once in a request */
} HttpName;

HttpName http_name(const char *name, size_t n);

/* What the fields say together. */
typedef struct HttpSaid {
  uint64_t length;
  int host, upgrade; /* which fields; -1 none */
  bool has_length, chunked, codings, close, keep_alive, asks_upgrade, expects_continue,
      expects_other;
} HttpSaid;

/* The line without its CR LF; the spans are relative to its first byte. */
bool http_request_line(const char *line, size_t n, HttpStart *out, HttpFault *fault);
bool http_status_line(const char *line, size_t n, HttpStart *out, HttpFault *fault);

/* Whole lines with CR LF, `n` of them, from bytes[from] on, into fields[]; and what they say. request: whose fields they
** are; answers may say some things twice. */
bool http_fields(const char *bytes, uint32_t from, HttpField *fields, int n, bool request,
                 HttpSaid *said, HttpFault *fault);

/* The same, whatever they say. */
bool http_split(const char *bytes, uint32_t from, HttpField *fields, int n, HttpFault *fault);

/* Likewise, but that what frames a message, or says whose it is, stands in no trailer. */
bool http_trailers(const char *bytes, uint32_t from, HttpField *fields, int n, HttpFault *fault);

#pragma GCC visibility pop

#endif
