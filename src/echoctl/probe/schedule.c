/* SPDX-License-Identifier: MIT */
/* Fixed schedules. */
#include "echoctl/probe/schedule.h"

#include <assert.h>

uint64_t schedule_due_ns(const struct schedule *schedule, uint64_t event)
{
	uint64_t whole = event / schedule->per_period;
	uint64_t part = event % schedule->per_period;
	uint64_t after_ns;

	assert(schedule->per_period > 0);
	/* Rounded up, so that an event is never due before its time. */
	part = (part * schedule->period_ns + schedule->per_period - 1) / schedule->per_period;
	if (__builtin_mul_overflow(whole, schedule->period_ns, &after_ns) ||
	    __builtin_add_overflow(after_ns, part, &after_ns) ||
	    __builtin_add_overflow(after_ns, schedule->start_ns, &after_ns))
		return UINT64_MAX;
	return after_ns;
}

uint64_t schedule_count(const struct schedule *schedule, uint64_t now_ns)
{
	uint64_t after_ns = now_ns - schedule->start_ns;

	if (now_ns < schedule->start_ns)
		return 0;
	return after_ns / schedule->period_ns * schedule->per_period +
		after_ns % schedule->period_ns * schedule->per_period / schedule->period_ns + 1;
}
