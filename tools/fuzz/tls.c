/*
** fuzz/tls.c - what a peer sends over TLS: an engine gets any bytes in any pieces, and neither side reads, writes or
** loses anything else than what was meant.
**
** Input: which side is tried, the version, how many bytes of the handshake come from a real peer in memory before the
** rest of the input does, or which of its bytes are changed, the seed of the arrivals, what the peer is sent then.
** OpenSSL's chance is the input's, too: so each input does the same again.
*/
#define OPENSSL_SUPPRESS_DEPRECATED /* chance of one's own */
#include "tls/context.h"
#include "tls/engine.h"
#include "tls/sni.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define MOST 65536   /* bytes on their way to one side */
#define STEPS 400    /* more is an endless talk */
#define PLAIN 300    /* bytes that each side writes */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check(bool holds) {
  if (!holds) abort();
}

/* Chance that isn't: the same after each seed. */

static uint64_t chance;

static uint64_t draw(void) {
  chance ^= chance << 13;
  chance ^= chance >> 7;
  return chance ^= chance << 17;
}

static int draw_bytes(unsigned char *to, int n) {
  for (int i = 0; i < n; i++) to[i] = (unsigned char)(draw() >> 32);
  return 1;
}

static int seed_nothing(const void *bytes, int n) {
  (void)bytes;
  (void)n;
  return 1;
}

static int add_nothing(const void *bytes, int n, double entropy) {
  (void)entropy;
  return seed_nothing(bytes, n);
}

static int is_ready(void) { return 1; }

static const RAND_METHOD CHANCE = {seed_nothing, draw_bytes, NULL, add_nothing, draw_bytes, is_ready};

/* Both sides */

