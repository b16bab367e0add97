/* SPDX-License-Identifier: MIT */
/* Socket addresses as users write and read them: host:port, [v6]:port, *:port, unix:/path. */
#ifndef ECHOD_BASE_ADDRESS_H
#define ECHOD_BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDRESS_HOST_MAX 256	/* host part with its NUL, DNS name limit (RFC 1035) */
#define ADDRESS_TEXT_MAX 160	/* any formatted address with its NUL */

/* What the text says, before any name is looked up. */
struct address_spec {
	bool is_unix;
	bool is_wildcard;		/* "*:port" */
	uint16_t port;			/* host byte order */
	char host[ADDRESS_HOST_MAX];	/* name or literal without brackets; or the Unix path */
};

/*
 * Parses host, host:port, [v6]:port, [v6], a bare IPv6 literal, *:port or unix:/path.
 * default_port < 0: a port is required. Port 0 is accepted.
 * Returns 0; -EINVAL malformed, -ERANGE port out of range, -ENAMETOOLONG. On failure
 * *ret_why (may be NULL) is a static phrase fit for "...: WHY".
 */
int address_parse(const char *text, int default_port, struct address_spec *ret_spec,
		  const char **ret_why);

/*
 * Writes address as 192.0.2.7:7, [2001:db8::1]:7, [fe80::1%2]:7, unix:/path or unix:@name.
 * IPv4-mapped IPv6 is written as IPv4. Always NUL-terminates; returns text.
 */
const char *address_format(const struct sockaddr *address, socklen_t length,
			   char text[ADDRESS_TEXT_MAX]);

#endif
