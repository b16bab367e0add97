/* SPDX-License-Identifier: MIT */
/* Which silences to try. */
#ifndef ECHOCTL_IDLE_GRID_H
#define ECHOCTL_IDLE_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDLE_PROBES_MAX 512

struct idle_settings {
	uint64_t min_us;
	uint64_t max_us;
	uint64_t parallel;		/* silences for each doubling, and in each bisection */
	uint64_t precision_percent;	/* width of the last bracket */
};

/*
 * Doubles from min to max, with parallel - 1 further steps in between, evenly spread. Returns how
 * many silences that are, in ascending order without repetition, at most IDLE_PROBES_MAX.
 */
size_t idle_grid(const struct idle_settings *settings, uint64_t silences_ns[IDLE_PROBES_MAX]);

/* The steps of a bisection, parallel of them between the bounds; their number. */
size_t idle_bisect(const struct idle_settings *settings, uint64_t survives_ns, uint64_t dies_ns,
		   uint64_t silences_ns[IDLE_PROBES_MAX]);

/* True when the bounds are close enough for the precision. */
bool idle_narrow(const struct idle_settings *settings, uint64_t survives_ns, uint64_t dies_ns);

#endif
