/* SPDX-License-Identifier: MIT */
/* One-shot timers, by sd-event. */
#include "echod/state/timer.h"

#include <assert.h>
#include <systemd/sd-event.h>

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
