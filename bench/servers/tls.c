/*
** tls.c - tls MODE PORT: the floor for TLS, libuv and OpenSSL from C. MODE is tls-echo or tls-bulk; the certificate is in
** the files that CERTFILE and KEYFILE name.
**
** OpenSSL has no descriptor: it reads from what libuv has just read, and writes to a buffer that all connections share,
** so that what one read has brought about leaves by one uv_try_write. A connection whose peer doesn't take its bytes is
** not read from until they are gone.
*/
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <uv.h>

#define CHUNK 65536
#define BULK ((size_t)1 << 30)

typedef struct Client {
  uv_tcp_t tcp;
  uv_write_t req;
  SSL *ssl;
  size_t left;  /* of bulk */
  char *unsent; /* what the kernel has not taken */
} Client;

static uv_loop_t loop;
static SSL_CTX *ctx;
static int bulk;
static char room[CHUNK], plain[CHUNK];
static struct {
  const char *at;
  size_t n;
} window; /* what has been read */
static struct {
  char *bytes;
  size_t n, room;
} out; /* what is to be sent */

static int bio_read(BIO *b, char *to, int n) {
  BIO_clear_retry_flags(b);
  if (!window.n) {
    BIO_set_retry_read(b);
    return -1;
  }
  if ((size_t)n > window.n) n = (int)window.n;
  memcpy(to, window.at, (size_t)n);
  window.at += n;
  window.n -= (size_t)n;
  return n;
}

static int bio_write(BIO *b, const char *bytes, int n) {
  (void)b;
  if (out.n + (size_t)n > out.room) {
    out.room = 2 * (out.n + (size_t)n);
    out.bytes = realloc(out.bytes, out.room);
    if (!out.bytes) exit(1);
  }
  memcpy(out.bytes + out.n, bytes, (size_t)n);
  out.n += (size_t)n;
  return n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr) {
  (void)b, (void)num, (void)ptr;
  return cmd == BIO_CTRL_FLUSH;
}

static void on_close(uv_handle_t *h) {
  Client *c = (Client *)h;
  SSL_free(c->ssl);
  free(c->unsent);
  free(c);
}

static void close_client(Client *c) {
  if (!uv_is_closing((uv_handle_t *)&c->tcp)) uv_close((uv_handle_t *)&c->tcp, on_close);
}

static void on_written(uv_write_t *req, int status);
static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf);

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
  (void)h, (void)suggested;
  *buf = uv_buf_init(room, CHUNK);
}

/* Sends what has gathered; whether the kernel took it all. */
static int flush(Client *c) {
  uv_buf_t buf = uv_buf_init(out.bytes, (unsigned)out.n);
  int sent = out.n ? uv_try_write((uv_stream_t *)&c->tcp, &buf, 1) : 0;
  size_t rest = out.n - (sent > 0 ? (size_t)sent : 0);
  if (rest) {
    c->unsent = malloc(rest);
    if (!c->unsent) exit(1);
    memcpy(c->unsent, out.bytes + out.n - rest, rest);
    buf = uv_buf_init(c->unsent, (unsigned)rest);
    uv_read_stop((uv_stream_t *)&c->tcp);
    uv_write(&c->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written);
  }
  out.n = 0;
  return !rest;
}

static void send_bulk(Client *c) {
  while (c->left) {
    SSL_write(c->ssl, plain, CHUNK);
    c->left -= CHUNK;
    if (!flush(c)) return;
  }
  SSL_shutdown(c->ssl);
  if (flush(c)) close_client(c);
}

static void on_written(uv_write_t *req, int status) {
  Client *c = (Client *)((char *)req - offsetof(Client, req));
  free(c->unsent);
  c->unsent = NULL;
  if (uv_is_closing((uv_handle_t *)&c->tcp)) return;
  if (status)
    close_client(c);
  else if (bulk && c->left)
    send_bulk(c);
  else if (bulk)
    close_client(c);
  else
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

/* Sends back what the window holds; whether more may come. */
static int echo(Client *c) {
  int n;
  ERR_clear_error();
  while ((n = SSL_read(c->ssl, plain, sizeof plain)) > 0) SSL_write(c->ssl, plain, n);
  n = SSL_get_error(c->ssl, n);
  if (n == SSL_ERROR_ZERO_RETURN) SSL_shutdown(c->ssl);
  return n == SSL_ERROR_WANT_READ;
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  Client *c = (Client *)s;
  if (n < 0) {
    close_client(c);
    return;
  }
  window.at = buf->base;
  window.n = (size_t)n;
  if (bulk && !SSL_is_init_finished(c->ssl)) {
    SSL_do_handshake(c->ssl);
    flush(c);
    if (SSL_is_init_finished(c->ssl)) send_bulk(c);
  } else {
    int goes_on = echo(c);
    flush(c);
    if (!goes_on) close_client(c);
  }
}

static BIO_METHOD *method;

static void on_connection(uv_stream_t *server, int status) {
  Client *c = calloc(1, sizeof *c);
  if (status || !c) exit(1);
  uv_tcp_init(&loop, &c->tcp);
  if (uv_accept(server, (uv_stream_t *)&c->tcp)) exit(1);
  uv_tcp_nodelay(&c->tcp, 1);
  c->left = BULK;
  c->ssl = SSL_new(ctx);
  BIO *bio = BIO_new(method);
  if (!c->ssl || !bio) exit(1);
  BIO_set_init(bio, 1);
  SSL_set_bio(c->ssl, bio, bio);
  SSL_set_accept_state(c->ssl);
  uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

static SSL_CTX *context(void) {
  SSL_CTX *it = SSL_CTX_new(TLS_server_method());
  if (!it || SSL_CTX_use_certificate_chain_file(it, getenv("CERTFILE")) != 1 ||
      SSL_CTX_use_PrivateKey_file(it, getenv("KEYFILE"), SSL_FILETYPE_PEM) != 1)
    exit(1);
  SSL_CTX_set_mode(it, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(it, SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_session_id_context(it, (const unsigned char *)"bench", 5);
  method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "window");
  if (!method) exit(1);
  BIO_meth_set_read(method, bio_read);
  BIO_meth_set_write(method, bio_write);
  BIO_meth_set_ctrl(method, bio_ctrl);
  return it;
}

int main(int argc, char **argv) {
  struct sockaddr_in sa;
  uv_tcp_t server;
  if (argc < 3) return 2;
  bulk = !strcmp(argv[1], "tls-bulk");
  memset(plain, 'x', sizeof plain);
  ctx = context();
  uv_loop_init(&loop);
  uv_tcp_init(&loop, &server);
  uv_ip4_addr("127.0.0.1", atoi(argv[2]), &sa);
  uv_tcp_bind(&server, (struct sockaddr *)&sa, 0);
  if (uv_listen((uv_stream_t *)&server, 4096, on_connection)) return 1;
  return uv_run(&loop, UV_RUN_DEFAULT);
}
