/* SPDX-License-Identifier: MIT */
/* Socket addresses as users write and read them: host:port, [v6]:port, *:port, unix:/path. */
#ifndef ECHOD_BASE_ADDRESS_H
#define ECHOD_BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ADDRESS_HOST_MAX 256	/* host part with its NUL, DNS name limit (RFC 1035) */
#define ADDRESS_TEXT_MAX 160	/* any formatted address with its NUL */

/* What the text says, before any name is looked up. */
struct address_spec {
	bool is_unix;
	bool is_multipath;		/* MPTCP; set by the reader of a prefix "mptcp:" */
	bool is_datagram;		/* UDP; the same for "udp:" */
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

/* The same for the path alone, which may have spaces and control characters here. */
int address_parse_unix(const char *path, struct address_spec *ret_spec, const char **ret_why);

/* A socket address with its length. */
struct address {
	bool is_datagram;		/* as that of its spec */
	socklen_t length;
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	};
};

/*
 * The socket addresses that spec stands for without a look-up: [::] and 0.0.0.0 for "*",
 * 127.0.0.1 and ::1 for "localhost" (RFC 6761, 6.3), else the literal or the path itself. The
 * interface of [fe80::1%eth0] is not in them: address_scope(). Returns their number, or -ENODATA
 * for a host name.
 */
#define ADDRESS_EXPAND_MAX 2
int address_expand(const struct address_spec *spec,
		   struct address ret_addresses[ADDRESS_EXPAND_MAX]);

/* True for 127.0.0.0/8, ::1 and Unix sockets, which no other host can reach. */
bool address_is_local(const struct sockaddr *address);

/* The index of the interface that spec names, 0 if it names none, or -ENODEV. */
int address_scope(const struct address_spec *spec, uint32_t *ret_scope);

/*
 * Writes address as 192.0.2.7:7, [2001:db8::1]:7, [fe80::1%2]:7, unix:/path or unix:@name.
 * IPv4-mapped IPv6 is written as IPv4. Always NUL-terminates; returns text.
 */
const char *address_format(const struct sockaddr *address, socklen_t length,
			   char text[ADDRESS_TEXT_MAX]);

#endif
