/*
** verify.c - a peer's certificate that isn't accepted: why, with its own names and dates.
**
** What comes from a certificate is a stranger's: it is shortened, and shows no control characters.
*/
#include "tls/verify.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define SHOWN 80       /* bytes of a name */
#define NAMES_SHOWN 3  /* names of a certificate */
#define NAMES_TEXT 280

/* Words from a certificate */

static void show(char *to, size_t size, const unsigned char *bytes, int n) {
  size_t len = n < 0 ? 0 : (size_t)n;
  bool cut = len >= size;
  if (cut) len = size - 4;
  while (cut && len && (bytes[len] & 0xc0) == 0x80) len--; /* no half character */
  for (size_t i = 0; i < len; i++) to[i] = (char)(bytes[i] < ' ' || bytes[i] == 127 ? '?' : bytes[i]);
  memcpy(to + len, cut ? "..." : "", cut ? 4 : 1);
}

static bool show_entry(char *to, size_t size, const X509_NAME *name, int nid) {
  unsigned char *utf8;
  int at = X509_NAME_get_index_by_NID(name, nid, -1);
  if (at < 0) return false;
  int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  if (n < 0) return false;
  show(to, size, utf8, n);
  OPENSSL_free(utf8);
  return true;
}

/* What people call it: its common name, or its organisation. */
static void show_name(char to[SHOWN], const X509_NAME *name) {
  if (show_entry(to, SHOWN, name, NID_commonName) || show_entry(to, SHOWN, name, NID_organizationalUnitName) ||
      show_entry(to, SHOWN, name, NID_organizationName))
    return;
  snprintf(to, SHOWN, "(without a name)");
}

static void show_time(char to[SHOWN], const ASN1_TIME *time) {
  struct tm tm;
  if (ASN1_TIME_to_tm(time, &tm))
    snprintf(to, SHOWN, "%04d-%02d-%02d %02d:%02d:%02d UTC", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
             tm.tm_min, tm.tm_sec);
  else
    snprintf(to, SHOWN, "(no time that can be read)");
}

static bool show_general(char to[SHOWN], const GENERAL_NAME *name) {
  int type;
  const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
  if (type == GEN_DNS) {
    show(to, SHOWN, ASN1_STRING_get0_data(value), ASN1_STRING_length(value));
    return true;
  }
  int n = type == GEN_IPADD ? ASN1_STRING_length(value) : 0;
  return (n == 4 || n == 16) && inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value), to, SHOWN);
}

/* The hosts that it is for: "a.example, b.example and 7 more". How many. */
static int show_hosts(char to[NAMES_TEXT], X509 *cert) {
  GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
  char one[SHOWN];
  int n = 0;
  size_t at = 0;
  *to = 0;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
    if (!show_general(one, sk_GENERAL_NAME_value(names, i)) || n++ >= NAMES_SHOWN) continue;
    at += (size_t)snprintf(to + at, NAMES_TEXT - at, "%s%s", at ? ", " : "", one);
  }
  if (n > NAMES_SHOWN) snprintf(to + at, NAMES_TEXT - at, " and %d more", n - NAMES_SHOWN);
  GENERAL_NAMES_free(names);
  return n;
}

/* Sentences */

/* The certificate at which it failed, and how people find it in the chain. */
typedef struct Subject {
  X509 *cert;
  char who[SHOWN + 40]; /* "the certificate", or that of an authority behind it */
  char issuer[SHOWN];
  const char *name;     /* that was looked for */
} Subject;

#define FAILED "certificate verify failed: "

static void say_mismatch(Failure *f, const Subject *s, const char *name) {
  char hosts[NAMES_TEXT];
  if (show_hosts(hosts, s->cert))
    failure_say(f, FAILED "the certificate is for %s, not for \"%s\"", hosts, name);
  else
    failure_say(f, FAILED "the certificate names no host (subjectAltName), so it is not for \"%s\"", name);
}

static void say_time(Failure *f, const Subject *s, bool expired) {
  char time[SHOWN];
  show_time(time, expired ? X509_get0_notAfter(s->cert) : X509_get0_notBefore(s->cert));
  failure_say(f, FAILED "%s %s %s", s->who, expired ? "has expired on" : "is not valid before", time);
}

