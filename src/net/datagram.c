/*
** datagram.c - datagram sockets.
*/
#include "net/datagram.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>
#if defined(__linux__)
#include <linux/errqueue.h>
#include <linux/sock_diag.h>
#endif

#include "net/sockfile.h"

/* Made */

static int set(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value); }

static bool is_v6(int family) { return family == AF_INET6; }

/* 4 bytes everywhere but where IPv4's are meant for one. */
static int set_byte(int fd, int level, int name, int value) {
#if defined(__linux__)
  return set(fd, level, name, value);
#else
  unsigned char byte = (unsigned char)value;
  return level == IPPROTO_IP ? setsockopt(fd, level, name, &byte, 1) : set(fd, level, name, value);
#endif
}

static int set_interface(int fd, int family, const Interface *interface) {
  if (!interface->index && !interface->address.s_addr) return 0;
  if (is_v6(family)) return set(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)interface->index);
#if defined(__linux__) || defined(__APPLE__) || defined(__FreeBSD__)
  struct ip_mreqn r = {.imr_address = interface->address, .imr_ifindex = (int)interface->index};
  return setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &r, sizeof r);
#else
  return setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &interface->address, sizeof interface->address);
#endif
}

/* What concerns groups: NULL, or the option that could not be set. It hears those that it joins, not those that others
** of the machine have. */
static const char *set_multicast(int fd, int family, const DatagramOptions *o) {
  bool v6 = is_v6(family);
  int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
#if defined(IP_MULTICAST_ALL)
  set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0); /* of an IPv6 socket, too, which may hear IPv4 */
#endif
#if defined(IPV6_MULTICAST_ALL)
  if (v6) set(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
#endif
  if (o->multicast_ttl >= 0 && set_byte(fd, level, v6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL, o->multicast_ttl))
    return "multicast_ttl";
  if (o->multicast_loopback >= 0 &&
      set_byte(fd, level, v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, o->multicast_loopback))
    return "multicast_loopback";
  return set_interface(fd, family, &o->interface) ? "multicast_interface" : NULL;
}

/* An IPv6 socket may have peers of IPv4. */
static int set_icmp_errors(int fd, int family) {
#if defined(IP_RECVERR)
  if (is_v6(family) && set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1)) return -1;
  return set(fd, IPPROTO_IP, IP_RECVERR, 1) && !is_v6(family) ? -1 : 0;
#else
  (void)fd;
  (void)family;
  errno = ENOTSUP;
  return -1;
#endif
}

static int set_ttl(int fd, int family, int ttl) {
  return is_v6(family) ? set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl) : set(fd, IPPROTO_IP, IP_TTL, ttl);
}

/* NULL, or the option that could not be set. A connected socket hears all that comes by ICMP where the system can be
** asked for it: otherwise Linux keeps to itself what may pass, a way that is missing. */
static const char *set_ip(int fd, int family, const DatagramOptions *o, bool connected) {
  if (o->reuse_address && set(fd, SOL_SOCKET, SO_REUSEADDR, 1)) return "reuse_address";
  if (o->reuse_port && set(fd, SOL_SOCKET, SO_REUSEPORT, 1)) return "reuse_port";
  if (o->allow_broadcast && set(fd, SOL_SOCKET, SO_BROADCAST, 1)) return "allow_broadcast";
  if (o->ttl >= 0 && set_ttl(fd, family, o->ttl)) return "ttl";
  if ((o->icmp_errors || connected) && set_icmp_errors(fd, family) && o->icmp_errors) return "icmp_errors";
  return set_multicast(fd, family, o);
}

static const char *set_options(int fd, int family, const DatagramOptions *o, bool connected) {
  if (o->receive_buffer && set(fd, SOL_SOCKET, SO_RCVBUF, o->receive_buffer)) return "receive_buffer";
  if (o->send_buffer && set(fd, SOL_SOCKET, SO_SNDBUF, o->send_buffer)) return "send_buffer";
  return family == AF_UNIX ? NULL : set_ip(fd, family, o, connected);
}

