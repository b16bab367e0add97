/* SPDX-License-Identifier: MIT */
/*
 * When the n-th of many events is due. Every time is counted from the start, so that a late event
 * does not move later ones (no drift, no coordinated omission).
 */
#ifndef ECHOCTL_PROBE_SCHEDULE_H
#define ECHOCTL_PROBE_SCHEDULE_H

#include <stdint.h>

struct schedule {
	uint64_t start_ns;	/* when event 0 is due */
	uint64_t period_ns;
	uint64_t per_period;	/* events in each period, > 0, evenly spread */
};

/* Due time of an event; exact to the nanosecond. UINT64_MAX when it lies beyond the clock. */
uint64_t schedule_due_ns(const struct schedule *schedule, uint64_t event);

/* How many events are due at or before now_ns: the number of the first that is not. */
uint64_t schedule_count(const struct schedule *schedule, uint64_t now_ns);

#endif
