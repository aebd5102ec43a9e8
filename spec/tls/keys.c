/*
** keys.c - a client for the specs that asks for new keys again and again, and reads nothing before it has asked for all:
** keys PORT N. Then it says "done", waits for a line, and prints how many of its wishes were answered.
*/
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

static long answers;

static void note(int written, int version, int type, const void *bytes, size_t n, SSL *ssl, void *arg) {
  (void)version;
  (void)ssl;
  (void)arg;
  if (!written && type == SSL3_RT_HANDSHAKE && n && *(const unsigned char *)bytes == SSL3_MT_KEY_UPDATE) answers++;
}

static SSL *meet(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((in_port_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&address, sizeof address)) return NULL;
  SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
  SSL *ssl = SSL_new(ctx);
  SSL_CTX_free(ctx);
  SSL_set_fd(ssl, fd);
  return SSL_connect(ssl) == 1 ? ssl : NULL;
}

int main(int argc, char **argv) {
  char line[100];
  SSL *ssl = argc == 3 ? meet(atoi(argv[1])) : NULL;
  if (!ssl) return 1;
  SSL_set_msg_callback(ssl, note);
  for (long n = atol(argv[2]); n > 0; n--)
    if (!SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) || SSL_do_handshake(ssl) != 1) return 2;
  if (SSL_write(ssl, "done\n", 5) != 5 || SSL_read(ssl, line, sizeof line) <= 0) return 3;
  printf("%ld answers\n", answers);
  SSL_free(ssl);
  return 0;
}
