/*
** load.c - the other side of a server that is measured: clients in a closed loop, on epoll.
**
**   load PID PORT KIND CONNECTIONS SIZE SECONDS [IN_FLIGHT]
**
** KIND may begin with "tls-"; tls-resume is tls-churn with the session of each client's first connection.
** KIND: echo (a message is sent when one has come back, IN_FLIGHT of them at a time on each connection),
** udp (the same with datagrams; one that has not come back after a tenth of a second is lost, and sent anew),
** churn (a connection for each message), bulk (reads what comes until the end), idle (each connection
** makes one echo and stays open). Prints what the server with that PID needed: processor time for each
** message in us, messages a second, the 50th and 99th percentile of the time a message took, in us;
** for udp how many were lost, too;
** for bulk MB a second and us for each MB; for idle bytes of memory for each connection.
** The first fifth of the time is not measured. Messages end with a newline.
*/
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#define MAX_IN_FLIGHT 64
#define BUCKETS 2000 /* of latency: 64 to a power of two */

typedef struct Client {
  int fd;
  SSL *ssl;             /* or NULL */
  SSL_SESSION *session; /* to be resumed */
  size_t got; /* bytes of the message that is coming back; of datagrams: how many are in flight */
  unsigned first;               /* the oldest message in flight, in `sent` */
  uint64_t sent[MAX_IN_FLIGHT]; /* when */
} Client;

static struct sockaddr_in address = {.sin_family = AF_INET};
static int poller, pid, in_flight = 1;
static size_t size;
static char *message, *room;
static const size_t room_size = 1 << 20;
static uint64_t done, latency[BUCKETS];
static bool measuring;
static SSL_CTX *ctx; /* or NULL: without TLS */
static bool resuming;

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

/* What the server's threads have used, ns. */
static uint64_t server_time(void) {
  char name[300];
  uint64_t sum = 0;
  snprintf(name, sizeof name, "/proc/%d/task", pid);
  DIR *dir = opendir(name);
  if (!dir) die(name);
  for (struct dirent *e; (e = readdir(dir));) {
    unsigned long long ns = 0;
    if (*e->d_name == '.') continue;
    snprintf(name, sizeof name, "/proc/%d/task/%s/schedstat", pid, e->d_name);
    FILE *f = fopen(name, "r");
    if (!f) continue;
    if (fscanf(f, "%llu", &ns) == 1) sum += ns;
    fclose(f);
  }
  closedir(dir);
  return sum;
}

static long server_memory(void) {
  char name[64];
  long pages = 0;
  snprintf(name, sizeof name, "/proc/%d/statm", pid);
  FILE *f = fopen(name, "r");
  if (!f || fscanf(f, "%*d %ld", &pages) != 1) die(name);
  fclose(f);
  return pages * sysconf(_SC_PAGESIZE);
}

/* Latencies, in steps of about a percent */

