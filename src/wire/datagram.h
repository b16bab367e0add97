/* SPDX-License-Identifier: MIT */
/*
 * What the datagram process of a generation has counted: pages of their own at the end of the
 * table's memory file. Only that process writes them (except local), and after its end the
 * supervisor; no worker maps them. No decision depends on them but whether that process hangs. They
 * are the same in every version: so these counters go on when a program of another version takes
 * over.
 */
#ifndef ECHOD_WIRE_DATAGRAM_H
#define ECHOD_WIRE_DATAGRAM_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#include "wire/endpoint.h"
#include "wire/settings.h"

/* Why a datagram got no answer, in the order in which it is judged. */
enum drop_reason {
	DROP_PORT = 0,		/* source port 0, one of ours, or below udp { min-source-port } */
	DROP_BROADCAST,		/* it was sent to a broadcast or multicast address */
	DROP_ACCESS,		/* access { } */
	DROP_PER_SOURCE,	/* udp { rate-per-source } */
	DROP_RATE,		/* udp { rate } */
	DROP_UNSENT,		/* the kernel did not take the answer, or the process was killed */
	DROP_COUNT
};

#define DROP_ROOM 12u		/* with room for new reasons */

#define DROP_NAMES { "port", "broadcast", "access", "rate-per-source", "rate", "unsent" }

/* One socket. received = sent + the sum of dropped, except those that are being answered. */
struct datagram_counters {
	_Atomic uint64_t received;	/* datagrams; the pieces of a merged one are counted */
	_Atomic uint64_t sent;
	_Atomic uint64_t bytes_in;	/* payload */
	_Atomic uint64_t bytes_out;
	_Atomic uint64_t dropped[DROP_ROOM];
	_Atomic uint64_t unmerged;	/* merged answers that had to be sent in pieces */
	struct endpoint local;		/* supervisor, for the log; ENDPOINT_NONE: no UDP socket */
};

/* Who sent the last one that was dropped for a reason. */
struct datagram_drop {
	_Atomic uint32_t sequence;	/* odd: peer is being written */
	uint32_t reserved;
	struct endpoint peer;
};

struct datagrams {
	_Atomic uint64_t starts;	/* of the process */
	struct datagram_drop last[DROP_ROOM];
	struct datagram_counters sockets[SETTINGS_MAX_SOCKETS];	/* by index of the socket */
};

/*
 * For when no process writes them: what one that was killed had taken and not answered is lost with
 * it.
 */
static inline void datagrams_settle(struct datagrams *datagrams)
{
	for (unsigned i = 0; i < SETTINGS_MAX_SOCKETS; i++) {
		struct datagram_counters *socket = &datagrams->sockets[i];
		uint64_t judged = socket->sent;

		for (unsigned j = 0; j < DROP_ROOM; j++)
			judged += socket->dropped[j];
		if (socket->received > judged)
			socket->dropped[DROP_UNSENT] += socket->received - judged;
	}
}

static_assert(DROP_COUNT <= DROP_ROOM && sizeof(struct datagram_drop) == 32 &&
	      sizeof(struct datagram_counters) == 160 && sizeof(struct datagrams) == 10632,
	      "the same in every version");

#endif
