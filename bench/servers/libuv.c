/*
** libuv.c - libuv MODE PORT [UPSTREAM]: the floor, libuv from C with uv_try_write first. MODE is echo, bulk or proxy,
** which connects each client to the port UPSTREAM; lines are echoed as they come. All read to one place, which the
** caches have: what the kernel doesn't take of it is copied.
*/
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#define CHUNK 65536
#define BULK ((size_t)1 << 30)

typedef struct Client {
  uv_tcp_t tcp;
  uv_write_t req;
  uv_connect_t connect;
  struct Client *to; /* where its bytes go: itself, or what it is proxied to */
  size_t left; /* of bulk */
  char *rest;  /* what waits to be sent, its own copy; or NULL */
  int writing; /* `req` is libuv's: also when all has left, until it has called back */
} Client;

static uv_loop_t loop;
static int bulk, upstream;
static char chunk[CHUNK], room[CHUNK];

static void on_close(uv_handle_t *h) {
  free(((Client *)h)->rest);
  free(h);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
  (void)h;
  (void)suggested;
  *buf = uv_buf_init(room, CHUNK);
}

static void on_written(uv_write_t *req, int status);

/* Sends; what the kernel does not take stops the reading until it is gone. */
static void send_all(Client *c, char *bytes, size_t n) {
  uv_buf_t buf = uv_buf_init(bytes, (unsigned)n);
  int sent = uv_try_write((uv_stream_t *)&c->to->tcp, &buf, 1);
  if (sent == (int)n) return;
  if (sent > 0) buf = uv_buf_init(bytes + sent, (unsigned)(n - (size_t)sent));
  if (!bulk) {
    uv_read_stop((uv_stream_t *)&c->tcp);
    c->rest = malloc(buf.len);
    if (!c->rest) exit(1);
    buf.base = memcpy(c->rest, buf.base, buf.len);
  }
  c->writing = !uv_write(&c->req, (uv_stream_t *)&c->to->tcp, &buf, 1, on_written);
}

static void close_client(Client *c) {
  if (!uv_is_closing((uv_handle_t *)&c->tcp)) uv_close((uv_handle_t *)&c->tcp, on_close);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
  Client *c = (Client *)s;
  if (n > 0) send_all(c, buf->base, (size_t)n);
  if (n >= 0) return;
  close_client(c->to);
  close_client(c);
}

static void send_bulk(Client *c) {
  while (c->left && !c->writing) {
    c->left -= CHUNK;
    send_all(c, chunk, CHUNK);
  }
  if (!c->left && !c->writing) uv_close((uv_handle_t *)&c->tcp, on_close);
}

static void on_written(uv_write_t *req, int status) {
  Client *c = (Client *)((char *)req - offsetof(Client, req));
  free(c->rest);
  c->rest = NULL;
  c->writing = 0;
  if (status || uv_is_closing((uv_handle_t *)c)) return;
  if (bulk)
    send_bulk(c);
  else
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

static void on_connected(uv_connect_t *req, int status) {
  Client *far = (Client *)req->handle;
  if (status) exit(1);
  uv_tcp_nodelay(&far->tcp, 1);
  uv_read_start((uv_stream_t *)&far->tcp, on_alloc, on_read);
  uv_read_start((uv_stream_t *)&far->to->tcp, on_alloc, on_read);
}

static void proxy(Client *c) {
  struct sockaddr_in sa;
  Client *far = calloc(1, sizeof *far);
  if (!far) exit(1);
  far->to = c;
  c->to = far;
  uv_tcp_init(&loop, &far->tcp);
  uv_ip4_addr("127.0.0.1", upstream, &sa);
  if (uv_tcp_connect(&far->connect, &far->tcp, (struct sockaddr *)&sa, on_connected)) exit(1);
}

static void on_connection(uv_stream_t *server, int status) {
  Client *c = calloc(1, sizeof *c);
  if (status || !c) exit(1);
  uv_tcp_init(&loop, &c->tcp);
  if (uv_accept(server, (uv_stream_t *)&c->tcp)) exit(1);
  uv_tcp_nodelay(&c->tcp, 1);
  c->left = BULK;
  c->to = c;
  if (bulk)
    send_bulk(c);
  else if (upstream)
    proxy(c);
  else
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

int main(int argc, char **argv) {
  struct sockaddr_in sa;
  uv_tcp_t server;
  if (argc < 3) return 2;
  bulk = !strcmp(argv[1], "bulk");
  if (argc > 3) upstream = atoi(argv[3]);
  memset(chunk, 'x', CHUNK);
  uv_loop_init(&loop);
  uv_tcp_init(&loop, &server);
  uv_ip4_addr("127.0.0.1", atoi(argv[2]), &sa);
  uv_tcp_bind(&server, (struct sockaddr *)&sa, 0);
  if (uv_listen((uv_stream_t *)&server, 4096, on_connection)) return 1;
  return uv_run(&loop, UV_RUN_DEFAULT);
}