static bool say_names(Failure *f, const Subject *s, long code) {
  switch (code) {
  case X509_V_ERR_HOSTNAME_MISMATCH:
  case X509_V_ERR_IP_ADDRESS_MISMATCH: say_mismatch(f, s, s->name ? s->name : ""); return true;
  case X509_V_ERR_CERT_HAS_EXPIRED: say_time(f, s, true); return true;
  case X509_V_ERR_CERT_NOT_YET_VALID: say_time(f, s, false); return true;
  case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    failure_say(f, FAILED "the certificate is self-signed, and not one of those that are trusted");
    return true;
  case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    failure_say(f, FAILED "its authority \"%s\" is not one of those that are trusted", s->issuer);
    return true;
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
  case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    failure_say(f, FAILED "the issuer of %s, \"%s\", is unknown: it is not one of the trusted authorities, "
                          "nor was its certificate sent", s->who, s->issuer);
    return true;
  default: return false;
  }
}

static bool say_others(Failure *f, const Subject *s, long code) {
  const char *what = NULL;
  switch (code) {
  case X509_V_ERR_CERT_REVOKED: what = "was revoked by its authority"; break;
  case X509_V_ERR_EE_KEY_TOO_SMALL:
  case X509_V_ERR_CA_KEY_TOO_SMALL:
    what = X509_get0_pubkey(s->cert) ? "has a key that is too short to be safe" : "has a key that can't be read";
    break;
  case X509_V_ERR_CA_MD_TOO_WEAK: what = "is signed with a hash that is too weak (MD5 or SHA-1)"; break;
  case X509_V_ERR_CERT_SIGNATURE_FAILURE: what = "is forged, or damaged: its signature is wrong"; break;
  case X509_V_ERR_INVALID_CA: what = "may not be used to sign others"; break;
  case X509_V_ERR_INVALID_PURPOSE: what = "is not for this purpose (servers, or clients)"; break;
  case X509_V_ERR_PATH_LENGTH_EXCEEDED: what = "may not have so many authorities below it"; break;
  case X509_V_ERR_CERT_CHAIN_TOO_LONG: what = "has too long a chain"; break;
  case X509_V_ERR_PERMITTED_VIOLATION:
  case X509_V_ERR_EXCLUDED_VIOLATION: what = "is for names that its authority may not sign for"; break;
  case X509_V_ERR_CERT_UNTRUSTED:
  case X509_V_ERR_CERT_REJECTED: what = "is not trusted for this purpose"; break;
  case X509_V_ERR_UNABLE_TO_GET_CRL: what = "may be revoked: its authority's list (CRL) is not there"; break;
  case X509_V_ERR_CRL_HAS_EXPIRED: what = "may be revoked: its authority's list (CRL) is out of date"; break;
  case X509_V_ERR_CRL_NOT_YET_VALID: what = "may be revoked: its authority's list (CRL) is not valid yet"; break;
  case X509_V_ERR_CRL_SIGNATURE_FAILURE: what = "may be revoked: its authority's list (CRL) is forged"; break;
  case X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION: what = "has a critical extension that is not known here"; break;
  default: return false;
  }
  failure_say(f, FAILED "%s %s", s->who, what);
  return true;
}

void verify_failed(Failure *f, long code) {
  const char *words = code == X509_V_ERR_UNSPECIFIED ? "OpenSSL has failed in itself: it may have run out of memory"
                                                     : X509_verify_cert_error_string(code);
  FailureKind kind = code == X509_V_ERR_OUT_OF_MEM || errno == ENOMEM ? FAILURE_NO_MEMORY : FAILURE_UNVERIFIED;
  failure_set(f, kind, "SSL", "CERTIFICATE_VERIFY_FAILED", FAILED "%s", words);
  f->verify_code = code;
  f->verify_message = words;
}

int verify_note(int ok, X509_STORE_CTX *store) {
  SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
  Engine *e = SSL_get_app_data(ssl);
  int code = X509_STORE_CTX_get_error(store), depth = X509_STORE_CTX_get_error_depth(store);
  if (ok || SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE) return ok;
  Failure *f = failure_at(&e->failure);
  if (!f) return 0;
  verify_failed(f, code);
  Subject s = {.cert = X509_STORE_CTX_get_current_cert(store), .name = e->name};
  if (!s.cert) return 0;
  char name[SHOWN];
  show_name(name, X509_get_subject_name(s.cert));
  show_name(s.issuer, X509_get_issuer_name(s.cert));
  if (depth)
    snprintf(s.who, sizeof s.who, "the certificate of its authority \"%s\"", name);
  else
    snprintf(s.who, sizeof s.who, "the certificate");
  if (!say_names(f, &s, code)) say_others(f, &s, code);
  return 0;
}