static unsigned bucket_of(uint64_t us) {
  if (us < 64) return (unsigned)us;
  unsigned power = 63 - (unsigned)__builtin_clzll(us);
  unsigned bucket = (power - 5) * 64 + (unsigned)(us >> (power - 6)) - 64;
  return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static uint64_t bucket_us(unsigned bucket) {
  if (bucket < 64) return bucket;
  unsigned power = bucket / 64 + 5;
  return (uint64_t)(bucket % 64 + 64) << (power - 6);
}

static uint64_t percentile(double part) {
  uint64_t seen = 0, total = 0;
  for (unsigned i = 0; i < BUCKETS; i++) total += latency[i];
  for (unsigned i = 0; i < BUCKETS; i++)
    if ((seen += latency[i]) >= (uint64_t)(part * (double)total)) return bucket_us(i);
  return 0;
}

/* With TLS or without: as many bytes as there are or fit, 0 at the end, -1 with EAGAIN */

static ssize_t tls_result(Client *c, int n) {
  if (n > 0) return n;
  switch (SSL_get_error(c->ssl, n)) {
  case SSL_ERROR_WANT_READ:
  case SSL_ERROR_WANT_WRITE: errno = EAGAIN; return -1;
  case SSL_ERROR_ZERO_RETURN: return 0;
  default: errno = EPROTO; return -1;
  }
}

static ssize_t client_recv(Client *c, int flags) {
  if (!c->ssl) return recv(c->fd, room, room_size, MSG_DONTWAIT | flags);
  size_t got = 0;
  for (;;) { /* epoll doesn't tell of what OpenSSL holds */
    int n = room_size - got < 16384 ? 0 : SSL_read(c->ssl, room + got, 16384);
    if (n <= 0 && got) return (ssize_t)got;
    if (n <= 0) return tls_result(c, n);
    got += (size_t)n;
  }
}

static ssize_t client_transmit(Client *c, const char *bytes, size_t n) {
  return c->ssl ? tls_result(c, SSL_write(c->ssl, bytes, (int)n))
                : send(c->fd, bytes, n, MSG_NOSIGNAL);
}

/* Keeps the first one: not every server has sent another by the time its echo has come. */
static int on_session(SSL *ssl, SSL_SESSION *session) {
  Client *c = SSL_get_app_data(ssl);
  if (c->session) return 0;
  c->session = session;
  return 1;
}

/* Goes on with the handshake; whether it is over. */
static bool tls_shake(Client *c) {
  int n = SSL_connect(c->ssl);
  if (n != 1 && (tls_result(c, n) != -1 || errno != EAGAIN)) die("SSL_connect");
  if (n == 1 && measuring && c->session && !SSL_session_reused(c->ssl))
    die("the session was not resumed");
  return n == 1;
}

static void tls_begin(Client *c) {
  c->ssl = SSL_new(ctx);
  if (!c->ssl || !SSL_set_fd(c->ssl, c->fd)) die("SSL_new");
  SSL_set_app_data(c->ssl, c);
  SSL_set_tlsext_host_name(c->ssl, "localhost");
  if (c->session) { /* a copy: OpenSSL would use it once */
    SSL_SESSION *copy = SSL_SESSION_dup(c->session);
    SSL_set_session(c->ssl, copy);
    SSL_SESSION_free(copy);
  }
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static void tls_init(const char *kind) {
  resuming = !strcmp(kind, "resume");
  ctx = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
  if (resuming) SSL_CTX_sess_set_new_cb(ctx, on_session);
}

/* Clients */

static void client_send(Client *c, unsigned n) {
  for (unsigned i = 0; i < n; i++)
    c->sent[(c->first + (unsigned)in_flight - n + i) % MAX_IN_FLIGHT] = now();
  for (size_t left = n * size; left > 0;) { /* a closed loop: the socket's buffer has room */
    ssize_t wrote = client_transmit(c, message, left);
    if (wrote < 0 && errno != EAGAIN) die("send");
    if (wrote > 0) left -= (size_t)wrote;
  }
}

static void client_open(Client *c) {
  struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
  int on = 1;
  *c = (Client){.fd = socket(AF_INET, SOCK_STREAM, 0), .session = c->session};
  if (c->fd < 0) die("socket");
  if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (ctx) tls_begin(c);
  if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &ev)) die("epoll_ctl");
}

/* A message has come back. */
static void count(Client *c) {
  if (measuring) {
    done++;
    latency[bucket_of((now() - c->sent[c->first % MAX_IN_FLIGHT]) / 1000)]++;
  }
  c->first++;
}

/* Reads once; how many messages that completes. */
static unsigned client_read(Client *c) {
  ssize_t n = client_recv(c, 0);
  unsigned whole = 0;
  if (n < 0 && errno == EAGAIN) return 0;
  if (n <= 0) die("the server closed");
  for (c->got += (size_t)n; c->got >= size; c->got -= size, whole++) count(c);
  return whole;
}

/* Waits for the handshake. */
static void client_await(Client *c) {
  while (c->ssl && !tls_shake(c)) usleep(50);
}

