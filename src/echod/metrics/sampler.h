/* SPDX-License-Identifier: MIT */
/*
 * What changes from second to second: rates of the daemon, and of each connection when it last
 * moved a byte. Taken from the scoreboards, so that no worker keeps a clock for it.
 */
#ifndef ECHOD_METRICS_SAMPLER_H
#define ECHOD_METRICS_SAMPLER_H

#include <stdint.h>

#include "echod/state/state.h"

#define SAMPLER_SECONDS 60u	/* of history */

/* One second of the whole daemon. */
struct sampler_second {
	uint64_t accepted;
	uint64_t bytes_in;
};

/* A connection as the last sample saw it. */
struct sampler_connection {
	uint64_t id;		/* within its generation; 0: none */
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t rate_in;	/* bytes a second */
	uint64_t rate_out;
	uint64_t moved_ns;	/* CLOCK_MONOTONIC, to the second */
};

struct sampler;

/* Returns 0 or -ENOMEM. */
int sampler_new(struct sampler **ret_sampler);
void sampler_free(struct sampler *sampler);

/* Takes a sample: at the start, with which the first second is compared, then each second. */
void sampler_take(struct sampler *sampler, const struct supervisor *supervisor);

/* What all connections that live had received and sent by the last sample. */
void sampler_live_bytes(const struct sampler *sampler, uint64_t *ret_in, uint64_t *ret_out);

/* The oldest second first; returns how many of them there are, at most SAMPLER_SECONDS. */
unsigned sampler_history(const struct sampler *sampler,
			 struct sampler_second ret_seconds[SAMPLER_SECONDS]);

/* What is known of the connection in this slot, or NULL: it is younger than the last sample. */
const struct sampler_connection *sampler_find(const struct generation *generation, uint32_t slot,
					      uint64_t id);

#endif
