/*
** failure.c - why something has failed in OpenSSL: a sentence for people, and the names that Python's SSLError has.
*/
#include "tls/failure.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "tls/words.h"

static const struct {
  int number;
  const char *name;
} LIBRARIES[] = {
    {ERR_LIB_SSL, "SSL"}, {ERR_LIB_X509, "X509"}, {ERR_LIB_X509V3, "X509V3"}, {ERR_LIB_PEM, "PEM"},
    {ERR_LIB_ASN1, "ASN1"}, {ERR_LIB_EVP, "EVP"}, {ERR_LIB_RSA, "RSA"}, {ERR_LIB_EC, "EC"}, {ERR_LIB_DH, "DH"},
    {ERR_LIB_BIO, "BIO"}, {ERR_LIB_SYS, "SYS"}, {ERR_LIB_RAND, "RAND"}, {ERR_LIB_BN, "BN"},
    {ERR_LIB_CRYPTO, "CRYPTO"}, {ERR_LIB_CONF, "CONF"}, {ERR_LIB_DSA, "DSA"}, {ERR_LIB_PROV, "PROV"},
    {ERR_LIB_OBJ, "OBJ"}, {ERR_LIB_CT, "CT"}, {ERR_LIB_OCSP, "OCSP"}, {ERR_LIB_PKCS12, "PKCS12"},
    {ERR_LIB_OSSL_DECODER, "OSSL_DECODER"}, {ERR_LIB_OSSL_STORE, "OSSL_STORE"}};

static const char *library_name(int number) {
  for (size_t i = 0; i < sizeof LIBRARIES / sizeof *LIBRARIES; i++)
    if (LIBRARIES[i].number == number) return LIBRARIES[i].name;
  return "OPENSSL";
}

/* The constant's name behind SSL_R_: that is how Python calls it. OpenSSL's words are it in small letters; of alerts
** newer releases say otherwise what the constant still is. */
static void name_reason(char *to, size_t size, unsigned long error) {
  static const char NEWER[] = "ssl/tls alert ", OLDER[] = "sslv3 alert ";
  const char *own = words_name(ERR_GET_LIB(error), ERR_GET_REASON(error));
  const char *words = own ? own : ERR_reason_error_string(error);
  if (!words)
    snprintf(to, size, "%d", ERR_GET_REASON(error));
  else if (!strncmp(words, NEWER, sizeof NEWER - 1))
    snprintf(to, size, "%s%s", OLDER, words + sizeof NEWER - 1);
  else
    snprintf(to, size, "%s", words);
  for (; *to; to++) *to = (char)(isalnum((unsigned char)*to) ? toupper((unsigned char)*to) : '_');
}

static void fill(Failure *f, FailureKind kind, const char *library, const char *reason) {
  f->kind = kind;
  f->verify_code = 0;
  f->verify_message = NULL;
  snprintf(f->library, sizeof f->library, "%s", library);
  snprintf(f->reason, sizeof f->reason, "%s", reason);
}

static void run_out(Failure *f) {
  fill(f, FAILURE_NO_MEMORY, "SSL", "MALLOC_FAILURE");
  snprintf(f->text, sizeof f->text, "not enough memory");
}

static void describe(Failure *f, unsigned long error) {
  const char *sentence = words_of(ERR_GET_LIB(error), ERR_GET_REASON(error));
  const char *words = ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error)) : ERR_reason_error_string(error);
  fill(f, FAILURE_ERROR, library_name(ERR_GET_LIB(error)), "");
  name_reason(f->reason, sizeof f->reason, error);
  if (sentence)
    snprintf(f->text, sizeof f->text, "%s", sentence);
  else if (words)
    snprintf(f->text, sizeof f->text, "%s", words);
  else
    snprintf(f->text, sizeof f->text, "OpenSSL's error %08lX", error);
}

void failure_begin(void) {
  if (ERR_peek_error()) ERR_clear_error(); /* which takes its time, also where there is nothing */
  errno = 0;
}

/* The last one says what it came to; that memory ran out may be any, or is seen by errno only. Where there is none,
** there was no memory for it. */
unsigned long failure_read(Failure *f) {
  unsigned long error, last = 0;
  bool no_memory = errno == ENOMEM;
  while ((error = ERR_get_error())) {
    if (!ERR_SYSTEM_ERROR(error) && ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE) no_memory = true;
    last = error;
  }
  if (no_memory || !last)
    run_out(f);
  else
    describe(f, last);
  return last;
}

void failure_set(Failure *f, FailureKind kind, const char *library, const char *reason, const char *format, ...) {
  va_list args;
  fill(f, kind, library, reason);
  va_start(args, format);
  vsnprintf(f->text, sizeof f->text, format, args); // NOLINT(clang-analyzer-valist.Uninitialized)
  va_end(args);
}

void failure_say(Failure *f, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(f->text, sizeof f->text, format, args); // NOLINT(clang-analyzer-valist.Uninitialized)
  va_end(args);
}

Failure *failure_at(Failure **at) {
  if (!*at) *at = mem_calloc(1, sizeof **at);
  return *at;
}
