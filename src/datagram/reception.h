/* SPDX-License-Identifier: MIT */
/* What the kernel says about a datagram, and what it is told about the answer. */
#ifndef DATAGRAM_RECEPTION_H
#define DATAGRAM_RECEPTION_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "wire/endpoint.h"

/* Room for all control data of one datagram, either way (cmsg(3)). */
#define RECEPTION_CONTROL_BYTES 192u
/* The part of it, at the end, for the size of pieces. */
#define RECEPTION_SEGMENT_BYTES CMSG_SPACE(sizeof(uint16_t))

struct reception {
	struct endpoint peer;
	uint8_t address[16];	/* the peer's, IPv4 mapped (RFC 4291, 2.5.5.2) */
	bool has_local;		/* local is known: what the answer has to come from */
	bool is_unicast;	/* it was sent to an address of this host only */
	union {
		struct in_addr ipv4;
		struct in6_addr ipv6;
	} local;
	uint32_t interface;	/* 0 unless the peer is link-local */
	uint8_t tos;		/* type of service or traffic class (RFC 2474, RFC 3168) */
	uint16_t segment;	/* bytes of each piece of a merged one (udp(7), UDP_GRO), or 0 */
};

/*
 * Reads name (a struct sockaddr_storage) and control data of a received message. Control data that
 * is too short or unknown is skipped. Returns false if the peer's address is neither IPv4 nor IPv6.
 */
bool reception_read(const struct msghdr *message, struct reception *ret_reception);

/*
 * Writes the control data of the answer (RECEPTION_CONTROL_BYTES, aligned for struct cmsghdr): its
 * source address; its type of service if that is not 0; the size of its pieces, if it has
 * several, last. Returns the number of bytes.
 */
size_t reception_answer(const struct reception *reception, void *control);

#endif
