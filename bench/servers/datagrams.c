/*
** datagrams.c - datagrams MODE PORT: the floor of datagrams, an echo with libuv from C. MODE is udp (a call of the kernel
** for each datagram) or mmsg (libuv reads as many as have come, 20 at most, in one call; it sends one at a time).
*/
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#define LARGEST 65536
#define AT_ONCE 20 /* as many as libuv has room for */

static char room[AT_ONCE * LARGEST];

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
  (void)suggested;
  *buf = uv_buf_init(room, uv_udp_using_recvmmsg((uv_udp_t *)h) ? sizeof room : LARGEST);
}

static void on_recv(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                    unsigned flags) {
  if (!from || n < 0 || flags & UV_UDP_PARTIAL)
    return; /* nothing more to read, or the end of a batch */
  uv_buf_t answer = uv_buf_init(buf->base, (unsigned)n);
  uv_udp_try_send(udp, &answer, 1, from); /* full: lost, as datagrams are */
}

int main(int argc, char **argv) {
  struct sockaddr_in sa;
  uv_loop_t loop;
  uv_udp_t udp;
  if (argc < 3) return 2;
  uv_loop_init(&loop);
  uv_udp_init_ex(&loop, &udp, AF_INET | (strcmp(argv[1], "mmsg") ? 0 : UV_UDP_RECVMMSG));
  uv_ip4_addr("127.0.0.1", atoi(argv[2]), &sa);
  if (uv_udp_bind(&udp, (struct sockaddr *)&sa, 0)) return 1;
  uv_udp_recv_start(&udp, on_alloc, on_recv);
  return uv_run(&loop, UV_RUN_DEFAULT);
}
