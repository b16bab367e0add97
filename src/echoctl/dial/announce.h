/* SPDX-License-Identifier: MIT */
/* A PROXY header in front of a connection, as a balancer would send it. */
#ifndef ECHOCTL_DIAL_ANNOUNCE_H
#define ECHOCTL_DIAL_ANNOUNCE_H

#include "base/address.h"

struct dial_announcement {
	int version;		/* of the PROXY protocol; 0: no header */
	struct address source;	/* length 0: this side of the connection */
};

/* Parses "v1", "v2,ADDRESS" or "v2,ADDRESS:PORT". Returns NULL, or what is wrong. */
const char *dial_announcement_parse(const char *text, struct dial_announcement *ret_announcement);

/*
 * Sends the header over fd, a TCP connection that was just made and so has room for it. Returns 0
 * or -errno.
 */
int dial_announce(int fd, const struct dial_announcement *announcement);

#endif
