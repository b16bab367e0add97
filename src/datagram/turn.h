/* SPDX-License-Identifier: MIT */
/* One turn of a datagram socket: receive a batch, judge, answer. */
#ifndef DATAGRAM_TURN_H
#define DATAGRAM_TURN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "datagram/judge.h"
#include "datagram/reception.h"

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

#endif
