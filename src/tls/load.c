/*
** load.c - what a context has from files, or from texts in PEM's form: certificates, keys, authorities, lists of
** what was revoked.
*/
#include "tls/load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHOWN 200      /* bytes of a path */
#define DER_LONG 0x80  /* a length in DER follows in so many more bytes */
#define SECRET_FROM 40 /* so many letters of base64 in a row are no name of a file */

/* Texts */

static bool is_pem(LoadText t) {
  static const char BEGIN[] = "-----BEGIN ";
  for (const char *p = t.text; (p = memchr(p, '-', t.n - (size_t)(p - t.text))); p++) {
    if (t.n - (size_t)(p - t.text) < sizeof BEGIN - 1) return false;
    if (!memcmp(p, BEGIN, sizeof BEGIN - 1)) return true;
  }
  return false;
}

/* A SEQUENCE whose length takes several bytes; UTF-8 has none of these after a digit, so no path looks like it. */
static bool is_der(LoadText t) {
  unsigned char length = t.n > 4 ? (unsigned char)t.text[1] : 0;
  return length > DER_LONG && length <= DER_LONG + 4 && t.text[0] == 0x30;
}

/* Whether it looks like a key's bytes in letters, as secrets come from the environment: DER's begin otherwise than a
** path from the root. */
static bool may_be_secret(LoadText t) {
  static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-";
  return strstr(t.text, "PRIVATE KEY") || (*t.text != '/' && strspn(t.text, LETTERS) >= SECRET_FROM);
}

/* Tells what a failure is of. What may be the contents, taken for a path, is not shown. */
static bool blame(Failure *f, const char *what, LoadText t) {
  char why[sizeof f->text];
  bool path = !is_pem(t) && !is_der(t) && t.n <= SHOWN && !memchr(t.text, '\n', t.n) && !may_be_secret(t);
  if (f->kind == FAILURE_NO_MEMORY) return false;
  memcpy(why, f->text, sizeof why);
  failure_say(f, "%s%s%s: %s", what, path ? " " : "", path ? t.text : "", why);
  return false;
}

static const char *errno_name(int number) {
  switch (number) {
  case ENOENT: return "ENOENT";
  case EACCES: return "EACCES";
  case EPERM: return "EPERM";
  case EISDIR: return "EISDIR";
  case ENOTDIR: return "ENOTDIR";
  case EMFILE: return "EMFILE";
  case ENFILE: return "ENFILE";
  case ELOOP: return "ELOOP";
  case ENAMETOOLONG: return "ENAMETOOLONG";
  default: return "EIO";
  }
}

static void set_errno(Failure *f, int number) {
  FailureKind kind = number == ENOMEM ? FAILURE_NO_MEMORY : FAILURE_ERROR;
  failure_set(f, kind, "SYS", errno_name(number), "%s", strerror(number));
}

/* NULL: see errno. A folder can be opened, but not read. */
static FILE *open_file(LoadText t) {
  struct stat st;
  errno = ENOENT;
  FILE *file = strlen(t.text) == t.n ? fopen(t.text, "re") : NULL;
  if (!file || fstat(fileno(file), &st) || !S_ISDIR(st.st_mode)) return file;
  fclose(file);
  errno = EISDIR;
  return NULL;
}

static BIO *open_text(LoadText t, Failure *f) {
  BIO *bio;
  failure_begin();
  if (is_pem(t) || is_der(t)) {
    if (!(bio = BIO_new_mem_buf(t.text, (int)t.n))) failure_read(f);
    return bio;
  }
  FILE *file = open_file(t);
  if (!file) {
    set_errno(f, errno);
    return NULL;
  }
  if ((bio = BIO_new_fp(file, BIO_CLOSE))) return bio;
  fclose(file);
  failure_read(f);
  return NULL;
}

/* Whether reading has ended because there was nothing more. Leaves what failed else in the queue. */
static bool at_end(void) {
  unsigned long error = ERR_peek_last_error();
  if (ERR_SYSTEM_ERROR(error) || ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE)
    return false;
  ERR_clear_error();
  return true;
}

/* Why there was nothing at all. */
static void say_nothing(Failure *f, const char *library, const char *reason, const char *what) {
  unsigned long error = ERR_peek_error();
  if (error && ERR_SYSTEM_ERROR(error)) {
    set_errno(f, ERR_GET_REASON(error));
    ERR_clear_error();
  } else if (at_end()) {
    failure_set(f, FAILURE_ERROR, library, reason, "%s", what);
  } else {
    failure_read(f);
  }
}

/* Certificates and keys */

typedef struct Password {
  LoadText given;
  bool asked;
} Password;

/* In the place of OpenSSL's own, which would ask at the terminal. */
static int give_password(char *to, int size, int writing, void *arg) {
  Password *password = arg;
  (void)writing;
  password->asked = true;
  if (!password->given.text || password->given.n > (size_t)size) return -1;
  memcpy(to, password->given.text, password->given.n);
  return (int)password->given.n;
}