static int new_socket(int family) {
#if defined(SOCK_CLOEXEC)
  return socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#else
  int fd = socket(family, SOCK_DGRAM, 0);
  if (fd < 0) return fd;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
#endif
}

int datagram_open(const DatagramOptions *options, int family, const DatagramAddress *local, socklen_t local_len,
                  const DatagramAddress *remote, socklen_t remote_len, const char **call, const char **option) {
  int fd = new_socket(family), status = 0;
  *call = "socket";
  *option = NULL;
  if (fd < 0) return -errno;
  if ((*option = set_options(fd, family, options, remote->any.sa_family != AF_UNSPEC)))
    *call = "setsockopt", status = -errno;
  else if (local->any.sa_family != AF_UNSPEC && sockfile_bind(fd, &local->any, local_len, SOCK_DGRAM))
    *call = "bind", status = -errno;
  else if (remote->any.sa_family != AF_UNSPEC && connect(fd, &remote->any, remote_len))
    *call = "connect", status = -errno;
  if (!status) return fd;
  close(fd);
  return status;
}

/* Asked when somebody wants to know: a count with each datagram (SO_RXQ_OVFL) would tell of a loss with the next only. */
uint64_t datagram_kernel_drops(int fd) {
#if defined(SO_MEMINFO)
  uint32_t figures[SK_MEMINFO_VARS] = {0};
  socklen_t n = sizeof figures;
  return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, figures, &n) ? 0 : figures[SK_MEMINFO_DROPS];
#else
  (void)fd;
  return 0;
#endif
}

/* Groups */

static int join_v4(int fd, const struct sockaddr_in *group, const Interface *interface, bool join) {
  int name = join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP;
#if defined(__linux__) || defined(__APPLE__) || defined(__FreeBSD__)
  struct ip_mreqn r = {.imr_multiaddr = group->sin_addr, .imr_address = interface->address,
                       .imr_ifindex = (int)interface->index};
#else
  struct ip_mreq r = {.imr_multiaddr = group->sin_addr, .imr_interface = interface->address};
#endif
  return setsockopt(fd, IPPROTO_IP, name, &r, sizeof r);
}

static int join_v6(int fd, const struct sockaddr_in6 *group, const Interface *interface, bool join) {
  struct ipv6_mreq r = {.ipv6mr_multiaddr = group->sin6_addr,
                        .ipv6mr_interface = interface->index ? interface->index : group->sin6_scope_id};
  return setsockopt(fd, IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP, &r, sizeof r);
}

int datagram_join(int fd, const DatagramAddress *group, const Interface *interface, bool join) {
  int status = is_v6(group->any.sa_family) ? join_v6(fd, &group->in6, interface, join)
                                           : join_v4(fd, &group->in, interface, join);
  return status ? -errno : 0;
}

/* ICMP */

#if defined(IP_RECVERR)

static bool is_error(const struct cmsghdr *c) {
  return (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
         (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
}

bool datagram_take_icmp(int fd, IcmpError *error) {
  union {
    struct cmsghdr first;
    char room[512];
  } control;
  struct msghdr m = {.msg_name = &error->to, .msg_namelen = sizeof error->to, .msg_control = &control,
                     .msg_controllen = sizeof control};
  error->status = 0;
  memset(&error->to, 0, sizeof error->to);
  if (recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return false;
  error->salen = m.msg_namelen;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    struct sock_extended_err e;
    if (!is_error(c) || c->cmsg_len < CMSG_LEN(sizeof e)) continue;
    memcpy(&e, CMSG_DATA(c), sizeof e);
    if (e.ee_origin == SO_EE_ORIGIN_ICMP || e.ee_origin == SO_EE_ORIGIN_ICMP6) /* who sends hears of local ones */
      error->status = -(int)e.ee_errno;
  }
  return true;
}

#else

bool datagram_take_icmp(int fd, IcmpError *error) {
  (void)fd;
  error->status = 0;
  return false;
}

#endif
