/*
** field.c - lines of fields, and what they say of the message (head.h).
*/
#include "http/chars.h"
#include "http/head.h"
#include "http/url.h"

/* Lines */

static const char *wrong_name(const char *bytes, uint32_t from, uint32_t at) {
  bool space = bytes[at] == ' ' || bytes[at] == '\t';
  if (at > from)
    return space ? "there is a space before a field's colon" : "a field's name is no token";
  return space              ? "a field goes on in a line of its own"
         : bytes[at] == ':' ? "a field has no name"
                            : "a field's name is no token";
}

/* The line at bytes[from], a whole one with CR LF. Returns where the next begins; 0: it is wrong. */
static uint32_t read_field(const char *bytes, uint32_t from, HttpField *field, HttpFault *fault) {
  uint32_t at = from;
  while (http_is(bytes[at], CHAR_TOKEN)) at++;
  if (bytes[at] != ':' || at == from) {
    http_wrong(fault, 400, wrong_name(bytes, from, at), at);
    return 0;
  }
  field->name = (HttpSpan){from, at - from};
  at++;
  while (bytes[at] == ' ' || bytes[at] == '\t') at++;
  uint32_t begin = at;
  while (http_is(bytes[at], CHAR_VALUE)) at++;
  if (bytes[at] != '\r' || bytes[at + 1] != '\n') {
    http_wrong(fault, 400,
               bytes[at] == '\r' ? "a line has a CR without LF"
                                 : "a field's value has a control character",
               at);
    return 0;
  }
  uint32_t end = at;
  while (end > begin && (bytes[end - 1] == ' ' || bytes[end - 1] == '\t')) end--;
  field->value = (HttpSpan){begin, end - begin};
  return at + 2;
}

bool http_split(const char *bytes, uint32_t from, HttpField *fields, int n, HttpFault *fault) {
  for (int i = 0; i < n; i++) {
    from = read_field(bytes, from, &fields[i], fault);
    if (!from) return false;
  }
  return true;
}

bool http_trailers(const char *bytes, uint32_t from, HttpField *fields, int n, HttpFault *fault) {
  if (!http_split(bytes, from, fields, n, fault)) return false;
  for (int i = 0; i < n; i++) {
    HttpName name = http_name(bytes + fields[i].name.from, fields[i].name.n);
    if (name == NAME_CONTENT_LENGTH || name == NAME_TRANSFER_ENCODING || name == NAME_HOST)
      return http_wrong(fault, 400, "a trailer says what only a head says", fields[i].name.from);
  }
  return true;
}

/* Meaning */

static bool read_connection(const char *value, size_t n, HttpSaid *said) {
  const char *member;
  size_t at = 0, length;
  while (http_member(value, n, &at, &member, &length)) {
    if (!length) continue;
    if (!http_is_token(member, length)) return false;
    if (HTTP_SAME(member, length, "close"))
      said->close = true;
    else if (HTTP_SAME(member, length, "keep-alive"))
      said->keep_alive = true;
    else if (HTTP_SAME(member, length, "upgrade"))
      said->asks_upgrade = true;
  }
  return true;
}

static bool say_length(HttpSaid *said, const char *value, size_t n, bool request, HttpFault *fault,
                       uint32_t at) {
  uint64_t length;
  if (!http_number(value, n, &length))
    return http_wrong(fault, 400, "Content-Length is no number", at);
  if (said->has_length && (request || said->length != length))
    return http_wrong(fault, 400, "Content-Length is there twice", at);
  said->has_length = true;
  said->length = length;
  return true;
}

/* Nothing but chunked is known. What is chunked last, and once, could be framed; all else could not. */
static bool say_coding(HttpSaid *said, const char *value, size_t n, HttpFault *fault, uint32_t at) {
  const char *member;
  size_t from = 0, length;
  int chunked = 0, others = 0;
  if (said->codings) return http_wrong(fault, 400, "Transfer-Encoding is there twice", at);
  said->codings = true;
  said->chunked = HTTP_SAME(value, n, "chunked");
  if (said->chunked) return true;
  for (bool last = false; http_member(value, n, &from, &member, &length);) {
    last = HTTP_SAME(member, length, "chunked");
    chunked += last;
    others += !last;
    if (from > n && last && chunked == 1 && others)
      return http_wrong(fault, 501, "Transfer-Encoding has more than chunked", at);
  }
  return http_wrong(fault, 400, "Transfer-Encoding is not chunked", at);
}

static bool say_host(HttpSaid *said, int i, const char *value, size_t n, HttpFault *fault,
                     uint32_t at) {
  if (said->host >= 0) return http_wrong(fault, 400, "Host is there twice", at);
  said->host = i;
  return http_is_host(value, n) || http_wrong(fault, 400, "Host is no host", at);
}

/* Whether there is a member in the list; its form is looked at by who knows the protocol. */
static bool names_protocol(const char *value, size_t n) {
  const char *member;
  size_t at = 0, length;
  while (http_member(value, n, &at, &member, &length))
    if (length) return true;
  return false;
}

static bool say(HttpSaid *said, int i, HttpName name, const char *value, size_t n, bool request,
                HttpFault *fault, uint32_t at) {
  switch (name) {
  case NAME_CONTENT_LENGTH: return say_length(said, value, n, request, fault, at);
  case NAME_TRANSFER_ENCODING: return say_coding(said, value, n, fault, at);
  case NAME_HOST: return !request || say_host(said, i, value, n, fault, at);
  case NAME_CONNECTION:
    return read_connection(value, n, said) ||
           http_wrong(fault, 400, "Connection is no list of tokens", at);
  case NAME_UPGRADE:
    if (said->upgrade < 0 && names_protocol(value, n)) said->upgrade = i;
    return true;
  case NAME_EXPECT:
    if (HTTP_SAME(value, n, "100-continue"))
      said->expects_continue = true;
    else
      said->expects_other = true;
    return true;
  default: return true;
  }
}

bool http_fields(const char *bytes, uint32_t from, HttpField *fields, int n, bool request,
                 HttpSaid *said, HttpFault *fault) {
  uint32_t seen = 0; /* one bit for each that is there once */
  *said = (HttpSaid){.host = -1, .upgrade = -1};
  for (int i = 0; i < n; i++) {
    uint32_t at = from;
    from = read_field(bytes, from, &fields[i], fault);
    if (!from) return false;
    HttpName name = http_name(bytes + at, fields[i].name.n);
    if (name == NAME_OTHER) continue;
    if (request && name >= NAME_SINGLE) {
      if (seen & 1u << (name - NAME_SINGLE))
        return http_wrong(fault, 400, "a field is there twice that may be there once", at);
      seen |= 1u << (name - NAME_SINGLE);
    }
    if (!say(said, i, name, bytes + fields[i].value.from, fields[i].value.n, request, fault, at))
      return false;
  }
  return true;
}
