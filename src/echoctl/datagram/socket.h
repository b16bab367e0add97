/* SPDX-License-Identifier: MIT */
/*
 * A UDP socket that reports all that the kernel knows of sent and received datagrams: ICMP errors
 * with what they quote, times of sending and receiving, type of service, TTL, size of fragments.
 */
#ifndef ECHOCTL_DATAGRAM_SOCKET_H
#define ECHOCTL_DATAGRAM_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "echoctl/dial/dial.h"

#define DATAGRAM_TEXT_MAX 256

struct datagram_socket {
	int fd;				/* the caller's */
	struct dial_address peer;
	bool connected;			/* if not, it also receives answers of other peers */
	struct datagram_stamps *stamps;	/* NULL: only our own clock */
};

/* A datagram that came, or an error. */
struct datagram_event {
	bool is_error;
	struct dial_address from;	/* sender of the datagram, or of the ICMP message */
	const uint8_t *bytes;		/* until the next event; for an error its quotation */
	size_t size_bytes;
	/* Of a datagram. */
	uint64_t received_ns;		/* CLOCK_MONOTONIC */
	uint64_t stamp_ns;		/* the kernel's, of the time of day; 0: none */
	int tos;			/* -1: not told */
	int ttl;
	uint32_t fragment_bytes;	/* largest fragment that it came in; 0: in one piece */
	/* Of an error. */
	int error;			/* errno */
	uint8_t type;			/* of ICMP or ICMPv6, by the family of the socket */
	uint8_t code;
	uint32_t mtu_bytes;		/* if error is EMSGSIZE */
};

enum {
	DATAGRAM_UNCONNECTED = 1,	/* also receives datagrams of other peers */
	DATAGRAM_WHOLE = 2,		/* do not fragment, whatever is known of the path */
};

/*
 * Prepares fd, a connected UDP socket, which stays the caller's. A kernel without an option reports
 * less. stamps: for so many datagrams that were sent last it keeps the kernel's times; 0: for none.
 * Sequences on their way at a time must differ modulo that. Returns 0 or -errno.
 */
int datagram_open(int fd, const struct dial_address *peer, unsigned flags, uint32_t stamps,
		  struct datagram_socket *ret_socket);

void datagram_close(struct datagram_socket *socket);

/* Returns 0 or -errno of sendto(2): -EMSGSIZE: too big to send; -ENOBUFS, -EAGAIN: not now. */
int datagram_send(struct datagram_socket *socket, uint32_t sequence, const uint8_t *bytes,
		  size_t size);

/* The next event, errors first. Returns 1, 0 if there is none, or -errno. */
int datagram_receive(struct datagram_socket *socket, struct datagram_event *ret_event);

/*
 * How long a probe was on its way that was sent at sent_ns of our clock: by the kernel's times if
 * both exist and the time of day was not set between them.
 */
uint64_t datagram_time_ns(const struct datagram_socket *socket, uint32_t sequence,
			  uint64_t sent_ns, const struct datagram_event *event, bool *ret_kernel);

/* The same of plain numbers; a stamp of 0 is none. */
uint64_t datagram_choose_time(uint64_t user_ns, uint64_t sent_stamp_ns, uint64_t received_stamp_ns,
			      bool *ret_kernel);

/* "Connection refused (ICMP type 3, code 3 from 192.0.2.1)"; returns text. */
const char *datagram_describe_error(const struct datagram_event *event,
				    char text[DATAGRAM_TEXT_MAX]);

/* Whether both are the same host and port. */
bool datagram_is_same(const struct dial_address *one, const struct dial_address *two);

#endif
