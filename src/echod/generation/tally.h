/* SPDX-License-Identifier: MIT */
/* What a generation, or the daemon as a whole, has done: plain counters that can be summed. */
#ifndef ECHOD_GENERATION_TALLY_H
#define ECHOD_GENERATION_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "wire/scoreboard.h"

/*
 * The fields, each named once: the counters that a listener keeps in struct totals. They are read
 * in this order while the listener goes on counting. So accepted is read after the counters of
 * connections that have ended.
 */
#define TALLY_FIELDS(ONE, MANY) \
	MANY(closed, END_COUNT) \
	MANY(refused, REFUSE_COUNT) \
	ONE(accepted)			/* = closed + refused + live */ \
	ONE(bytes_in)			/* of closed connections */ \
	ONE(bytes_out) \
	ONE(empty) \
	ONE(events_dropped) \
	ONE(starved) \
	MANY(fork_histogram, FORK_BUCKETS) \
	ONE(fork_sum_us) \
	MANY(duration_histogram, DURATION_BUCKETS) \
	ONE(duration_sum_us)

/* The same of datagrams: sums over sockets. */
#define TALLY_DATAGRAM_FIELDS(ONE, MANY) \
	ONE(datagrams_received) \
	ONE(datagrams_sent) \
	ONE(datagram_bytes_in) \
	ONE(datagram_bytes_out) \
	MANY(datagrams_dropped, DROP_COUNT) \
	ONE(datagrams_unmerged) \
	ONE(datagrams_kernel_dropped)	/* of sockets */ \
	ONE(datagram_restarts)

struct tally {
#define TALLY_ONE(name) uint64_t name;
#define TALLY_MANY(name, count) uint64_t name[count];
	TALLY_FIELDS(TALLY_ONE, TALLY_MANY)
	TALLY_DATAGRAM_FIELDS(TALLY_ONE, TALLY_MANY)
};

/* Adds the counters of a listener. */
void tally_add_totals(struct tally *tally, const struct totals *more);

/* Adds what a datagram process has counted. */
void tally_add_datagrams(struct tally *tally, const struct datagrams *more);

void tally_add(struct tally *tally, const struct tally *more);

/* Counts a closed connection that no listener has counted. */
void tally_add_closed(struct tally *tally, const struct event *event);

uint64_t tally_closed(const struct tally *tally);
uint64_t tally_refused(const struct tally *tally);

/* Connections that were accepted and have not ended. */
uint64_t tally_live(const struct tally *tally);

#endif
