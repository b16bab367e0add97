/* SPDX-License-Identifier: MIT */
/* One end of a connection, and its name, as plain data. */
#ifndef ECHOD_WIRE_ENDPOINT_H
#define ECHOD_WIRE_ENDPOINT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum endpoint_family {
	ENDPOINT_NONE = 0,
	ENDPOINT_INET = 4,
	ENDPOINT_INET6 = 6,
	ENDPOINT_UNIX = 1,
};

/* IPv4-mapped IPv6 addresses are stored as ENDPOINT_INET. */
struct endpoint {
	uint8_t family;		/* enum endpoint_family */
	uint8_t reserved;
	uint16_t port;		/* host byte order; 0 for Unix */
	uint32_t scope;		/* IPv6 scope id, else 0 */
	uint8_t address[16];	/* IPv4: first 4 bytes; Unix: pid_t, uid_t of the peer */
};

static_assert(sizeof(struct endpoint) == 24, "endpoint crosses a process border");

#define UNIQUE_ID_MAX 128u	/* doc/proxy-protocol.txt of haproxy, 2.2.5 */

/* How a balancer names a connection that it announces: any bytes. */
struct unique_id {
	uint32_t size;		/* 0: it has no name */
	uint8_t bytes[UNIQUE_ID_MAX];
};

static_assert(sizeof(struct unique_id) == 132, "crosses a process border");

/* From a socket address; another family than these three becomes ENDPOINT_NONE. */
void endpoint_set(struct endpoint *endpoint, const struct sockaddr_storage *address);

/*
 * Writes the address as 16 bytes, IPv4 mapped (RFC 4291, 2.5.5.2). Returns false for a Unix
 * endpoint, which has no address and is in no prefix.
 */
bool endpoint_address(const struct endpoint *endpoint, uint8_t ret_address[16]);

#endif
