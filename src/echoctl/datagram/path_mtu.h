/* SPDX-License-Identifier: MIT */
/* The largest packet that a path carries there, and in which pieces it comes back. */
#ifndef ECHOCTL_DATAGRAM_PATH_MTU_H
#define ECHOCTL_DATAGRAM_PATH_MTU_H

#include <stdint.h>

#include "echoctl/datagram/socket.h"

struct path_mtu {
	uint32_t forward_bytes;		/* of the largest IP packet that came back; 0: none did */
	char forward_why[DATAGRAM_TEXT_MAX];	/* what keeps larger ones from doing so */
	uint32_t return_fragment_bytes;	/* in which the largest came back; 0: in one piece */
};

/*
 * Searches by packets that may not be fragmented, over a socket that was opened with
 * DATAGRAM_WHOLE. The values are those of RFC 8899: 1200 bytes first, three probes of a size; an
 * ICMP error is a hint that is tried. Each waits for timeout_us, less once an answer has come.
 * Returns 0, or what interrupt_ended() says, or -errno of an ICMP error or of this side.
 */
int path_mtu_find(struct datagram_socket *socket, uint64_t timeout_us, struct path_mtu *ret_mtu);

#endif