static void free_chain(STACK_OF(X509) *chain) { sk_X509_pop_free(chain, X509_free); }

/* OpenSSL takes a certificate whose key it can't read, even if what it lacks is memory. Then errno is what it leaves. */
static bool has_key(const X509 *cert) { return X509_get0_pubkey(cert) || errno != ENOMEM; }

/* The certificate, and those behind it. NULL: the failure says why. */
static X509 *read_chain(LoadText t, STACK_OF(X509) *chain, Failure *f) {
  Password none = {{NULL, 0}, false};
  BIO *bio = open_text(t, f);
  if (!bio) return NULL;
  X509 *next, *cert = PEM_read_bio_X509_AUX(bio, NULL, give_password, &none);
  if (!cert) {
    say_nothing(f, "PEM", "NO_START_LINE", "there is no certificate in it");
  } else {
    while ((next = PEM_read_bio_X509(bio, NULL, give_password, &none)) && sk_X509_push(chain, next)) continue;
    if (next || !at_end() || !has_key(cert)) {
      failure_read(f);
      X509_free(next);
      X509_free(cert);
      cert = NULL;
    }
  }
  BIO_free(bio);
  return cert;
}

#define NO_KEY "there is no private key in it"

/* Newer releases try one form after the other, and say of the last why it wasn't that. */
static void say_no_key(Failure *f, const Password *password) {
  say_nothing(f, "PEM", "NO_START_LINE", NO_KEY);
  if (f->kind == FAILURE_NO_MEMORY || !strcmp(f->library, "SYS")) return;
  if (!password->asked)
    failure_set(f, FAILURE_ERROR, "PEM", "NO_START_LINE", NO_KEY " that can be read");
  else if (password->given.text)
    failure_set(f, FAILURE_ERROR, "PEM", "BAD_DECRYPT", "the password does not open it");
  else
    failure_set(f, FAILURE_ERROR, "PEM", "BAD_PASSWORD_READ", "it is encrypted, and no password is given");
}

static EVP_PKEY *read_key(LoadText t, LoadText given, Failure *f) {
  Password password = {given, false};
  BIO *bio = open_text(t, f);
  EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, give_password, &password) : NULL;
  if (bio && !key) say_no_key(f, &password);
  BIO_free(bio);
  return key;
}

/* Both at once, if they fit. */
static bool use(Context *c, X509 *cert, EVP_PKEY *key, STACK_OF(X509) *chain, Failure *f) {
  if (X509_check_private_key(cert, key) && SSL_CTX_use_cert_and_key(c->ctx, cert, key, chain, 1)) return true;
  failure_read(f);
  if (!strcmp(f->reason, "KEY_VALUES_MISMATCH") && sk_X509_num(chain))
    failure_say(f, "the private key is not that of the first certificate (which must be the one of its owner)");
  return false;
}

bool load_chain(Context *c, LoadText cert_text, LoadText key_text, LoadText password, Failure *f) {
  STACK_OF(X509) *chain = sk_X509_new_null();
  X509 *cert = NULL;
  EVP_PKEY *key = NULL;
  bool own = !key_text.text, good = false;
  if (own) key_text = cert_text;
  if (!chain)
    failure_read(f);
  else if (!(cert = read_chain(cert_text, chain, f)))
    blame(f, "certificate", cert_text);
  else if (!(key = read_key(key_text, password, f))) {
    if (own && !strcmp(f->reason, "NO_START_LINE"))
      failure_say(f, "%s, and no other file for it was given (keyfile)", NO_KEY);
    blame(f, "private key", key_text);
  }
  else
    good = use(c, cert, key, chain, f) || blame(f, "certificate", cert_text);
  free_chain(chain);
  X509_free(cert);
  EVP_PKEY_free(key);
  return good;
}

/* Authorities */

static bool has_name(const STACK_OF(X509_NAME) *names, const X509_NAME *name) {
  for (int i = 0; i < sk_X509_NAME_num(names); i++)
    if (!X509_NAME_cmp(sk_X509_NAME_value(names, i), name)) return true;
  return false;
}

/* A server also tells its clients whom it trusts. */
static bool trust(Context *c, X509 *cert) {
  if (!X509_STORE_add_cert(SSL_CTX_get_cert_store(c->ctx), cert)) return false;
  if (!c->server || has_name(SSL_CTX_get_client_CA_list(c->ctx), X509_get_subject_name(cert))) return true;
  return SSL_CTX_add_client_CA(c->ctx, cert);
}

static bool trust_all(Context *c, const STACK_OF(X509) *certs) {
  for (int i = 0; i < sk_X509_num(certs); i++)
    if (!trust(c, sk_X509_value(certs, i))) return false;
  return true;
}

