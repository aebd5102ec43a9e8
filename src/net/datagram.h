/*
** datagram.h - datagram sockets: made, with their options; groups; the errors that come by ICMP. C only.
*/
#ifndef ASY_DATAGRAM_H
#define ASY_DATAGRAM_H

#include "net/scoop.h"

ASY_HIDDEN

/* A network interface; of IPv4 it may be known by an address of its own. */
typedef struct Interface {
  unsigned index; /* 0: the system's choice */
  struct in_addr address;
} Interface;

typedef struct DatagramOptions {
  bool reuse_address, reuse_port, allow_broadcast, icmp_errors;
  int receive_buffer, send_buffer; /* bytes; 0: the system's */
  int ttl, multicast_ttl;          /* -1: the system's */
  int multicast_loopback;          /* 0, 1; -1: the system's */
  Interface interface;             /* by which multicast leaves */
} DatagramOptions;

/* A socket, bound and connected to these, of which either may be of the family AF_UNSPEC; otherwise a negative status,
** the call that failed, and the option if it was one's. */
int datagram_open(const DatagramOptions *options, int family, const DatagramAddress *local, socklen_t local_len,
                  const DatagramAddress *remote, socklen_t remote_len, const char **call, const char **option);

/* Datagrams that the kernel has dropped since it was made, as there was no room; 0 where that isn't known. */
uint64_t datagram_kernel_drops(int fd);

/* Has it hear a group, on an interface, or no more. 0 or a negative status. */
int datagram_join(int fd, const DatagramAddress *group, const Interface *interface, bool join);

/* An error that a datagram of ours has met. */
typedef struct IcmpError {
  int status;         /* 0: it did not come by ICMP */
  DatagramAddress to; /* where it went */
  socklen_t salen;
} IcmpError;

/* The oldest that the system keeps for it; false: there is none. */
bool datagram_take_icmp(int fd, IcmpError *error);

ASY_HIDDEN_END

#endif
