/* SPDX-License-Identifier: MIT */
/*
 * How fast each connection of a generation is, and when it last moved a byte: read from its slot
 * once a second, so that no worker keeps a clock for it.
 */
#ifndef ECHOD_GENERATION_SAMPLES_H
#define ECHOD_GENERATION_SAMPLES_H

#include <stdint.h>

#include "echod/generation/scoreboard.h"

/* A connection as it was last seen. */
struct sample {
	uint64_t id;		/* within its generation; 0: none */
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t rate_in;	/* bytes a second */
	uint64_t rate_out;
	uint64_t moved_ns;	/* CLOCK_MONOTONIC, to the second */
};

/* Starts as {0}. */
struct samples {
	struct sample *items;	/* by slot; NULL: no sample yet, or no memory; owned */
	uint64_t taken_ns;	/* CLOCK_MONOTONIC */
};

/* Looks at every connection, of which so many live: once a second. */
void samples_take(struct samples *samples, const struct scoreboard *scoreboard, uint32_t live,
		  uint64_t now_ns);

/* The sample of the connection in this slot, or NULL: it is younger than the last look. */
const struct sample *samples_find(const struct samples *samples, uint32_t slot, uint64_t id);

void samples_release(struct samples *samples);

#endif
