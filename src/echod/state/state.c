/* SPDX-License-Identifier: MIT */
/* Sums over all generations of the daemon, and the timers of its loop. */
#include "echod/state/state.h"

#include <assert.h>
#include <systemd/sd-event.h>

void totals_sum(const struct supervisor *supervisor, struct tally *ret_tally)
{
	*ret_tally = supervisor->retired;
	for (struct generation *i = supervisor->generations; i; i = i->next)
		generation_add_tally(i, ret_tally);
	ret_tally->datagrams_kernel_dropped += sockets_kernel_drops(&supervisor->sockets, NULL);
}

/* Not the difference of two sums, since listeners change the counters while we read them. */
uint32_t totals_foreign_live(const struct supervisor *supervisor,
			     const struct generation *generation)
{
	uint32_t live = 0;

	for (struct generation *i = supervisor->generations; i; i = i->next)
		live += i != generation ? generation_live(i) : 0;
	return live;
}

uint32_t totals_live(const struct supervisor *supervisor)
{
	return totals_foreign_live(supervisor, NULL);
}

uint32_t totals_waiting(const struct supervisor *supervisor)
{
	uint32_t waiting = 0;

	for (struct generation *i = supervisor->generations; i; i = i->next)
		waiting += generation_waiting(i);
	return waiting;
}

void totals_live_bytes(const struct supervisor *supervisor, uint64_t *ret_in, uint64_t *ret_out)
{
	*ret_in = *ret_out = 0;
	for (struct generation *i = supervisor->generations; i; i = i->next)
		generation_add_live_bytes(i, ret_in, ret_out);
}

unsigned totals_generations(const struct supervisor *supervisor)
{
	unsigned count = 0;

	for (struct generation *i = supervisor->generations; i; i = i->next)
		count++;
	return count;
}

void timer_arm(struct sd_event_source *timer, uint64_t after_us)
{
	assert(timer);
	sd_event_source_set_time_relative(timer, after_us);
	sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

void timer_arm_idle(struct sd_event_source *timer, uint64_t after_us)
{
	if (sd_event_source_get_enabled(timer, NULL) == SD_EVENT_OFF)
		timer_arm(timer, after_us);
}

void timer_disarm(struct sd_event_source *timer)
{
	sd_event_source_set_enabled(timer, SD_EVENT_OFF);
}