static const char CERTIFICATE[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBejCCASCgAwIBAgIUXFJCl+sStD2wBAlszYo8YkY3xBcwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMDAwMTAx\n"
    "MDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAARpbjJ/uG6rHJmZoTQ6qd5MHPbNdb6/B6ailt3iHmg30BD2sbZoVvvS\n"
    "poV60BNE/OWaXbK6Ugpm4uqqp9KZ8AL3o04wTDAPBgNVHRMBAf8EBTADAQH/MBoG\n"
    "A1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAdBgNVHQ4EFgQUSAKoszgrZ/vnlt33\n"
    "MCeucZASobUwCgYIKoZIzj0EAwIDSAAwRQIgCpUKJX1/jO6u79sG/H1kkgAxnwUi\n"
    "EXjirYcqjaFwi94CIQD95sgUvyf2vr/r3UIa+Lh+ituZz81Ld3e3SZ81EHMIvg==\n"
    "-----END CERTIFICATE-----\n";
static const char KEY[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgUKzkiqSYIvBFEppd\n"
    "gCE6EewrXICOyojFbqGzTXk1JEOhRANCAARpbjJ/uG6rHJmZoTQ6qd5MHPbNdb6/\n"
    "B6ailt3iHmg30BD2sbZoVvvSpoV60BNE/OWaXbK6Ugpm4uqqp9KZ8AL3\n"
    "-----END PRIVATE KEY-----\n";

typedef struct Pipe {
  char bytes[MOST];
  size_t n;
} Pipe;

typedef struct Side {
  Engine engine;
  Pipe in;           /* what has come, and it hasn't taken */
  Pipe *out;         /* the other's `in` */
  bool shaken, over; /* over: it has failed, or the peer has ended */
  size_t got;        /* plain bytes */
} Side;

static Context *contexts[2][2]; /* by side and version; [1]: a server's */

static bool put(void *to, const char *bytes, size_t n) {
  Pipe *pipe = to;
  if (n > MOST - pipe->n) return false;
  memcpy(pipe->bytes + pipe->n, bytes, n);
  pipe->n += n;
  return true;
}

static Context *make_context(bool server, int version) {
  BIO *cert = BIO_new_mem_buf(CERTIFICATE, -1), *key = BIO_new_mem_buf(KEY, -1);
  X509 *x509 = PEM_read_bio_X509(cert, NULL, NULL, NULL);
  EVP_PKEY *pkey = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
  Context *c = context_new(server);
  check(c && x509 && pkey && SSL_CTX_set_max_proto_version(c->ctx, version));
  check(context_set_alpn(c, (const unsigned char *)"\2h2\4http", 8));
  if (server) {
    check(SSL_CTX_use_certificate(c->ctx, x509) && SSL_CTX_use_PrivateKey(c->ctx, pkey));
    c->has_sni = true;
  } else
    check(X509_STORE_add_cert(SSL_CTX_get_cert_store(c->ctx), x509));
  context_set_verify(c, server ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, !server);
  X509_free(x509);
  EVP_PKEY_free(pkey);
  BIO_free(cert);
  BIO_free(key);
  return c;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  chance = 1;
  check(RAND_set_rand_method(&CHANCE));
  for (int side = 0; side < 2; side++)
    for (int v = 0; v < 2; v++) contexts[side][v] = make_context(side == 1, v ? TLS1_3_VERSION : TLS1_2_VERSION);
  return 0;
}

/* Steps */

static void note(Side *s, EngineStep step) {
  const Failure *f = s->engine.failure;
  if (step == ENGINE_WANT_SNI) {
    check(s->engine.context->server && s->engine.asked == NAME_ASKED);
    if (draw() % 8)
      sni_choose(&s->engine, NULL);
    else
      sni_refuse(&s->engine, "by chance");
  }
  if (step == ENGINE_END) s->over = true;
  if (step != ENGINE_FAILED) return;
  s->over = true;
  check(s->engine.failed && f && f->text[0] && strlen(f->text) < sizeof f->text);
}

static EngineIo begin(const char *bytes, size_t n, bool ended, Side *s) {
  return (EngineIo){.bytes = bytes, .n = n, .ended = ended, .put = put, .to = s->out};
}

/* Plain bytes are a row of letters: what was never sent must not come. */
static void read_some(Side *s, EngineIo *io) {
  char to[64];
  size_t got, room = 1 + draw() % sizeof to;
  EngineStep step = engine_read(&s->engine, io, to, room, &got);
  check(got <= room && (step == ENGINE_DONE) == (got > 0));
  for (size_t i = 0; i < got; i++) check(to[i] == (char)('a' + (s->got + i) % 26));
  s->got += got;
  check(s->got <= PLAIN);
  note(s, step);
}

static void write_all(Side *s) {
  char plain[PLAIN];
  EngineIo io = begin(NULL, 0, false, s);
  for (int i = 0; i < PLAIN; i++) plain[i] = (char)('a' + i % 26);
  EngineStep step = engine_write(&s->engine, &io, plain, PLAIN);
  check(step == ENGINE_DONE || step == ENGINE_FAILED);
  note(s, step);
}

/* Gives the side what has come, but for what is left over by chance; false: it can't go on. */
static bool go_on(Side *s, bool ended) {
  size_t before = s->in.n, n = s->in.n;
  if (s->over) return false;
  if (n > 1 && draw() % 2) n = 1 + draw() % n;
  char *exact = malloc(n ? n : 1); /* so that what is read behind it shows */
  check(exact != NULL);
  memcpy(exact, s->in.bytes, n);
  EngineIo io = begin(exact, n, ended && n == before, s);
  if (s->shaken) {
    read_some(s, &io);
  } else {
    EngineStep step = engine_shake(&s->engine, &io);
    note(s, step);
    s->shaken = step == ENGINE_DONE;
    if (s->shaken) write_all(s);
  }
  check(io.n <= n && (io.n == 0 || io.bytes == exact + (n - io.n)));
  size_t taken = n - io.n;
  memmove(s->in.bytes, s->in.bytes + taken, before - taken);
  s->in.n = before - taken;
  free(exact);
  return !s->over;
}

/* What is tried */

typedef struct Input {
  const uint8_t *bytes;
  size_t length;
} Input;

static unsigned take(Input *in) {
  if (!in->length) return 0;
  in->length--;
  return *in->bytes++;
}

/* What the real peer has said since the last look passes: some of it changed, or from some byte on replaced by the
** input. Whether it was. */
static bool disturb(Side *tried, size_t since, size_t *passed, size_t honest, unsigned how, Input *in) {
  bool changed = false;
  for (size_t i = since; i < tried->in.n; i++, ++*passed) {
    if (*passed < honest) continue;
    if (how == 0) { /* from here on the input says all */
      tried->in.n = i;
      size_t n = in->length < MOST - i ? in->length : MOST - i;
      memcpy(tried->in.bytes + i, in->bytes, n);
      tried->in.n = i + n;
      in->length = 0;
      return true;
    }
    unsigned by = take(in);
    changed |= by != 0;
    tried->in.bytes[i] = (char)(tried->in.bytes[i] ^ by);
  }
  return changed;
}

static bool is_refused(const Side *s) { return s->engine.asked == NAME_REFUSED; }


static void talk(Side *tried, Side *peer, size_t honest, unsigned how, Input *in) {
  size_t passed = 0;
  int quiet = 0;
  bool changed = false;
  for (int i = 0; i < STEPS && quiet < 8; i++) {
    size_t before = tried->in.n, got = tried->got + peer->got;
    bool alive = go_on(peer, false);
    changed |= disturb(tried, before, &passed, honest, how, in);
    before = tried->in.n;
    bool goes_on = go_on(tried, quiet > 4);
    if (!goes_on && !alive) break;
    quiet = before == tried->in.n && !peer->in.n && got == tried->got + peer->got ? quiet + 1 : 0;
    if (i == STEPS / 2) { /* one of them ends */
      Side *ends = draw() % 2 ? tried : peer;
      EngineIo io = begin(NULL, 0, false, ends);
      note(ends, engine_finish(&ends->engine, &io));
    }
  }
  if (!changed && !is_refused(tried) && !is_refused(peer))
    check(tried->shaken && peer->shaken && tried->got == PLAIN && peer->got == PLAIN);
}

static Side sides[2];

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
  Input in = {bytes, length};
  unsigned options = take(&in);
  bool server = options & 1;
  int version = options >> 1 & 1;
  size_t honest = take(&in) << 8;
  honest = (honest | take(&in)) % 4096;
  chance = 1 + take(&in);
  for (int i = 0; i < 2; i++) {
    Side *s = &sides[i];
    bool is_server = server == (i == 0);
    memset(s, 0, sizeof *s);
    s->out = &sides[1 - i].in;
    check(engine_init(&s->engine, contexts[is_server][version], is_server, is_server ? NULL : "localhost",
                      is_server ? NULL : "localhost:1"));
  }
  talk(&sides[0], &sides[1], honest, options >> 2 & 1, &in);
  for (int i = 0; i < 2; i++) engine_free(&sides[i].engine);
  for (int v = 0; v < 2; v++) { /* nothing is remembered from one input to the next */
    sessions_free(&contexts[0][v]->sessions);
    SSL_CTX_flush_sessions(contexts[1][v]->ctx, 0);
  }
  ERR_clear_error();
  return 0;
}
