/* SPDX-License-Identifier: MIT */
/* From one element of listen to the socket addresses that it stands for. */
#ifndef ECHOD_SOCKETS_RESOLVE_H
#define ECHOD_SOCKETS_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/address.h"

#define RESOLVED_MAX 16		/* addresses of one name; more are ignored */

struct resolved {
	size_t count;
	struct {
		struct sockaddr_storage address;
		socklen_t length;
	} items[RESOLVED_MAX];
};

/*
 * "*" gives [::] and 0.0.0.0 in this order, "localhost" 127.0.0.1 and ::1 without asking
 * anybody (RFC 6761, 6.3), a Unix path itself, a literal itself, another name whatever
 * getaddrinfo(3) says, which may take its time. Returns 0; -ENODATA: a look-up would be needed
 * but may_look_up is false, -EADDRNOTAVAIL: the look-up failed; *ret_why is a static phrase.
 */
int sockets_resolve(const struct address_spec *spec, bool may_look_up,
		    struct resolved *ret_resolved, const char **ret_why);

#endif
