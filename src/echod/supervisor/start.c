/* SPDX-License-Identifier: MIT */
/* New generations: at the start, for a reload, in place of one whose listener died. */
#include <assert.h>
#include <inttypes.h>

#include "echod/log/log.h"
#include "echod/state/timer.h"
#include "echod/state/totals.h"
#include "echod/supervisor/parts.h"

int start_generation(struct supervisor *supervisor, const struct configuration *configuration,
		     const struct sockets *sockets, const struct program *listener)
{
	struct generation_plan plan = {
		.number = ++supervisor->generation_count,
		.configuration = configuration,
		.sockets = sockets,
		.listener = listener,
		.mode = MODE_LISTEN,
		.foreign_live = totals_live(supervisor),
	};
	struct generation *generation;
	int r;

	assert(!supervisor->starting);
	r = generation_start(supervisor->loop, &plan, &supervisor->hooks, &generation);
	if (r < 0)
		return r;
	generation->next = supervisor->generations;
	supervisor->generations = generation;
	supervisor->starting = generation;
	timer_arm(supervisor->timers[TIMER_START], START_DEADLINE_US);
	return 0;
}

void start_replacement(struct supervisor *supervisor)
{
	int r;

	supervisor->replacement_due = false;
	if (supervisor->current || supervisor->starting || supervisor->ending.phase != ENDING_NONE)
		return;
	r = start_generation(supervisor, supervisor->configuration, &supervisor->sockets,
			     &supervisor->listener);
	if (r < 0)
		start_schedule_replacement(supervisor, 0);
}

void start_schedule_replacement(struct supervisor *supervisor, uint64_t lived_ms)
{
	uint32_t delay_ms;

	if (supervisor->ending.phase != ENDING_NONE || supervisor->starting ||
	    supervisor->replacement_due)
		return;
	delay_ms = backoff_next_ms(&supervisor->backoff, lived_ms);
	if (delay_ms)
		log_notice("a new listener is started in %" PRIu32 " ms", delay_ms);
	supervisor->replacement_due = true;
	timer_arm(supervisor->timers[TIMER_REPLACE], (uint64_t)delay_ms * 1000);
}
