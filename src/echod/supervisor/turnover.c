/* SPDX-License-Identifier: MIT */
/* A generation that was started takes over, or did not start: what follows from either. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <systemd/sd-event.h>

#include "echod/log/log.h"
#include "echod/state/timer.h"
#include "echod/supervisor/parts.h"
#include "echod/systemd/notify.h"

static void announce(struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->sockets.count; i++)
		log_info("listening on %s", supervisor->sockets.items[i].text);
	supervisor->is_ready = true;
	log_set_starting(false);
	status_format(supervisor, supervisor->status, sizeof(supervisor->status));
	notify_ready(supervisor->status);
}

/* The newest generation serves: the older ones accept no more. */
void turnover_ready(struct supervisor *supervisor)
{
	struct generation *generation = supervisor->starting;

	assert(generation);
	supervisor->starting = NULL;
	supervisor->current = generation;
	timer_disarm(supervisor->timers[TIMER_START]);
	for (struct generation *i = generation->next; i; i = i->next)
		if (i->state != GENERATION_DRAINING)
			generation_stop(i, STOP_REPLACED);
	if (supervisor->next_configuration)
		reload_commit(supervisor);
	if (!supervisor->is_ready)
		announce(supervisor);
	log_debug("generation %" PRIu64 " serves, listener %d", generation->number,
		  generation->listener_pid);
}

void turnover_abandon(struct supervisor *supervisor)
{
	struct generation *generation = supervisor->starting;

	if (!generation)
		return;
	supervisor->starting = NULL;
	timer_disarm(supervisor->timers[TIMER_START]);
	generation_kill_listener(generation);
	if (!supervisor->is_ready) {
		log_error("the listener did not start");
		sd_event_exit(supervisor->loop, -EPROTO);
		return;
	}
	if (supervisor->next_configuration)
		reload_abandon(supervisor, "the new listener did not start");
	if (!supervisor->current)
		start_schedule_replacement(supervisor, 0);
}
