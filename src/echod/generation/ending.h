/* SPDX-License-Identifier: MIT */
/* The end of all connections: first by themselves, then by order, at last by force. */
#ifndef ECHOD_GENERATION_ENDING_H
#define ECHOD_GENERATION_ENDING_H

#include <stdint.h>

#include "echod/generation/generation.h"

#define ENDING_STEP_US 100000u

enum ending_phase {
	ENDING_NONE,
	ENDING_WAIT,		/* connections may end by themselves */
	ENDING_ORDER,		/* workers are told to end in an orderly way */
	ENDING_KILL,		/* what is left is killed */
};

struct ending {
	enum ending_phase phase;
	uint64_t deadline_ns;	/* of the phase, CLOCK_MONOTONIC */
};

/* Connections may go on for so long. */
void ending_begin(struct ending *ending, uint64_t drain_us);

/* No longer: the second TERM. Generations are a list by their next, here as below. */
void ending_hurry(struct ending *ending, const struct generation *generations);

/* Does what is due; to be called every ENDING_STEP_US, and at once after the two above. */
void ending_step(struct ending *ending, struct generation *generations);

#endif
