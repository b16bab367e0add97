/* SPDX-License-Identifier: MIT */
/* What a generation, or the daemon as a whole, has done: plain counters that can be summed. */
#ifndef ECHOD_GENERATION_TALLY_H
#define ECHOD_GENERATION_TALLY_H

#include <stdint.h>

#include "wire/scoreboard.h"

#define DURATION_BUCKETS 32u	/* bucket i counts connections shorter than 2^i ms */

struct tally {
	uint64_t accepted;		/* = closed + refused + live */
	uint64_t closed[END_COUNT];
	uint64_t refused[REFUSE_COUNT];
	uint64_t bytes_in;		/* of closed connections */
	uint64_t bytes_out;
	uint64_t empty;
	uint64_t events_dropped;
	uint64_t starved;
	uint64_t fork_histogram[FORK_BUCKETS];
	uint64_t fork_sum_us;
	uint64_t duration_histogram[DURATION_BUCKETS];	/* from the events that were not dropped */
	uint64_t duration_sum_us;
};

/* Adds the counters that a listener keeps; the durations are not among them. */
void tally_add_totals(struct tally *tally, const struct totals *totals);

void tally_add(struct tally *tally, const struct tally *more);

/* Counts the duration of a closed connection. */
void tally_add_duration(struct tally *tally, const struct event *event);

/* Counts a closed connection that no listener has counted. */
void tally_add_closed(struct tally *tally, const struct event *event);

uint64_t tally_closed(const struct tally *tally);
uint64_t tally_refused(const struct tally *tally);

#endif
