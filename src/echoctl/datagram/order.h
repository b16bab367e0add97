/* SPDX-License-Identifier: MIT */
/*
 * In which order probes came back (RFC 4737), how many in a row did not (RFC 3357, loss period),
 * and how much their times differ (RFC 3550, 6.4.1). All zero is nothing yet.
 */
#ifndef ECHOCTL_DATAGRAM_ORDER_H
#define ECHOCTL_DATAGRAM_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ORDER_RECORDS 1024	/* larger extents count as that */

struct order {
	uint64_t arrivals;
	uint64_t reordered;		/* came after a later probe (RFC 4737, 3.3) */
	uint64_t extent_max;		/* arrivals since the first later one (4.2.2) */
	/* The arrivals that were later than all before them: a ring. */
	uint64_t n_records;
	struct {
		uint64_t sequence;
		uint64_t arrival;
	} records[ORDER_RECORDS];
	uint64_t lost_in_a_row;
	uint64_t lost_in_a_row_max;
	/* RFC 3550; times are those of the whole way. */
	uint64_t last_time_ns;
	double jitter_ns;
};

/* A probe came back, for the first time. Returns whether it is reordered. */
bool order_arrived(struct order *order, uint64_t sequence);

/* Notes whether a probe was lost; call it for each probe in the order in which they were sent. */
void order_settled(struct order *order, bool lost);

/* Notes the time of a probe, in the order in which they came. */
void order_timed(struct order *order, uint64_t time_ns);

#endif