static bool read_der(LoadText t, STACK_OF(X509) *certs) {
  const unsigned char *p = (const unsigned char *)t.text, *end = p + t.n;
  while (p < end) {
    X509 *cert = d2i_X509(NULL, &p, end - p);
    if (!cert) return false;
    if (!sk_X509_push(certs, cert)) {
      X509_free(cert);
      return false;
    }
  }
  return true;
}

static bool read_pem(BIO *bio, STACK_OF(X509) *certs) {
  Password none = {{NULL, 0}, false};
  X509 *cert;
  while ((cert = PEM_read_bio_X509_AUX(bio, NULL, give_password, &none))) {
    if (!sk_X509_push(certs, cert)) {
      X509_free(cert);
      return false;
    }
  }
  return sk_X509_num(certs) && at_end();
}

bool load_authorities(Context *c, LoadText t, bool path, Failure *f) {
  if (!path && !is_pem(t) && !is_der(t)) {
    failure_set(f, FAILURE_ERROR, "PEM", "NO_START_LINE", "authorities: there is no certificate in the text");
    return false;
  }
  BIO *bio = open_text(t, f);
  STACK_OF(X509) *certs = bio ? sk_X509_new_null() : NULL;
  bool good = false;
  if (certs && (is_der(t) ? read_der(t, certs) : read_pem(bio, certs)))
    c->has_authorities |= good = trust_all(c, certs);
  else if (certs)
    say_nothing(f, "X509", "NO_CERTIFICATE_OR_CRL_FOUND", "there is no certificate in it");
  if (certs && !good && ERR_peek_error()) failure_read(f);
  if (bio && !certs) failure_read(f);
  free_chain(certs);
  BIO_free(bio);
  return good || blame(f, "authorities", t);
}

bool load_directory(Context *c, const char *path, Failure *f) {
  DIR *dir = opendir(path); /* OpenSSL looks there only later, and says nothing */
  if (!dir) {
    set_errno(f, errno);
    return blame(f, "authorities", (LoadText){path, strlen(path)});
  }
  closedir(dir);
  failure_begin();
  if (SSL_CTX_load_verify_dir(c->ctx, path)) return c->has_authorities = true;
  failure_read(f);
  return blame(f, "authorities", (LoadText){path, strlen(path)});
}

/* What was revoked */

static X509_CRL *next_crl(BIO *bio, bool der) {
  Password none = {{NULL, 0}, false};
  return der ? d2i_X509_CRL_bio(bio, NULL) : PEM_read_bio_X509_CRL(bio, NULL, give_password, &none);
}

/* Each certificate of a chain is looked for then, and its authority must have a list. One that isn't signed by itself
** may not be where a chain ends: its own revocation would go unseen. */
static void check_crls(Context *c) {
  X509_VERIFY_PARAM *param = SSL_CTX_get0_param(c->ctx);
  X509_VERIFY_PARAM_clear_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

bool load_crl(Context *c, LoadText t, Failure *f) {
  BIO *bio = open_text(t, f);
  X509_CRL *crl;
  int n = 0;
  bool good = bio != NULL;
  while (good && (n == 0 || !is_der(t)) && (crl = next_crl(bio, is_der(t)))) {
    good = X509_STORE_add_crl(SSL_CTX_get_cert_store(c->ctx), crl);
    X509_CRL_free(crl);
    n++;
  }
  if (good && !n) {
    say_nothing(f, "X509", "NO_CERTIFICATE_OR_CRL_FOUND", "there is no list of revoked certificates (CRL) in it");
    good = false;
  } else if (bio && (!good || !(is_der(t) || at_end()))) {
    failure_read(f);
    good = false;
  }
  BIO_free(bio);
  if (!good) return blame(f, "revoked certificates", t);
  check_crls(c);
  return true;
}

/* NULL: secrets may be written there, without waiting for anybody. */
static const char *why_no_keylog(int fd) {
  struct stat st;
  if (fstat(fd, &st)) return "it cannot be looked at";
  if (S_ISFIFO(st.st_mode)) return "it is a pipe: a file expected";
  if (!S_ISREG(st.st_mode)) return NULL; /* a device, as /dev/null */
  if (st.st_uid != geteuid()) return "the file belongs to somebody else, who could read the secrets";
  return (st.st_mode & (S_IROTH | S_IWOTH)) ? "everybody may read the file: its mode is to be 600" : NULL;
}

bool load_keylog(Context *c, const char *path, Failure *f) {
  LoadText name = {path, strlen(path)};
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
  if (fd < 0) {
    set_errno(f, errno);
    if (errno == ENXIO) failure_say(f, "it is a pipe: a file expected");
    return blame(f, "keylog_filename", name);
  }
  const char *why = why_no_keylog(fd);
  if (!why) {
    context_set_keylog(c, fd);
    return true;
  }
  close(fd);
  failure_set(f, FAILURE_ERROR, "SYS", "EACCES", "%s", why);
  return blame(f, "keylog_filename", name);
}
