/*
** session.c - the sessions that a client keeps, to resume them: the 100 that were used last; how long a server's last.
*/
#include "tls/session.h"

#include <time.h>

#include "base/alloc.h"

typedef struct SessionEntry {
  char *key;
  SSL_SESSION *session;
} SessionEntry;

static bool is_used_once(const SSL_SESSION *session) {
  return SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION;
}

static void take_out(Sessions *s, size_t i) {
  mem_free(s->entries[i].key);
  memmove(s->entries + i, s->entries + i + 1, (--s->n - i) * sizeof *s->entries);
}

static void drop(Sessions *s, size_t i) {
  SSL_SESSION_free(s->entries[i].session);
  take_out(s, i);
}

/* Neither it nor the certificate behind it may be too old. */
static bool is_good(SSL_SESSION *session) {
  const X509 *cert = SSL_SESSION_get0_peer(session);
  long long now = (long long)time(NULL), since = SSL_SESSION_get_time(session);
  if (!SSL_SESSION_is_resumable(session) || now < since) return false;
  if (now >= since + SSL_SESSION_get_timeout(session)) return false;
  return !cert || X509_cmp_current_time(X509_get0_notAfter(cert)) > 0;
}

bool sessions_put(Sessions *s, const char *key, SSL_SESSION *session) {
  size_t same = 0, most = is_used_once(session) ? SESSIONS_PER_KEY : 1;
  if (!s->entries) {
    if (!(s->entries = mem_calloc(SESSIONS_MOST, sizeof *s->entries))) return false;
    s->n = 0;
  }
  char *copy = mem_strdup(key);
  if (!copy) return false;
  for (size_t i = s->n; i-- > 0;)
    if (!strcmp(s->entries[i].key, key) && ++same >= most) drop(s, i);
  if (s->n == SESSIONS_MOST) drop(s, 0);
  s->entries[s->n++] = (SessionEntry){copy, session};
  return true;
}

SSL_SESSION *sessions_take(Sessions *s, const char *key) {
  for (size_t i = s->n; i-- > 0;) {
    SessionEntry entry = s->entries[i];
    if (strcmp(entry.key, key) != 0) continue;
    if (!is_good(entry.session)) {
      drop(s, i);
    } else if (is_used_once(entry.session)) {
      take_out(s, i);
      return entry.session;
    } else {
      memmove(s->entries + i, s->entries + i + 1, (s->n - 1 - i) * sizeof entry);
      s->entries[s->n - 1] = entry;
      SSL_SESSION_up_ref(entry.session);
      return entry.session;
    }
  }
  return NULL;
}

void sessions_forget(Sessions *s, const char *key) {
  for (size_t i = s->n; i-- > 0;)
    if (!strcmp(s->entries[i].key, key)) drop(s, i);
}

void sessions_free(Sessions *s) {
  while (s->n) drop(s, s->n - 1);
  mem_free(s->entries);
  s->entries = NULL;
}

void session_limit(SSL_SESSION *session) {
  const X509 *cert = SSL_SESSION_get0_peer(session);
  struct tm tm;
  if (!cert || !ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm)) return;
  long long most = (long long)timegm(&tm) - SSL_SESSION_get_time(session) - 1;
  if (most < 0) most = 0;
  if (most < SSL_SESSION_get_timeout(session)) SSL_SESSION_set_timeout(session, (long)most);
}