static void client_renew(Client *c) {
  if (c->ssl) SSL_shutdown(c->ssl);
  SSL_free(c->ssl);
  close(c->fd); /* Linux uses a port of loopback again that is in TIME_WAIT */
  client_open(c);
  if (!c->ssl || tls_shake(c)) client_send(c, 1);
}

static void run(Client *clients, int n, bool churn, double seconds) {
  uint64_t began = now(), window = began + (uint64_t)(seconds * 0.2e9),
           end = window + (uint64_t)(seconds * 0.8e9);
  uint64_t used = 0, t;
  struct epoll_event events[256];
  for (int i = 0; i < n; i++) client_send(&clients[i], (unsigned)in_flight);
  while ((t = now()) < end) {
    if (!measuring && t >= window) {
      measuring = true;
      window = t;
      used = server_time();
    }
    int ready = epoll_wait(poller, events, 256, 100);
    for (int i = 0; i < ready; i++) {
      Client *c = events[i].data.ptr;
      if (c->ssl && !SSL_is_init_finished(c->ssl)) {
        if (tls_shake(c)) client_send(c, 1);
        continue;
      }
      unsigned whole = client_read(c);
      if (whole && churn)
        client_renew(c);
      else if (whole)
        client_send(c, whole);
    }
  }
  used = server_time() - used;
  printf("cpu_us=%.3f rate=%.0f p50_us=%llu p99_us=%llu n=%llu\n",
         (double)used / 1e3 / (double)done, (double)done * 1e9 / (double)(t - window),
         (unsigned long long)percentile(0.5), (unsigned long long)percentile(0.99),
         (unsigned long long)done);
}

/* Datagrams: as many as may be in flight go out and come in by one call of the kernel. */

static struct mmsghdr headers[MAX_IN_FLIGHT];
static struct iovec pieces[MAX_IN_FLIGHT];
static uint64_t lost;

static void datagrams_init(void) {
  for (int i = 0; i < MAX_IN_FLIGHT; i++)
    headers[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
}

static void socket_open(Client *c) {
  struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
  *c = (Client){.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)};
  if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("socket");
  if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &ev)) die("epoll_ctl");
}

/* The n that go out follow those that are still in flight; c->got counts these. */
static void datagrams_send(Client *c, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    pieces[i] = (struct iovec){.iov_base = message, .iov_len = size};
    c->sent[(c->first + c->got + i) % MAX_IN_FLIGHT] = now();
  }
  for (unsigned out = 0; out < n;) {
    int went = sendmmsg(c->fd, headers + out, n - out, 0);
    if (went < 0) die("sendmmsg");
    out += (unsigned)went;
  }
  c->got += n;
}

static unsigned datagrams_receive(Client *c) {
  for (int i = 0; i < in_flight; i++)
    pieces[i] = (struct iovec){.iov_base = room + (size_t)i * size, .iov_len = size};
  int n = recvmmsg(c->fd, headers, (unsigned)in_flight, MSG_DONTWAIT, NULL);
  if (n < 0 && errno == EAGAIN) return 0;
  if (n < 0) die("recvmmsg");
  for (int i = 0; i < n; i++) {
    if (headers[i].msg_len != size) die("a datagram of another length");
    if (c->got) c->got--; /* else one that was given up */
    count(c);
  }
  return (unsigned)n;
}

/* Counts what has not come back for a tenth of a second, and sends as much anew. */
static void datagrams_renew(Client *clients, int n) {
  uint64_t t = now();
  for (Client *c = clients; c < clients + n; c++) {
    if (!c->got || t - c->sent[c->first % MAX_IN_FLIGHT] < 100000000) continue;
    if (measuring) lost += c->got;
    c->got = 0;
    datagrams_send(c, (unsigned)in_flight);
  }
}

