/* SPDX-License-Identifier: MIT */
/* The datagram process of a generation: the UDP half of RFC 862. */
#ifndef DATAGRAM_DATAGRAM_H
#define DATAGRAM_DATAGRAM_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <sys/socket.h>

#include "base/pace.h"
#include "wire/datagram.h"
#include "wire/endpoint.h"
#include "wire/settings.h"

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

#define JUDGE_ROWS 4096u	/* a power of two */
#define JUDGE_WAYS 4u

struct judge_source {
	uint64_t key[2];		/* the prefix of the address */
	struct bucket bucket;		/* last_ns == 0: never used */
};

struct judge {
	const struct settings *settings;
	uint64_t seed;			/* random: no peer can predict its row */
	struct bucket all;		/* udp { rate } */
	struct judge_source sources[JUDGE_ROWS][JUDGE_WAYS];
};

/* The judge's memory is zeroed. */
void judge_init(struct judge *judge, const struct settings *settings, uint64_t seed,
		uint64_t now_ns);

/*
 * Returns how many of count datagrams that came merged as one (count 1: a plain one) on this socket
 * get an answer, counted from the first; the others are dropped for *ret_reason.
 */
uint32_t judge_datagrams(struct judge *judge, const struct settings_socket *socket,
			 const struct reception *reception, uint32_t count, uint64_t now_ns,
			 enum drop_reason *ret_reason);

#define TURN_BATCH 32u
#define TURN_BYTES 65536u	/* more than any datagram, and than what GRO merges */

/* Addresses and control data of one datagram: first as received, then as sent. */
struct turn_part {
	struct iovec bytes;
	struct sockaddr_storage peer;
	_Alignas(struct cmsghdr) uint8_t control[RECEPTION_CONTROL_BYTES];
};

struct turn {
	struct judge judge;
	struct datagrams *counters;
	struct mmsghdr in[TURN_BATCH];		/* in[i] is made of parts[i] and slots[i] */
	struct turn_part parts[TURN_BATCH];
	struct mmsghdr out[TURN_BATCH];		/* those of in that get an answer */
	uint16_t segments[TURN_BATCH];		/* of out: bytes of a piece; 0: whole */
	/* by page, so that it can be given back; touched as far as datagrams are long */
	_Alignas(4096) uint8_t slots[TURN_BATCH][TURN_BYTES];
};

/* The turn's memory is zeroed. seed: see struct judge. */
void turn_init(struct turn *turn, const struct settings *settings, struct datagrams *counters,
	       uint64_t seed);

/*
 * Receives at most TURN_BATCH datagrams from fd, socket number index of the settings, and answers
 * those that get an answer. Does not wait. Returns true if there may be more.
 */
bool turn_run(struct turn *turn, int fd, uint32_t index);

/*
 * Answers datagrams on the datagram sockets of settings (descriptors LISTENER_FD_SOCKETS and up)
 * until the read end of a pipe, fd, hangs up: the listener has closed the other end or is gone; or,
 * with MODE_SINGLE, until none came for idle. flags: 0 if this kernel has no filters. counters: a
 * struct datagrams. Answers all received datagrams before it exits with 0; 1: it could not start.
 * seed: see struct judge. It has the type that lean_fork() calls, of which it uses no more.
 */
noreturn void datagram_serve(uint64_t fd_and_flags, void *counters, const struct settings *settings,
			     uint64_t seed, uint8_t *unused, const _Atomic uint64_t *unused_too);

#endif