static void run_datagrams(Client *clients, int n, double seconds) {
  uint64_t began = now(), window = began + (uint64_t)(seconds * 0.2e9),
           end = window + (uint64_t)(seconds * 0.8e9), renewed = began;
  uint64_t used = 0, t;
  struct epoll_event events[256];
  datagrams_init();
  for (int i = 0; i < n; i++) datagrams_send(&clients[i], (unsigned)in_flight);
  while ((t = now()) < end) {
    if (!measuring && t >= window) {
      measuring = true;
      window = t;
      used = server_time();
    }
    int ready = epoll_wait(poller, events, 256, 100);
    for (int i = 0; i < ready; i++) {
      Client *c = events[i].data.ptr;
      unsigned came = datagrams_receive(c), room_for = (unsigned)in_flight - (unsigned)c->got;
      datagrams_send(c, came < room_for ? came : room_for);
    }
    if (t - renewed < 100000000) continue;
    renewed = t;
    datagrams_renew(clients, n);
  }
  used = server_time() - used;
  if (!done) die("nothing came back");
  printf("cpu_us=%.3f rate=%.0f p50_us=%llu p99_us=%llu n=%llu lost=%llu\n",
         (double)used / 1e3 / (double)done, (double)done * 1e9 / (double)(t - window),
         (unsigned long long)percentile(0.5), (unsigned long long)percentile(0.99),
         (unsigned long long)done, (unsigned long long)lost);
}

static void run_bulk(Client *c) {
  uint64_t began = now(), used = server_time(), bytes = 0;
  struct epoll_event event;
  for (ssize_t n; (n = client_recv(c, MSG_TRUNC)) != 0;) {
    if (n > 0)
      bytes += (uint64_t)n;
    else if (errno != EAGAIN)
      die("recv");
    else
      epoll_wait(poller, &event, 1, 100);
  }
  double mb = (double)bytes / 1e6;
  printf("cpu_us=%.1f rate=%.0f n=%llu\n", (double)(server_time() - used) / 1e3 / mb,
         mb * 1e9 / (double)(now() - began), (unsigned long long)bytes);
}

static void run_idle(Client *clients, int n) {
  long before = server_memory();
  for (int i = 0; i < n; i++) {
    client_open(&clients[i]);
    client_await(&clients[i]);
    client_send(&clients[i], 1);
    while (!client_read(&clients[i])) usleep(50);
  }
  usleep(300000);
  printf("bytes=%.0f n=%d\n", (double)(server_memory() - before) / n, n);
}

int main(int argc, char **argv) {
  if (argc < 7) {
    fprintf(stderr, "usage: load PID PORT [tls-]echo|churn|bulk|idle|resume|udp CONNECTIONS SIZE "
                    "SECONDS [IN_FLIGHT]\n");
    return 2;
  }
  pid = atoi(argv[1]);
  address.sin_port = htons((uint16_t)atoi(argv[2]));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const char *kind = argv[3];
  if (!strncmp(kind, "tls-", 4)) tls_init(kind += 4);
  int n = atoi(argv[4]);
  size = (size_t)atoi(argv[5]);
  if (argc > 7) in_flight = atoi(argv[7]);
  Client *clients = calloc((size_t)n, sizeof *clients);
  message = malloc(size * (size_t)in_flight);
  room = malloc(room_size);
  if (!clients || !message || !room) die("malloc");
  memset(message, 'x', size * (size_t)in_flight);
  for (int i = 1; i <= in_flight; i++) message[(size_t)i * size - 1] = '\n';
  poller = epoll_create1(0);
  if (!strcmp(kind, "idle")) {
    run_idle(clients, n);
    return 0;
  }
  if (!strcmp(kind, "udp")) {
    for (int i = 0; i < n; i++) socket_open(&clients[i]);
    run_datagrams(clients, n, atof(argv[6]));
    return 0;
  }
  for (int i = 0; i < n; i++) {
    client_open(&clients[i]);
    client_await(&clients[i]);
  }
  if (!strcmp(kind, "bulk"))
    run_bulk(&clients[0]);
  else
    run(clients, n, !strcmp(kind, "churn") || resuming, atof(argv[6]));
  return 0;
}
